"""Whole networks against what timm recorded for them: no reference folder and no PyTorch needed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import minimix
from minimix.dialect import DIALECTS, Dialect
from minimix.engine.reference import ReferenceEngine
from minimix.graph import Graph, Node
from minimix.passes import optimize
from minimix.tolerances import RECORDED_LAYER, RECORDED_LOGITS, SAME_NETWORK
from minimix.zoo import build
from tests.checkpoint_writers import legacy_bytes, safetensors_bytes, state_dict, torch_zip_bytes
from tests.golden import seeded
from tests.golden.recordings import recording, timm_tensors
from tests.golden.seeded import CASES, Case
from weights_tools.convert import convert
from weights_tools.mappings.mapped import Mapped
from weights_tools.mappings.timm import map_timm
from weights_tools.verify import recorded_layers

Array = NDArray[Any]

each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@cache
def mapped(case: Case) -> Mapped:
    return map_timm(timm_tensors(case))


def graph_of(case: Case, dialect: Dialect | None = None) -> Graph:
    return build(mapped(case).architecture, dialect or DIALECTS[case.dialect])


def logits_of(engine: ReferenceEngine, case: Case) -> Array:
    (logits,) = engine.run(seeded.pictures(case))
    return logits


def difference(ours: Array, recorded: Array) -> float:
    return float(np.abs(ours - recorded).max())


@each_case
def test_logits_are_those_that_timm_recorded(case: Case) -> None:
    expected = recording(case)["logits"]
    ours = logits_of(ReferenceEngine(graph_of(case), mapped(case).params), case)
    assert ours.shape == expected.shape == (2, case.classes)
    assert difference(ours, expected) <= RECORDED_LOGITS
    assert difference(ours, expected) <= SAME_NETWORK * np.abs(expected).max()


@each_case
def test_the_optimised_graph_gives_the_recorded_logits(case: Case) -> None:
    expected = recording(case)["logits"]
    ours = logits_of(ReferenceEngine(*optimize(graph_of(case), mapped(case).params)), case)
    assert difference(ours, expected) <= RECORDED_LOGITS
    assert difference(ours, expected) <= SAME_NETWORK * np.abs(expected).max()


@each_case
def test_in_double_precision_nothing_but_rounding_is_left(case: Case) -> None:
    expected = recording(case)["logits_f64"]
    params = {name: array.astype(np.float64) for name, array in mapped(case).params.items()}
    engine = ReferenceEngine(graph_of(case), params)
    (ours,) = engine.run(seeded.pictures(case).astype(np.float64))
    assert ours.dtype == np.float64
    assert difference(ours, expected) <= 1e-12 * np.abs(expected).max()


@each_case
def test_every_layer_is_the_one_that_timm_recorded(case: Case) -> None:
    stored, graph = recording(case), graph_of(case)
    ours: dict[str, Array] = {}

    def keep(node: Node, array: Array) -> None:
        ours[node.name] = array

    ReferenceEngine(graph, mapped(case).params).run(seeded.pictures(case), keep)
    names = recorded_layers(graph)
    assert [graph[name].stage for name in names] == stored["layers"].tolist()
    for name, layer, size, values in zip(
        names, stored["layers"], stored["layer_sizes"], stored["layer_values"], strict=True
    ):
        # timm's own order is (C, H, W).
        flat = np.moveaxis(ours[name], -1, 1).reshape(2, -1)
        assert flat.shape[1] == size, name
        samples = flat[:, seeded.sample_positions(case, str(layer), int(size))]
        assert difference(samples, values) <= RECORDED_LAYER * np.abs(values).max(), name


@each_case
def test_the_other_dialect_would_be_noticed(case: Case) -> None:
    # What the recordings can tell apart decides what the tests above are worth.
    other = DIALECTS["timm" if case.tensorflow else "timm-tf"]
    expected = recording(case)["logits"]
    for wrong in (
        other,
        Dialect("eps", DIALECTS[case.dialect].padding, other.batch_norm_eps),
        Dialect(
            "se", DIALECTS[case.dialect].padding, DIALECTS[case.dialect].batch_norm_eps, "relu"
        ),
    ):
        ours = logits_of(ReferenceEngine(graph_of(case, wrong), mapped(case).params), case)
        assert difference(ours, expected) > 10 * RECORDED_LOGITS, wrong


@each_case
def test_the_recognised_architecture_has_the_widths_that_were_asked_for(case: Case) -> None:
    architecture = mapped(case).architecture
    assert architecture.head_channels == case.head
    assert architecture.num_classes == case.classes
    assert len(architecture.blocks) == len(recording(case)["layers"]) - 3
    family = {"s": "mixnet-s", "m": "mixnet-m"}[case.variant]
    family = "mixnet-xxl" if case.depth_multiplier != 1.0 else family
    assert architecture.name == f"{family}-custom"


@pytest.mark.parametrize("name", ["mixnet_s-odd", "tf_mixnet_m-odd"])
@pytest.mark.parametrize(
    "write",
    [
        lambda arrays: legacy_bytes(state_dict(arrays)),
        lambda arrays: torch_zip_bytes(state_dict(arrays)),
        safetensors_bytes,
    ],
    ids=["legacy", "zip", "safetensors"],
)
def test_logits_survive_a_checkpoint_file_and_a_model_file_bit_by_bit(
    name: str, write: Any, tmp_path: Path
) -> None:
    case = CASES[name]
    checkpoint = tmp_path / f"{name.partition('-')[0]}-narrow.bin"
    checkpoint.write_bytes(write(timm_tensors(case)))
    convert(checkpoint, tmp_path / "narrow.h5")
    net = minimix.load(tmp_path / "narrow.h5", engine="reference")
    assert net.file.dialect == DIALECTS[case.dialect]
    direct = logits_of(ReferenceEngine(graph_of(case), mapped(case).params), case)
    np.testing.assert_array_equal(net(seeded.pictures(case)), direct)


def test_the_seeded_stream_is_the_one_that_was_recorded_with() -> None:
    # Were these to change, every other test here would fail and say nothing of why.
    assert seeded.uniform(7, (3,), 0.0, 1.0).tolist() == [
        0.07630828768014908,
        0.7799187898635864,
        0.4384092390537262,
    ]


def test_the_recorded_files_stay_small() -> None:
    assert (
        sum(file.stat().st_size for file in (Path(__file__).parent / "golden").glob("*.npz"))
        < 300_000
    )
