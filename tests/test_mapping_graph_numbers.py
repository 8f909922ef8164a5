"""Axes and sizes that a graph works out, as OpenVINO stores what it read of ONNX."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minimix.dialect import DIALECTS
from minimix.errors import WeightsError
from minimix.passes import fold_batchnorm
from minimix.zoo import build
from tests.checkpoint_writers import same
from tests.graph_checkpoints import Written
from tests.graph_networks import NARROW, plain
from tests.strategies import random_params
from weights_tools import readers
from weights_tools.mappings.graphs.mapping import map_topology
from weights_tools.readers.checkpoint import Checkpoint
from weights_tools.readers.topology import Operation

needs_openvino = pytest.mark.skipif(
    find_spec("onnx") is None or find_spec("openvino") is None,
    reason="onnx or openvino is missing: pip install 'minimix[onnx]' openvino",
)


def worked_out(
    kind: str, *numbers: Any, container: str = "openvino-ir", **attributes: Any
) -> tuple[Checkpoint, Written]:
    """A network whose last mean reads its axes from an operation on these numbers."""
    written = plain(container=container)
    pool = written.operation("pool")
    names = [f"number {n}" for n in range(len(numbers))]
    axes = Operation("axes", kind, tuple(names), ("axes",), attributes)
    operations = [
        one
        for old in written.topology.operations
        for one in ((axes, replace(old, inputs=(old.inputs[0], "axes"))) if old is pool else (old,))
    ]
    if container == "onnx":
        operations = [
            replace(one, attributes={"keepdims": 0}) if one.name == pool.name else one
            for one in operations
        ]
    arrays = dict(zip(names, map(np.asarray, numbers), strict=True))
    tensors = {n: a for n, a in written.checkpoint.tensors.items() if n not in pool.inputs}
    return replace(written.with_operations(operations), tensors={**tensors, **arrays}), written


def assert_maps(checkpoint: Checkpoint, expected: Checkpoint) -> None:
    found = map_topology(checkpoint)
    assert same(found.params, map_topology(expected).params)
    assert found.ignored["number 0"] == "axes, sizes and numbers of the operations"


@pytest.mark.parametrize("container", ["onnx", "openvino-ir"])
@pytest.mark.parametrize("numbers", [(2, 4, 1), (3, 1, -1), (-2, 0, 1), (2, 5, 1000)])
def test_axes_may_be_counted(container: str, numbers: tuple[int, int, int]) -> None:
    checkpoint, written = worked_out("Range", *numbers, container=container)
    if numbers[2] == 1000:
        with pytest.raises(WeightsError, match=r"a mean over the axes \(2,\), expected \(2, 3\)"):
            map_topology(checkpoint)
    else:
        assert_maps(checkpoint, written.checkpoint)


@pytest.mark.parametrize(
    "numbers", [(2, 4, 0), (-(2**63), 2**63 - 1, 1), (0, 2**64 - 1, 1), (0, 65, 1)]
)
def test_a_count_of_many_numbers_is_refused(numbers: tuple[int, int, int]) -> None:
    arrays = [np.array(n, np.uint64 if n >= 2**63 else np.int64) for n in numbers]
    checkpoint, _ = worked_out("Range", *arrays)
    with pytest.raises(WeightsError, match="counts from .* expected a few numbers"):
        map_topology(checkpoint)


def test_numbers_may_be_repeated() -> None:
    checkpoint, written = worked_out("Broadcast", [2, 3], [2], mode="numpy")
    assert_maps(checkpoint, written.checkpoint)


@pytest.mark.parametrize(
    ("numbers", "mode", "problem"),
    [
        (([2], [65]), "numpy", r"repeats to shape \(65,\)"),
        (([2], [2**40, 2**40]), "numpy", r"repeats to shape \(1099511627776, 1099511627776\)"),
        (([2], [-1]), "numpy", r"repeats to shape \(-1,\)"),
        (([2], [2]), "bidirectional", "mode 'bidirectional'; expected .* mode 'numpy'"),
        (([2, 3], [3]), "numpy", "'Broadcast': .*broadcast"),
    ],
)
def test_numbers_that_are_repeated_otherwise_are_refused(
    numbers: tuple[Any, Any], mode: str, problem: str
) -> None:
    checkpoint, _ = worked_out("Broadcast", *numbers, mode=mode)
    with pytest.raises(WeightsError, match=problem):
        map_topology(checkpoint)


@needs_openvino
@pytest.mark.parametrize("origin", ["timm-tf", "mindcv"])
def test_what_openvino_stores_of_our_onnx_is_read(origin: str, tmp_path: Path) -> None:
    import openvino

    from weights_tools.export_onnx import onnx_model

    graph = build(NARROW, DIALECTS[origin])
    params = random_params(graph, 3)  # type: ignore[no-untyped-call]
    own = tmp_path / "own.onnx"
    own.write_bytes(onnx_model(graph, params, 96, 96).SerializeToString())
    openvino.save_model(
        openvino.Core().read_model(own), tmp_path / "net.xml", compress_to_fp16=False
    )
    mapped = map_topology(readers.read(tmp_path / "net.xml"))
    assert mapped.architecture == NARROW
    assert [dialect.name for dialect in mapped.dialects] == [origin]
    assert same(mapped.params, fold_batchnorm(graph, params)[1])
