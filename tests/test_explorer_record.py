"""What the explorer records, against the trace it was taken from and against plain sums."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimix import ops
from minimix.collapsed import collapse
from minimix.dialect import DIALECTS, PIPELINES
from minimix.errors import InputError
from minimix.explorer import Record, record
from minimix.explorer.maps import histogram
from minimix.explorer.pictures import crop_box
from minimix.images import crop_and_resize, open_image
from minimix.outputs import dead_channels
from minimix.receptive import receptive_fields
from minimix.tolerances import SAME_NETWORK
from tests.explorer_records import (
    BUS,
    PANDA,
    RECORDS,
    input_of,
    maps_of,
    node,
    pair,
    pocket,
    single,
    small,
    tiny,
)
from tests.pictures import picture

FLOAT32 = float(np.finfo(np.float32).eps)
MODELS = {"pair": pocket, "small": tiny}
ACTIVATIONS = {"relu": ops.relu, "swish": ops.swish, None: lambda y: y}


@pytest.fixture(params=RECORDS)
def found(request):
    return RECORDS[request.param]()


def samples(found):
    """(node, sample, picture) of the whole recording."""
    return [
        (entry, sample, p)
        for entry in found.document["nodes"]
        for sample in entry["magnifier"]
        for p in range(len(found.document["pictures"]))
    ]


def read_by(found, sample, p):
    """(H, W, Cin) that the sample's convolution read, and its (K, K, Cin) kernel, in float64."""
    weight = found.array(sample["weight"]).astype(np.float64)
    if sample["reads"] == "picture":
        return input_of(found, p).astype(np.float64), weight
    return found.array(sample["input"][p]).astype(np.float64)[..., None], weight[..., None]


def by_hand(x, weight, group, stride, i, j):
    """The patch's products with the kernel at output pixel (i, j), one by one."""
    H, W, _ = x.shape
    before = group["pad"][0]
    terms = []
    for di in range(len(weight)):
        for dj in range(len(weight)):
            row = i * stride + di * group["dilation"] - before
            column = j * stride + dj * group["dilation"] - before
            if 0 <= row < H and 0 <= column < W:
                terms += list(x[row, column] * weight[di, dj])
    return terms or [0.0]


def test_the_magnifiers_sum_is_the_recorded_output(found):
    random = np.random.default_rng(3)
    for entry, sample, p in samples(found):
        x, weight = read_by(found, sample, p)
        group, output = entry["groups"][sample["group"]], found.array(sample["output"][p])
        Ho, Wo = output.shape
        inner = [tuple(random.integers((Ho, Wo))) for _ in range(3)]
        for i, j in [(0, 0), (0, Wo - 1), (Ho - 1, 0), (Ho - 1, Wo - 1), *inner]:
            terms = by_hand(x, weight, group, entry["stride"], i, j)
            rounding = FLOAT32 * len(terms) * sum(map(abs, terms))
            assert abs(sum(terms) + sample["bias"] - output[i, j]) <= rounding


def test_every_group_has_a_sample_and_every_sample_its_kernel():
    for entry in single().document["nodes"]:
        if entry["kind"] in ("conv", "mixconv"):
            found = [sample["group"] for sample in entry["magnifier"]]
            assert found == list(range(len(entry["groups"])))
        else:
            assert entry["magnifier"] == []
    for entry, sample, _ in samples(single()):
        kernels = entry["groups"][sample["group"]]["kernels"]
        first = single().array(kernels["weights"])[kernels["channels"].index(sample["channel"])]
        np.testing.assert_array_equal(first, single().array(sample["weight"]))


def test_batch_norm_and_activation_lead_from_a_sample_to_its_feature_map(found):
    for entry, sample, p in samples(found):
        raw = found.array(sample["output"][p]).astype(np.float64)
        y = ACTIVATIONS[entry["activation"]](raw * sample["scale"] + sample["shift"])
        maps, step = maps_of(found, entry, p)
        n = entry["maps"]["channels"].index(sample["channel"])
        np.testing.assert_allclose(maps[n], y, rtol=1e-5, atol=float(step[n, 0, 0]) + 1e-5)


@pytest.mark.parametrize("p", [0, 1])
@pytest.mark.parametrize("name", MODELS)
def test_what_is_recorded_is_what_the_trace_has(name, p):
    found, net = RECORDS[name](), MODELS[name]()
    with net.trace(net.preprocess((PANDA, BUS)[p])) as trace:
        pass
    np.testing.assert_array_equal(input_of(found, p), trace["image"].output[0])
    np.testing.assert_array_equal(
        found.array(found.document["pictures"][p]["logits"]), trace.logits[0]
    )
    for entry in found.document["nodes"]:
        y = trace[entry["members"][-1]["name"]].output[0]
        assert list(y.shape) == entry["shape"]
        stats = entry["stats"][p]
        assert stats["low"] == pytest.approx(y.min(), rel=1e-6)
        assert stats["high"] == pytest.approx(y.max(), rel=1e-6)
        assert stats["mean"] == pytest.approx(y.mean(dtype=np.float64), rel=1e-6)
        assert stats["zeros"] == pytest.approx((y == 0).mean())
        assert sum(entry["histogram"]["counts"][p]) == y.size
        if entry["maps"] is not None:
            maps, step = maps_of(found, entry, p)
            shown = np.moveaxis(y, -1, 0)[entry["maps"]["channels"]]
            assert (abs(maps - shown) <= step * 1.001 + 1e-6).all(), entry["name"]
        if entry["vector"] is not None:
            np.testing.assert_array_equal(found.array(entry["vector"][p]), y)
        if entry["gates"] is not None:
            gates = found.array(entry["gates"][p])
            np.testing.assert_array_equal(gates, trace[entry["name"]].gates[0])


def test_channels_are_shown_by_energy_and_each_group_in_its_turn():
    net, found = pocket(), pair()
    outputs = []
    for source in (PANDA, BUS):
        with net.trace(net.preprocess(source)) as trace:
            outputs.append({step.name: step.output for step in trace})
    for entry in found.document["nodes"]:
        if not entry["maps"]:
            continue
        both = [arrays[entry["members"][-1]["name"]].astype(np.float64) for arrays in outputs]
        energy = np.mean([np.mean(y**2, axis=(0, 1, 2)) for y in both], axis=0)
        shown = entry["maps"]["channels"]
        np.testing.assert_allclose(entry["maps"]["energies"], energy[shown], rtol=1e-6)
        lanes = entry["groups"] if entry["kind"] == "mixconv" else [{"first": 0, "channels": 10**6}]
        for lane in lanes:
            inside = range(lane["first"], lane["first"] + lane["channels"])
            mine = [c for c in shown if c in inside]
            hidden = [energy[c] for c in range(len(energy)) if c in inside and c not in mine]
            assert list(energy[mine]) == sorted(energy[mine], reverse=True)
            assert not mine or not hidden or energy[mine[-1]] >= max(hidden)
            assert len(mine) >= min(lane["channels"], len(shown) // len(lanes))


def test_costs_are_those_of_the_graph():
    for found, net in ((single(), pocket()), (small(), tiny())):
        nodes, model = found.document["nodes"], found.document["model"]
        assert sum(n["macs"] for n in nodes) == model["macs"]
        assert model["macs"] == sum(net.graph.macs(net.size, net.size).values())
        assert sum(n["parameters"] for n in nodes) == model["parameters"]
        specs = net.graph.infer(1, net.size, net.size)
        for entry in nodes:
            assert entry["output_bytes"] == specs[entry["members"][-1]["name"]].size_bytes


def test_every_node_of_the_graph_is_in_one_collapsed_node_and_one_stage():
    for found, net in ((single(), pocket()), (small(), tiny())):
        members = [m["name"] for entry in found.document["nodes"] for m in entry["members"]]
        assert members == [node.name for node in net.graph]
        listed = [name for stage in found.document["stages"] for name in stage["nodes"]]
        assert listed == [entry["name"] for entry in found.document["nodes"]]
        kinds = {m["kind"] for entry in found.document["nodes"] for m in entry["members"][1:]}
        assert kinds == {"batch_norm", "activation"}


def test_a_folded_network_has_biases_in_the_place_of_batch_norm():
    found = record(tiny(dialect=DIALECTS["omz"]), picture(40, 40), times=False)
    stem = node(found, "stem.conv")
    assert [member["kind"] for member in stem["members"]] == ["conv", "activation"]
    (sample,) = stem["magnifier"]
    assert (sample["scale"], sample["shift"]) == (1, 0)
    x, weight = read_by(found, sample, 0)
    terms = by_hand(x, weight, stem["groups"][0], 2, 3, 3)
    output = found.array(sample["output"][0])[3, 3]
    assert sum(terms) + sample["bias"] == pytest.approx(output, rel=1e-5)
    assert sample["bias"] != 0


@pytest.mark.parametrize("pipeline", sorted(PIPELINES))
def test_every_pipelines_input_is_exact(pipeline):
    net = tiny(pipeline=PIPELINES[pipeline].with_size(32))
    found = record(net, picture(70, 90), times=False)
    np.testing.assert_array_equal(input_of(found, 0), net.preprocess(picture(70, 90))[0])


def test_fields_are_those_of_the_graph():
    fields = receptive_fields(pocket().graph, 96)
    for entry in single().document["nodes"]:
        if entry["kind"] == "mixconv":
            sizes = [group["field"]["size"] for group in entry["groups"]]
            assert sizes == [field.size for field in fields[entry["name"]]]
            assert entry["field"]["size"] == max(sizes)
        last = fields[entry["members"][-1]["name"]][-1]
        assert entry["field"]["step"] == last.step


def test_activation_cells_and_bias_sum_to_the_logits(found):
    for shown in found.document["pictures"]:
        activation, logits = shown["activation"], found.array(shown["logits"])
        cells = found.array(activation["cells"]).astype(np.float64)
        for k, index in enumerate(found.document["classes"]):
            assert cells[k].sum() + activation["bias"][k] == activation["sums"][k]
            assert activation["logits"][k] == logits[index]
            largest = float(abs(logits).max())
            assert activation["sums"][k] == pytest.approx(logits[index], abs=SAME_NETWORK * largest)


def test_the_best_classes_come_first_with_their_probabilities():
    shown = single().document["pictures"][0]
    best = shown["top"]
    assert len(best) == 20
    assert best[0]["label"] == "giant panda"
    assert [row["logit"] for row in best] == sorted((row["logit"] for row in best), reverse=True)
    prediction = pocket().classify(PANDA, top=20)
    assert [row["label"] for row in best] == [score.label for score in prediction.top]
    np.testing.assert_allclose([row["p"] for row in best], [s.p for s in prediction.top], atol=1e-5)
    assert single().document["classes"] == [row["index"] for row in best[:5]]


def test_two_pictures_share_classes_channels_and_scales():
    found = pair()
    both = [[row["index"] for row in p["top"][:5]] for p in found.document["pictures"]]
    assert found.document["classes"] == list(dict.fromkeys([*both[0], *both[1]]))
    assert [p["name"] for p in found.document["pictures"]] == [PANDA.name, BUS.name]
    for entry in found.document["nodes"]:
        lows, highs = ([stats[key] for stats in entry["stats"]] for key in ("low", "high"))
        assert entry["histogram"]["low"] == pytest.approx(min(lows), rel=1e-6)
        assert entry["histogram"]["high"] == pytest.approx(max(highs), rel=1e-6)
    for p, shown in enumerate(found.document["pictures"]):
        assert shown["occlusion"]["index"] == both[p][0]


def test_the_occlusion_tells_its_progress_over_both_pictures():
    told = []
    record(tiny(), picture(40, 40), compare=picture(40, 50), times=False,
           progress=lambda done, total: told.append((done, total)))  # fmt: skip
    assert told[-1][0] == told[-1][1]
    assert told == sorted(told)
    assert len({total for _, total in told}) == 1


@pytest.mark.parametrize("name", ["single", "small"])
def test_times_are_complete_and_belong_together(name):
    found = RECORDS[name]()
    times, nodes = found.document["times"], found.document["nodes"]
    assert times["machine"] == ("a machine" if name == "single" else "")
    assert times["nodes_ms"] == pytest.approx(sum(n["ms"] or 0 for n in nodes), rel=1e-5)
    # Loosely, since the machine that tests may be busy; both were measured in turns.
    assert times["inference_ms"] / 4 < times["nodes_ms"] < times["inference_ms"] * 4
    timed = {n["name"] for n in nodes if n["ms"] is not None}
    for entry in nodes[1:]:
        assert (entry["name"] in timed) != (entry["ms_in"] in timed), entry["name"]
    homes = {n["kind"]: n["ms_in"] for n in nodes if n["ms_in"]}
    is_fused = found.document["model"]["engine"] == "compiled"
    expected = {"add": "blocks.15.project", "pool": "head.conv"} if is_fused else {}
    assert homes == expected


def test_without_times_a_record_is_a_function_of_model_and_picture():
    one = record(tiny(), picture(), times=False, machine="one")
    other = record(tiny(), picture(), times=False, machine="another")
    assert one == other
    assert one.document["times"] is None
    assert all(entry["ms"] is entry["ms_in"] is None for entry in one.document["nodes"])


def test_code_and_formulas_are_there_for_every_node_that_computes():
    found = single().document
    for entry in found["nodes"]:
        assert bool(entry["formulas"]) == (entry["kind"] != "input")
        for name in entry["code"]:
            assert found["code"][name].startswith(f"def {name}(")
    assert node(single(), "blocks.0.mixconv")["code"][:2] == ["mixconv", "depthwise"]


def test_the_crop_is_what_the_network_sees():
    shown = single().document["pictures"][0]
    kind, _, text = shown["crop"].partition(",")
    assert kind == "data:image/png;base64"
    decoded = np.asarray(open_image(io.BytesIO(base64.b64decode(text))))
    np.testing.assert_array_equal(decoded, crop_and_resize(open_image(PANDA), pocket().pipeline))


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_the_crop_box_lies_in_the_middle_and_has_the_cropped_share(name):
    top, left, height, width = crop_box(800, 1200, PIPELINES[name])
    assert (top + height / 2, left + width / 2) == pytest.approx((400, 600), abs=3)
    square = PIPELINES[name].crop != "center-fraction"
    assert (height, width) == pytest.approx((700, 700 if square else 1050), abs=2)


def test_an_original_is_turned_and_shrunk():
    wide = open_image(picture(300, 1280))
    exif = wide.getexif()
    exif[0x0112] = 6  # to be turned by a quarter
    stream = io.BytesIO()
    wide.save(stream, "PNG", exif=exif)
    shown = record(tiny(), stream.getvalue(), times=False).document["pictures"][0]
    assert (shown["width"], shown["height"]) == (300, 1280)
    text = shown["original"].partition(",")[2]
    assert open_image(io.BytesIO(base64.b64decode(text))).size == (150, 640)


@pytest.mark.parametrize(
    ("y", "activation", "expected"),
    [
        ([[0, 1, 0], [0, 0, 0]], "relu", [0, 2]),
        ([[0, 1, 0]], "relu", [0, 2]),
        ([[0.5, 1, -1], [0.5, 2, -1]], "swish", [0, 2]),
        ([[0.5, 1, -1], [0.5, 2, -1]], "relu", []),
        ([[0.0, 1, -1]], None, []),
    ],
)
def test_dead_is_zero_after_relu_and_constant_elsewhere(y, activation, expected):
    array = np.array(y, np.float32)[None, :, None, :]
    assert dead_channels(array, activation) == expected


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=40))
def test_a_histogram_counts_every_value_in_its_bin(values):
    y = np.array(values, np.float32)[None, :]
    found = histogram([y, y[:, :1]])
    assert sum(found["counts"][0]) == len(values)
    assert sum(found["counts"][1]) == 1
    assert found["low"] < found["high"]
    edges = np.linspace(found["low"], found["high"], 65)
    position = found["counts"][1].index(1)
    width = edges[1] - edges[0]
    assert edges[position] - width <= values[0] <= edges[position + 1] + width


def test_a_saved_record_is_read_back_and_saved_to_the_same_bytes(found, tmp_path):
    found.save(tmp_path / "a.npz")
    again = Record.load(tmp_path / "a.npz")
    assert again == found
    again.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_the_document_is_plain_json(found):
    document = found.document
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_collapsing_keeps_what_others_read():
    net = tiny()
    for entry in collapse(net.graph):
        for member in entry.members[:-1]:
            assert len(net.graph.readers[member.name]) == 1


def test_a_missing_picture_is_named():
    with pytest.raises(InputError, match=r"none\.jpg"):
        record(tiny(), "none.jpg")
