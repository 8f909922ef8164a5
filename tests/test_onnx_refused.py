"""ONNX: what is damaged, refused or too large, and how the error says so."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from minimix.errors import WeightsError
from tests.checkpoint_writers import stored
from tests.onnx_writers import (
    KERNEL,
    SIZES,
    SMALL,
    attribute,
    field,
    graph,
    model,
    node,
    tensor,
    value_info,
    varint,
)
from weights_tools.readers import read


def with_tensor(*fields: bytes) -> bytes:
    return model(graph([], [b"".join(fields)]))


def with_nodes(*nodes: bytes) -> bytes:
    return model(graph(nodes, [tensor("w", KERNEL)], [value_info("x", [1])]))


FLOAT2 = field(8, "w") + field(1, 2) + field(2, 1)
RAW = b"\0" * 8


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (
            with_tensor(FLOAT2, field(9, RAW[:4])),
            "initializer 'w': needs 8 bytes as float32, has 4",
        ),
        (with_tensor(FLOAT2), "needs 8 bytes as float32, has 0"),
        (with_tensor(FLOAT2, field(9, RAW), field(4, RAW)), "float32 elements in raw_data and"),
        (with_tensor(FLOAT2, field(7, RAW)), "float32 elements in int64_data"),
        (with_tensor(FLOAT2, field(4, RAW[:7])), "'float_data' has 7 bytes, for 4 each"),
        (with_tensor(FLOAT2, field(13, b"")), r"another file, which is not read; .*onnx\.save"),
        (with_tensor(FLOAT2, field(14, 1)), "its elements are in another file"),
        (with_tensor(FLOAT2, field(3, b"")), "data_type 1 in segments"),
        (with_tensor(field(8, "w"), field(2, 8)), "data_type 8; readable are 1 .float32."),
        (with_tensor(field(1, -1), field(2, 1)), r"dims: expected sizes .* found -1"),
        (with_tensor(field(1, 2**40), field(1, 2**40), field(2, 1)), "more than"),
        (with_tensor(*[field(1, 1)] * 33, field(2, 1)), "at most 32 sizes"),
        (with_tensor(field(2, 1), field(9, RAW[:4])), "tensor name ''"),
        (with_tensor(FLOAT2, FLOAT2), "initializer: name comes twice"),
        (with_tensor(field(1, 2), field(2, 3), field(5, varint(1) + varint(200))), "int8's range"),
        (with_tensor(field(1, 2), field(2, 9), field(5, varint(1) + varint(2))), "bool's range"),
        (
            with_tensor(field(1, 2), field(2, 3), field(5, varint(1) * 3)),
            "more than the 2 elements",
        ),
        (with_tensor(field(1, 2), field(2, 6), field(5, varint(300))), "needs 2 elements, has 1"),
        (with_tensor(field(1, 9), field(2, 7), field(7, b"\1")), "needs 9 elements, has 1 bytes"),
        (with_tensor(field(1, 1), field(2, 7), field(7, b"\x81")), "byte 0 is cut off"),
        (with_tensor(field(1, 1), field(2, 7), field(7, b"\xff" * 9 + b"\2")), "more than 64 bits"),
        (with_tensor(field(1, 1), field(2, 7), field(7, b"\xff" * 11 + b"\0")), "more than 64"),
        (with_tensor(field(8, b"\xff"), field(2, 1)), "utf-8"),
        (with_tensor(b"\x0b"), "field 1 has wire type 3, which is a group"),
        (with_tensor(field(2, b"")), "data_type has wire type 2, not 0"),
        (model(graph([], [tensor("w", SIZES)] * 2)), "the value 'w' is made twice"),
        (with_nodes(node("A", ["y"], ["z"])), "node 'z', a 'A': 'y' is made by nothing before"),
        (with_nodes(node("A", [], ["w"])), "the value 'w' is made twice"),
        (with_nodes(node("A", [], ["x"])), "the value 'x' is made twice"),
        (with_nodes(node("A", ["x"], [])), "node '', a 'A': it has no op_type or makes nothing"),
        (with_nodes(node("", ["x"], ["y"])), "it has no op_type or makes nothing"),
        (with_nodes(node("Constant", ["x"], ["y"])), "expected no input and one output"),
        (with_nodes(node("Constant", [], ["y"])), "has 'no attribute'; expected one tensor as"),
        (
            with_nodes(node("Constant", [], ["y"], attributes={"value_string": "a"})),
            "has 'value_string'",
        ),
        (with_nodes(node("Constant", [], ["y"], attributes={"value_int": "a"})), "'value_int'"),
        (
            with_nodes(node("A", [], ["y"]) + field(5, attribute("k", 1)) * 2),
            "node 'y', a 'A': the attribute 'k' comes twice",
        ),
        (
            with_nodes(node("If", ["x"], ["y"]) + field(5, field(1, "then") + field(20, 5))),
            "the attribute 'then' has type 5; readable are .* not subgraphs",
        ),
        (
            with_nodes(node("A", ["x"], ["y"]) + field(5, field(1, "k") + field(20, 4))),
            "'k': a tensor that is not there",
        ),
        (model(graph([], outputs=["z"])), "the graph's outputs: 'z' is made by nothing"),
        (model(graph([], [], [field(1, "x")])), "input 'x': expected a tensor of known rank"),
        (model(graph([], []) + field(15, b"")), "a sparse initializer"),
        (SMALL + field(25, b""), "the model defines functions"),
        (SMALL + field(14, field(1, "license")), "the property 'license' comes twice"),
        (SMALL + field(8, b""), "the property 'onnx.opset' comes twice"),
        (field(1, 8) + field(7, b""), "opset_import does not say the version"),
    ],
)
def test_what_is_refused_is_named(data: bytes, problem: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=rf"checkpoint\.bin: ONNX: .*{problem}"):
        read(stored(tmp_path, data))


BOMBS: dict[str, tuple[bytes, str]] = {
    "empty nodes": (model(graph([b""] * 200_000)), "more than 100000 fields"),
    "attributes": (
        with_nodes(
            node("A", [], ["y"]) + b"".join(field(5, attribute(f"{i}", 1)) for i in range(40_000))
        ),
        "more than 100000 fields",
    ),
    "packed integers": (
        with_nodes(
            node("A", [], ["y"])
            + field(5, field(1, "k") + field(8, b"\1" * 200_000) + field(20, 7))
        ),
        "more than 100000 fields",
    ),
    "floats": (
        with_nodes(
            node("A", [], ["y"])
            + field(5, field(1, "k") + field(7, b"\0" * 1_000_000) + field(20, 6))
        ),
        "more than 100000 fields",
    ),
    "a shape": (with_tensor(field(1, 2**40), field(2, 7), field(7, b"\1")), "needs 1099511627776"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_file_cannot_fill_the_memory(bomb: str, tmp_path: Path) -> None:
    data, problem = BOMBS[bomb]
    path = stored(tmp_path, data)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=problem):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(data) + 64 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "bad",
    [
        [(1, "value_float"), (2, 0.5), (20, 6)],
        [(1, "value_float"), (2, 0.5), (20, 8)],
        [(1, "value_ints"), (8, 1), (8, 2), (20, 2)],
        [(1, "value_ints"), (20, 6)],
        [(1, "value_int"), (2, 0.5), (20, 1)],
    ],
)
def test_a_constant_whose_name_and_type_contradict_each_other_is_refused(
    bad: list[tuple[int, str | int | float]], tmp_path: Path
) -> None:
    content = b"".join(field(*part) for part in bad)
    made = field(2, "c") + field(4, "Constant") + field(5, content)
    data = model(graph([made]))
    with pytest.raises(WeightsError, match=f"'{bad[0][1]}' contradicts its type"):
        read(stored(tmp_path, data))
