"""ONNX: round trips, damage, what is refused, and the onnx package's own reading of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minimix.errors import WeightsError
from tests.checkpoint_writers import same, stored
from tests.onnx_writers import (
    DATA_TYPES,
    KERNEL,
    SIZES,
    SMALL,
    field,
    graph,
    model,
    node,
    tensor,
    value_info,
    varint,
)
from weights_tools.readers import detect, read


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the files of a Hypothesis test; each example replaces the file."""
    return tmp_path_factory.mktemp("onnx")


arrays = hnp.arrays(
    dtype=st.sampled_from(sorted(DATA_TYPES)).map(np.dtype),
    shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3),
)
texts = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=6)
integers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(width=32, allow_nan=False)
values = st.one_of(
    integers,
    floats,
    texts,
    st.lists(integers, min_size=1, max_size=3),
    st.lists(floats, min_size=1, max_size=3),
    st.lists(texts, min_size=1, max_size=3),
)


@given(
    tensors=st.dictionaries(texts, st.tuples(arrays, st.booleans()), max_size=5),
    nodes=st.lists(st.tuples(texts, st.dictionaries(texts, values, max_size=3)), max_size=4),
    data=st.data(),
)
def test_networks_come_back_with_every_tensor_bit_for_bit(
    folder: Path, tensors: dict[str, Any], nodes: list[Any], data: st.DataObject
) -> None:
    names = ["input 0", *tensors]
    written = []
    for i, (kind, attributes) in enumerate(nodes):
        inputs = data.draw(st.lists(st.sampled_from([*names, ""]), max_size=3))
        outputs = [f"value {i} {k}" for k in range(data.draw(st.integers(1, 2)))]
        # A Constant has no inputs, and is no operation.
        written.append((f"Op{kind}", inputs, outputs, attributes))
        names += outputs
    wanted = data.draw(st.lists(st.sampled_from(names), max_size=2))
    body = graph(
        [node(k, i, o, attributes=a) for k, i, o, a in written],
        [tensor(name, array, raw=raw) for name, (array, raw) in tensors.items()],
        # An initializer may be listed as an input, as older exporters do.
        [value_info(name, [1, "free", 3]) for name in ["input 0", *list(tensors)[:1]]],
        wanted,
    )
    checkpoint = read(stored(folder, model(body, opset=17)))
    assert checkpoint.container == "onnx"
    assert same(checkpoint.tensors, {name: array for name, (array, _) in tensors.items()})
    assert not any(array.flags.writeable for array in checkpoint.tensors.values())
    assert all(array.flags.c_contiguous for array in checkpoint.tensors.values())
    assert checkpoint.metadata == {
        "onnx.ir_version": "8",
        "onnx.opset": "17",
        "onnx.producer": "minimix-tests",
    }
    topology = checkpoint.topology
    assert topology is not None
    assert topology.inputs == {"input 0": (1, 0, 3)} and topology.outputs == tuple(wanted)
    assert [
        (o.name, o.kind, list(o.inputs), list(o.outputs), dict(o.attributes))
        for o in topology.operations
    ] == [
        (o[0], k, i, o, {n: tuple(v) if isinstance(v, list) else v for n, v in a.items()})
        for k, i, o, a in written
    ]


def test_constants_are_tensors_in_each_of_their_forms(folder: Path) -> None:
    forms: dict[str, tuple[Any, Any]] = {
        "value": (tensor("t", KERNEL), KERNEL),
        "value_int": (7, np.array(7)),
        "value_ints": ([1, -2], np.array([1, -2])),
        "value_float": (0.5, np.array(0.5, np.float32)),
        "value_floats": ([0.5, 1.5], np.array([0.5, 1.5], np.float32)),
    }
    nodes = [node("Constant", [], [k], attributes={k: v[0]}) for k, v in forms.items()]
    checkpoint = read(stored(folder, model(graph(nodes))))
    assert same(checkpoint.tensors, {key: value[1] for key, value in forms.items()})
    assert checkpoint.topology is not None and not checkpoint.topology.operations


def test_a_tensor_that_is_an_attribute_is_among_the_tensors(folder: Path) -> None:
    fill = np.zeros(1, np.int64)
    shape = tensor("shape", np.array([2]))
    nodes = [node("ConstantOfShape", ["shape"], ["out"], attributes={"value": tensor("", fill)})]
    checkpoint = read(stored(folder, model(graph(nodes, [shape]))))
    assert same(checkpoint.tensors, {"shape": np.array([2]), "out.value": fill})
    assert checkpoint.topology is not None
    assert checkpoint.topology.operations[0].attributes == {"value": "out.value"}


def test_operators_of_other_domains_keep_their_domain(folder: Path) -> None:
    nodes = [
        node("Gelu", ["x"], ["y"], domain="com.microsoft"),
        node("Relu", ["y"], ["z"], domain="ai.onnx"),
    ]
    topology = read(stored(folder, model(graph(nodes, [], [value_info("x", [1])])))).topology
    assert topology is not None
    assert [o.kind for o in topology.operations] == ["com.microsoft::Gelu", "Relu"]


def test_bfloat16_and_elements_in_typed_fields_are_widened_or_packed(folder: Path) -> None:
    bits = [0x3F80, 0xC020]
    head = field(1, 2) + field(2, 16)
    tensors = [
        head + field(9, np.array(bits, "<u2").tobytes()) + field(8, "raw"),
        head + field(5, varint(bits[0]) + varint(bits[1])) + field(8, "packed"),
        head + field(5, bits[0]) + field(5, bits[1]) + field(8, "unpacked"),
        field(1, varint(2)) + field(2, 1) + field(4, 1.0) + field(4, -2.5) + field(8, "floats"),
    ]
    found = read(stored(folder, model(graph([], tensors)))).tensors
    values = np.array([1.0, -2.5], np.float32)
    assert same(found, dict.fromkeys(["raw", "packed", "unpacked", "floats"], values))


def test_more_elements_than_one_piece_of_varints_are_read(folder: Path) -> None:
    many = np.arange(300_000, dtype=np.int32) - 150_000
    found = read(stored(folder, model(graph([], [tensor("t", many, raw=False)]))))
    assert same(found.tensors, {"t": many})


def test_the_file_cut_off_anywhere_but_between_its_properties_is_an_error(folder: Path) -> None:
    last = field(14, field(1, "license") + field(2, "none"))
    for length in range(len(SMALL)):
        path = stored(folder, SMALL[:length])
        if length == len(SMALL) - len(last):  # protobuf has no end mark
            assert same(read(path).tensors, {"kernel": KERNEL, "sizes": SIZES})
            continue
        with pytest.raises(WeightsError, match=r"checkpoint\.bin: "):
            read(path)


@settings(max_examples=400)
@given(data=st.data())
def test_changed_bytes_give_the_bytes_of_the_file_or_a_weights_error(
    folder: Path, data: st.DataObject
) -> None:
    body = bytearray(SMALL)
    for position in data.draw(st.lists(st.integers(0, len(body) - 1), min_size=1, max_size=3)):
        body[position] ^= data.draw(st.integers(1, 255))
    path = stored(folder, bytes(body))
    try:
        tensors = read(path).tensors
    except WeightsError as error:
        assert str(error).startswith(str(path))
        return
    exact = [array for array in tensors.values() if array.dtype.kind != "b"]
    assert all(array.tobytes() in body for array in exact)


@pytest.mark.parametrize(
    ("data", "container"),
    [
        (SMALL, "onnx"),
        (field(1, 8) + field(7, b""), "onnx"),
        (field(1, 8) + field(2, "no graph"), None),
        (field(1, 8) + field(7, b"") * 2, None),
        (field(1, 200) + field(7, b""), None),
        (field(7, b"") + field(1, 8), None),
        (SMALL + field(9, 1), None),
        (SMALL + field(5, b"a"), None),
        (SMALL + b"\0", None),
        (field(1, 8) + field(8, b"") * 10_000 + field(7, b""), None),
    ],
)
def test_a_model_is_known_by_its_fields(data: bytes, container: str | None, folder: Path) -> None:
    path = stored(folder, data)
    if container is None:
        with pytest.raises(WeightsError, match="which no known checkpoint does"):
            detect(path)
    else:
        assert detect(path) == container


def test_reading_needs_no_onnx_package(folder: Path) -> None:
    program = (
        "import sys; sys.modules['onnx'] = sys.modules['google'] = None\n"
        "from weights_tools.readers import read\n"
        "print(*read(sys.argv[1]).tensors)"
    )
    path = stored(folder, SMALL)
    found = subprocess.run(
        [sys.executable, "-c", program, str(path)], check=True, capture_output=True, text=True
    )
    assert found.stdout == "kernel sizes\n"


@given(array=arrays, raw=st.booleans())
def test_the_onnx_package_reads_the_same_of_a_tensor(
    folder: Path, array: np.ndarray[Any, Any], raw: bool
) -> None:
    onnx = pytest.importorskip("onnx")
    body = tensor("t", array, raw=raw)
    theirs = onnx.numpy_helper.to_array(onnx.TensorProto.FromString(body))
    ours = read(stored(folder, model(graph([], [body])))).tensors["t"]
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    assert ours.tobytes() == theirs.tobytes() == array.tobytes()


def test_the_onnx_package_reads_the_same_of_a_model(folder: Path) -> None:
    onnx = pytest.importorskip("onnx")
    theirs = onnx.load_model_from_string(SMALL)
    ours = read(stored(folder, theirs.SerializeToString()))
    assert ours.topology is not None
    nodes = [n for n in theirs.graph.node if n.op_type != "Constant"]
    for operation, other in zip(ours.topology.operations, nodes, strict=True):
        assert operation.kind == other.op_type
        assert list(operation.inputs) == other.input and list(operation.outputs) == other.output
        for entry in other.attribute:
            value = onnx.helper.get_attribute_value(entry)
            expected = tuple(value) if isinstance(value, list) else value
            assert operation.attributes[entry.name] == expected
    assert ours.metadata["license"] == "none"
