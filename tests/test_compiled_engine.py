"""The compiled engine computes what the reference engine computes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minimix
from minimix.dialect import DIALECTS
from minimix.engine.compiled import CompiledEngine
from minimix.engine.kernels.library import library_for
from minimix.engine.reference import ReferenceEngine
from minimix.graph import Graph, Node
from minimix.operators import (
    Add,
    BatchNorm,
    Conv,
    GlobalAveragePool,
    Input,
    MixConv,
    Pointwise,
    SqueezeExcite,
)
from minimix.ops import run_operator
from minimix.passes import optimize
from minimix.tolerances import RECORDED_LOGITS, SAME_NETWORK
from minimix.zoo import Architecture, architecture, build
from tests.compiled_graphs import compilable_networks
from tests.kernel_calls import skip_unless_possible
from tests.reference import REFERENCE, needs_reference
from tests.strategies import assert_same_outputs, random_params, run_all
from weights_tools.convert import read_model

PICTURES = Path(minimix.__file__).parent / "data" / "pictures"


def pictures(count, *size, seed=0, channels=3):
    shape = (count, *size, channels)
    return np.random.default_rng(seed).normal(0, 0.3, shape).astype(np.float32)


@cache
def network(family, dialect):
    """A graph, and parameters whose batch norms have the statistics of pictures, as trained ones.

    With others, activations of the deepest networks grow so that float32 itself, the reference
    engine included, is 2 % away from float64.
    """
    graph = build(architecture(family), DIALECTS[dialect])
    params, arrays = random_params(graph, 1), {}
    for node in graph:
        inputs = [arrays[name] for name in node.inputs]
        names = graph.param_names[node.name]
        if isinstance(node.operator, BatchNorm):
            params[names[2]] = np.mean(inputs[0], axis=(0, 1, 2))
            params[names[3]] = np.var(inputs[0], axis=(0, 1, 2))
        own = [params[name] for name in names]
        arrays[node.name] = (
            run_operator(node.operator, own, *inputs) if inputs else pictures(6, 96, 96, seed=5)
        )
    return graph, params


def check_logits(graph, params, x, threads=2):
    """Check the compiled logits, and return them."""
    (expected,) = ReferenceEngine(graph, params).run(x)
    (logits,) = CompiledEngine(graph, params, threads=threads).run(x)
    assert (logits.shape, logits.dtype) == (expected.shape, np.float32)
    assert np.abs(logits - expected).max() <= SAME_NETWORK * np.abs(expected).max()
    return logits


@pytest.fixture(scope="module")
def pocket():
    """The embedded model's file: trained weights, so that its logits mean something."""
    return minimix.load("mixnet-pocket", engine="reference").file


def test_pictures_through_the_embedded_model_give_the_same_logits_and_names(pocket):
    model = minimix.load("mixnet-pocket", engine="reference")
    chosen = sorted(PICTURES.glob("*/1.png"))[:8]
    x = model.preprocess(chosen)
    logits = check_logits(pocket.graph, pocket.params, x)
    expected = model(x)
    np.testing.assert_array_equal(logits.argmax(axis=1), expected.argmax(axis=1))


NETWORKS = [
    *(("mixnet-s", "timm", size) for size in ((32, 32), (33, 33), (47, 64), (96, 96), (224, 224))),
    *((f"mixnet-{name}", "timm", (64, 64)) for name in ("m", "l", "xl", "xxl")),
    *(("mixnet-pocket", name, (33, 47)) for name in DIALECTS),
    *(("mixnet-m", name, (64, 64)) for name in ("timm-tf", "tensorflow", "mindcv", "omz")),
]


@pytest.mark.parametrize(("family", "dialect", "size"), NETWORKS)
def test_families_in_all_dialects_and_sizes_give_the_reference_logits(family, dialect, size):
    check_logits(*network(family, dialect), pictures(1, *size))


@pytest.mark.parametrize("width", [8, 4])
@pytest.mark.parametrize("size", [(33, 47), (64, 64)], ids=str)
def test_narrower_vectors_give_the_reference_logits(monkeypatch, width, size):
    skip_unless_possible(width)
    monkeypatch.setattr("minimix.engine.compiled.host_library", lambda: library_for(width))
    check_logits(*network("mixnet-s", "timm"), pictures(2, *size))


CUSTOM = {
    "dilated": ["r2_k3.5.7.11_a1_p1.1_s11_e2_i16_o16_se0.5_sw_dilated"],
    "odd widths": ["r1_k3.5.7_a1.1.1_p1.1_s22_e3_i16_o13", "r2_k3.9_a1_p1.1.1_s11_e5_i13_o13_sw"],
    "one wide, one narrow": ["r1_k3_a1_p1_s11_e1_i16_o1", "r1_k5_a1_p1_s22_e9_i1_o50_se1"],
    "large kernels": ["r1_k13.15_a1_p1_s22_e2_i16_o20", "r1_k15_a1_p1_s11_e1_i20_o20_noskip"],
    "many groups": ["r2_k3.5.7.9.11.13_a1.1.1.1_p1.1.1.1.1_s11_e3_i16_o16_se0.25"],
    "stride 3": ["r1_k5.7_a1_p1_s33_e2_i16_o24_se0.5_sw"],
}


@pytest.mark.parametrize("dialect", ["timm", "omz"])
@pytest.mark.parametrize("blocks", CUSTOM.values(), ids=CUSTOM)
def test_blocks_of_no_family_give_the_reference_logits(blocks, dialect):
    fields = {"name": "custom", "stem_channels": 16, "head_channels": 37, "num_classes": 5}
    arch = Architecture.from_json(fields | {"blocks": blocks})
    graph = build(arch, DIALECTS[dialect])
    check_logits(graph, random_params(graph, 2), pictures(1, 37, 53))


@settings(max_examples=25)
@given(compilable_networks(), st.integers(1, 3), st.booleans())
def test_random_networks_give_the_reference_outputs_and_every_node_its_array(
    network, threads, fused
):
    graph, params, x = network
    if fused:
        graph, params = optimize(graph, params)
    engine, arrays = CompiledEngine(graph, params, threads=threads), run_all(graph, params, x)
    largest = max(np.abs(array).max() for array in arrays.values())
    expected = [arrays[name] for name in graph.outputs]
    assert_same_outputs(engine.run(x), expected, largest, SAME_NETWORK)
    seen = []
    outputs = engine.run(x, lambda node, array: seen.append((node, array)))
    assert [node for node, _ in seen] == list(graph)
    observed = [array for _, array in seen]
    assert_same_outputs(observed, list(arrays.values()), largest, SAME_NETWORK)
    assert_same_outputs(outputs, expected, largest, SAME_NETWORK)


def small(*nodes, outputs, channels=3):
    graph = Graph("small", (Node("image", Input(channels, 1)), *nodes), outputs)
    return graph, random_params(graph, 3)


STEM = Node("stem", Conv(21, 3), ("image",))
SMALL = {
    "the image as an output": small(STEM, outputs=("stem", "image")),
    "nothing but the image": small(outputs=("image",)),
    "a sum that is pooled": small(
        STEM,
        Node("project", Pointwise(21), ("stem",)),
        Node("sum", Add(), ("project", "stem")),
        Node("pool", GlobalAveragePool(), ("sum",)),
        outputs=("pool",),
    ),
    "readers with different groups": small(
        Node("stem", Conv(88, 1), ("image",)),
        Node("two", Pointwise(9, 2), ("stem",)),
        Node("five", Pointwise(9, 5), ("stem",)),
        outputs=("two", "five"),
    ),
    "gates on a map that is read again": small(
        STEM,
        Node("mixconv", MixConv((3, 5)), ("stem",)),
        Node("se", SqueezeExcite(3, "swish"), ("mixconv",)),
        Node("project", Pointwise(40), ("se",)),
        Node("again", Pointwise(5), ("mixconv",)),
        outputs=("project", "again"),
    ),
    "batch norm with an eps of zero": small(
        STEM,
        Node("norm", BatchNorm(0.0), ("stem",)),
        Node("twice", Add(), ("norm", "stem")),
        Node("project", Pointwise(5), ("twice",)),
        outputs=("project",),
    ),
}


@pytest.mark.parametrize("observed", [False, True], ids=["", "observed"])
@pytest.mark.parametrize("size", [(1, 1), (5, 6)], ids=str)
@pytest.mark.parametrize("fused", [False, True], ids=["as built", "fused"])
@pytest.mark.parametrize("network", SMALL.values(), ids=SMALL)
def test_small_graphs_that_once_went_wrong_give_the_reference_outputs(
    network, fused, size, observed
):
    graph, params = optimize(*network) if fused else network
    x = pictures(2, *size, channels=graph.input.channels)
    arrays = run_all(graph, params, x)
    largest = max(np.abs(array).max() for array in arrays.values())
    found = {}
    observe = (lambda node, array: found.update({node.name: array})) if observed else None
    outputs = CompiledEngine(graph, params, threads=2).run(x, observe)
    assert_same_outputs(outputs, [arrays[n] for n in graph.outputs], largest, SAME_NETWORK)
    for name, array in found.items():
        assert_same_outputs([array], [arrays[name]], largest, SAME_NETWORK)


@needs_reference
@pytest.mark.parametrize("name", ["mixnet_s.pth", "tf_mixnet_m.safetensors"])
def test_released_checkpoints_give_the_logits_that_timm_recorded(name):
    source = REFERENCE / "timm" / name
    file = read_model(source).model
    with np.load(source.with_name(f"{source.stem}_ref.npz")) as recorded:
        x = np.moveaxis(recorded["inputs"], 1, -1)
        expected = recorded["logits"][: len(x)]
    (logits,) = CompiledEngine(file.graph, file.params, threads=2).run(x)
    assert np.abs(logits - expected).max() <= RECORDED_LOGITS
