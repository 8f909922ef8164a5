"""``Model``: the whole pipeline, step by step, pickled, and from several threads."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import minimix
from minimix.dialect import DIALECTS, PIPELINES
from minimix.errors import GraphError, UsageError
from minimix.graph import Node
from minimix.model import Model
from minimix.ops import softmax
from minimix.weights import ModelFile
from minimix.zoo import Architecture, build, parse_block
from tests.pictures import picture
from tests.strategies import random_params

ARCHITECTURE = Architecture(
    "tiny",
    stem_channels=8,
    head_channels=16,
    num_classes=5,
    blocks=(
        parse_block("r1_k3_a1_p1_s11_e1_i8_o8"),
        parse_block("r1_k3.5_a1.1_p1_s22_e2_i8_o12_se0.5_sw"),
        parse_block("r1_k3.5.7_a1_p1.1_s11_e3_i12_o12_se0.25_sw"),
    ),
)
LABELS = ("ant", "bee", "cat", "dog", "eel")


def tiny_file():
    params = random_params(build(ARCHITECTURE, DIALECTS["timm"]), seed=5)
    pipeline = PIPELINES["timm"].with_size(32)
    return ModelFile(ARCHITECTURE, DIALECTS["timm"], pipeline, LABELS, params)


@pytest.fixture(scope="module")
def net():
    return Model(tiny_file(), engine="reference")


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(1).normal(size=(2, 33, 40, 3)).astype(np.float32)


def test_logits_have_a_row_per_picture_and_a_column_per_class(net, x):
    logits = net(x)
    assert (logits.shape, logits.dtype) == ((2, 5), np.float32)
    np.testing.assert_array_equal(net.run(x), logits)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((33, 40, 3), r"image: expected \(N, H, W, 3\), found \(33, 40, 3\)"),
        ((1, 31, 40, 3), r"at least 32 px; found \(1, 31, 40, 3\)"),
        ((1, 3, 40, 40), r"expected \(N, H, W, 3\)"),
        ((0, 33, 40, 3), r"N at least 1"),
    ],
)
def test_an_array_of_another_shape_is_refused(net, shape, message):
    with pytest.raises(GraphError, match=message):
        net(np.zeros(shape))


def test_any_float_type_and_layout_gives_the_same_logits(net, x):
    channels_first = np.ascontiguousarray(x.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    for same in (x.astype(np.float64), channels_first, np.asfortranarray(x)):
        np.testing.assert_array_equal(net(same), net(x))


def test_classify_is_preprocess_run_softmax_and_labels(net):
    image = picture(50, 70)
    prediction = net.classify(image)
    (p,) = softmax(net(net.preprocess(image)))
    order = np.argsort(-p)
    assert [score.index for score in prediction.top] == order.tolist()
    assert [score.label for score in prediction.top] == [LABELS[n] for n in order]
    assert [score.p for score in prediction.top] == p[order].tolist()
    assert (prediction.label, prediction.p) == (prediction.top[0].label, prediction.top[0].p)
    assert str(prediction).splitlines()[0].endswith(f"{p.max():.2%}  {prediction.label}")


def test_a_list_gives_a_list_and_one_picture_gives_one_prediction(net):
    images = [picture(50, 70, seed=n) for n in range(3)]
    several = net.classify(images, top=2)
    assert [len(prediction.top) for prediction in several] == [2, 2, 2]
    assert [prediction.label for prediction in several] == [
        net.classify(image).label for image in images
    ]
    assert len(net.classify(tuple(images))) == 3


def test_top_is_at_least_one_and_at_most_every_class(net):
    assert len(net.classify(picture(), top=99).top) == 5
    with pytest.raises(UsageError, match="top is 0; expected a whole number from 1 up"):
        net.classify(picture(), top=0)


def test_a_model_says_what_it_is(net):
    assert repr(net) == "<minimix.Model tiny (timm), 5 classes, 32 px, reference engine>"
    assert (net.name, net.size, net.labels) == ("tiny", 32, LABELS)
    assert net.preprocess(picture()).shape == (1, 32, 32, 3)


def test_another_size_and_engine_can_be_asked_for_and_nonsense_cannot():
    assert Model(tiny_file(), size=48).preprocess([picture()] * 2).shape == (2, 48, 48, 3)
    with pytest.raises(UsageError, match="size is 31"):
        Model(tiny_file(), size=31)
    with pytest.raises(UsageError, match="engine 'fast'; known: auto, compiled, reference"):
        Model(tiny_file(), engine="fast")


def test_steps_are_the_nodes_in_order_with_what_they_read_and_made(net, x):
    steps = list(net.steps(x))
    assert [step.node for step in steps] == list(net.graph)
    outputs = {step.name: step.output for step in steps}
    for step in steps:
        assert len(step.inputs) == len(step.node.inputs)
        for array, source in zip(step.inputs, step.node.inputs, strict=True):
            assert np.shares_memory(array, outputs[source])
        assert step.kernel_sizes == step.node.kernel_sizes
        shapes = [net.graph.param_shapes[name] for name in net.graph.param_names[step.name]]
        assert [array.shape for array in step.params] == shapes
    np.testing.assert_array_equal(steps[-1].output, net(x))


def test_the_gates_of_squeeze_excite_lie_in_0_to_1_and_make_its_output(net, x):
    with net.trace(x, keep="*.se") as trace:
        pass
    assert [step.name for step in trace] == ["blocks.1.se", "blocks.2.se"]
    for step in trace:
        assert step.gates.shape == (2, step.output.shape[-1])
        assert ((step.gates > 0) & (step.gates < 1)).all()
        expected = step.inputs[0] * step.gates[:, None, None]
        np.testing.assert_allclose(step.output, expected, rtol=1e-6)


def test_only_squeeze_excite_has_gates(net, x):
    with (
        net.trace(x) as trace,
        pytest.raises(UsageError, match=r"stem\.conv: a conv has no gates; look at a \.se"),
    ):
        _ = trace["stem.conv"].gates


KEPT = [
    ("*", None),
    ("stem.*", ["stem.conv", "stem.conv_bn", "stem.conv_act"]),
    (["pool", "image"], ["image", "pool"]),
    ("blocks.?.add", ["blocks.0.add", "blocks.2.add"]),
]


@pytest.mark.parametrize(("keep", "names"), KEPT)
def test_a_trace_keeps_what_matches_in_order_of_execution(net, x, keep, names):
    with net.trace(x, keep=keep) as trace:
        expected = [node.name for node in net.graph] if names is None else names
        assert [step.name for step in trace] == expected
        assert len(trace) == len(expected)
        np.testing.assert_array_equal(trace.logits, net(x))


@pytest.mark.parametrize("keep", ["blocks.9.*", ["stem.*", "steem"], ""])
def test_a_pattern_that_matches_no_node_is_refused(net, x, keep):
    with pytest.raises(UsageError, match="matches no node; try"), net.trace(x, keep=keep):
        pass


def test_a_step_that_was_not_kept_is_named_with_those_that_were(net, x):
    with (
        net.trace(x, keep="pool") as trace,
        pytest.raises(UsageError, match=r"stem\.conv: not in this trace; it keeps: pool"),
    ):
        trace["stem.conv"]


def test_observe_sees_every_node(net, x):
    seen: list[Node] = []
    net.run(x, lambda node, array: seen.append(node))
    assert seen == list(net.graph)


def test_a_pickled_model_gives_the_same_bits(net, x):
    copy = pickle.loads(pickle.dumps(net))
    assert repr(copy) == repr(net)
    assert copy(x).tobytes() == net(x).tobytes()


def test_a_model_from_a_file_pickles_too_and_keeps_its_size(tiny_model):
    net = minimix.load(tiny_model, size=40)
    copy = pickle.loads(pickle.dumps(net))
    assert copy.size == 40
    image = picture(50, 70)
    assert copy(copy.preprocess(image)).tobytes() == net(net.preprocess(image)).tobytes()


def test_weights_cannot_be_written_to_not_even_after_pickling(tiny_model):
    net = minimix.load(tiny_model)
    for model in (net, pickle.loads(pickle.dumps(net))):
        with pytest.raises((ValueError, TypeError), match="read-only|assignment"):
            model.file.params["stem.conv.weight"][:] = 0


def test_weights_cannot_be_written_to_through_a_step_of_a_model_made_from_a_dict(net, x):
    with net.trace(x, keep="stem.conv") as trace, pytest.raises(ValueError, match="read-only"):
        trace["stem.conv"].params[0][:] = 0


def test_four_threads_get_the_same_bits_as_one(net):
    rng = np.random.default_rng(2)
    batches = [rng.normal(size=(1, 32 + n, 40, 3)).astype(np.float32) for n in range(8)]
    expected = [net(batch).tobytes() for batch in batches]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(3):
            assert [y.tobytes() for y in threads.map(net, batches)] == expected


def test_a_class_activation_map_and_the_bias_sum_to_the_logit(net, x):
    (logits,) = net(x[:1])
    for index, label in enumerate(LABELS):
        cam = net.cam(x[:1], label=label)
        assert (cam.index, cam.label, cam.cells.shape) == (index, label, (9, 10))
        np.testing.assert_allclose(cam.cells.sum() + cam.bias, logits[index], rtol=1e-5)
    assert net.cam(x[:1]).index == logits.argmax()
    assert net.cam(x[:1], 3).label == "dog"


def test_occlusion_covers_the_picture_with_squares_and_says_how_far_it_is(net, x):
    told = []
    found = net.occlusion(
        x[:1], "cat", patch=16, stride=8, progress=lambda done, total: told.append((done, total))
    )
    assert (found.index, found.patch, found.stride) == (2, 16, 8)
    assert (found.rows, found.columns) == ((0, 8, 16, 17), (0, 8, 16, 24))
    assert told[-1] == (16, 16) and found.drops.shape == (4, 4)
    covered = x[:1].copy()
    covered[0, 17:33, 8:24] = x[0].mean(axis=(0, 1), dtype=np.float64)
    drop = net(x[:1])[0, 2] - net(covered)[0, 2]
    np.testing.assert_allclose(found.drops[3, 1], drop, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["image", "stem.conv", "blocks.1.se", "blocks.2.add", "classifier"]
)
def test_a_patch_that_changes_nothing_gives_the_same_logits(net, x, name):
    np.testing.assert_allclose(net.patch(name, lambda array: array)(x), net(x), atol=1e-5)


def test_a_patch_changes_what_follows_and_nothing_before(net, x):
    doubled = net.patch("classifier", lambda logits: 2 * logits)
    np.testing.assert_allclose(doubled(x), 2 * net(x), rtol=1e-5)
    assert doubled.affected == ()
    other = x + 1
    np.testing.assert_allclose(net.patch("image", lambda _: other)(x), net(other), atol=1e-5)


def test_attribution_refuses_what_it_cannot_explain(net, x):
    with pytest.raises(UsageError, match="takes one picture"):
        net.cam(x)
    with pytest.raises(UsageError, match="'fish': no such class"):
        net.cam(x[:1], "fish")
    with pytest.raises(UsageError, match=r"a square of 99 px"):
        net.occlusion(x[:1], patch=99)
    with pytest.raises(UsageError, match=r"blocks\.9\.se: tiny has no such node"):
        net.patch("blocks.9.se", np.abs)


def test_the_public_names_are_there_and_no_others():
    for name in minimix.__all__:
        assert getattr(minimix, name) is not None
    assert {"ClassActivation", "Occlusion", "Patched"} <= set(dir(minimix))
    with pytest.raises(AttributeError, match="no attribute 'clasify'"):
        _ = minimix.clasify
