"""ONNX models as bytes, written without the onnx package: what the reader's tests read back."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

DATA_TYPES = {
    "float32": 1,
    "uint8": 2,
    "int8": 3,
    "int16": 5,
    "int32": 6,
    "int64": 7,
    "bool": 9,
    "float16": 10,
    "float64": 11,
}
TYPED_FIELDS = {"float32": 4, "int64": 7, "float64": 10}
"""Field of a TensorProto that holds elements of this type; int32_data, 5, the others."""


def varint(value: int) -> bytes:
    value %= 2**64
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number: int, value: int | float | str | bytes) -> bytes:
    """A varint, a float of 32 bits, a text or bytes, with the tag before it."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor(name: str, array: Array, *, raw: bool = True) -> bytes:
    """TensorProto: elements as raw bytes, or each in the field of its type, packed."""
    head = b"".join(field(1, size) for size in array.shape)
    head += field(2, DATA_TYPES[array.dtype.name])
    return head + (field(9, little(array)) if raw else typed_data(array)) + field(8, name)


def typed_data(array: Array) -> bytes:
    kind = array.dtype.name
    if kind in ("float32", "float64"):
        return field(TYPED_FIELDS[kind], little(array))
    if kind == "float16":
        array = array.view(np.uint16)
    return field(TYPED_FIELDS.get(kind, 5), b"".join(varint(int(v)) for v in array.reshape(-1)))


def attribute(name: str, value: Any) -> bytes:
    """AttributeProto of a value's Python type; bytes are a TensorProto."""
    match value:
        case int():
            body = field(3, value) + field(20, 2)
        case float():
            body = field(2, value) + field(20, 1)
        case str():
            body = field(4, value) + field(20, 3)
        case bytes():
            body = field(5, value) + field(20, 4)
        case [int(), *_]:
            body = b"".join(field(8, v) for v in value) + field(20, 7)
        case [float(), *_]:
            body = b"".join(field(7, v) for v in value) + field(20, 6)
        case [str(), *_]:
            body = b"".join(field(9, v) for v in value) + field(20, 8)
        case _:
            raise TypeError(f"no attribute holds {value!r}")
    return field(1, name) + body


def node(
    kind: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    name: str = "",
    domain: str = "",
    attributes: Mapping[str, Any] | None = None,
) -> bytes:
    """NodeProto; empty fields are left out, as protobuf does."""
    body = b"".join(field(1, value) for value in inputs)
    body += b"".join(field(2, value) for value in outputs)
    body += field(3, name) if name else b""
    body += field(4, kind)
    body += b"".join(field(5, attribute(k, v)) for k, v in (attributes or {}).items())
    return body + (field(7, domain) if domain else b"")


def value_info(name: str, dims: Sequence[int | str]) -> bytes:
    """ValueInfoProto of a float32 tensor; a text is the name of a free size."""
    sizes = [field(1, field(1 if isinstance(dim, int) else 2, dim)) for dim in dims]
    kind = field(1, field(1, 1) + field(2, b"".join(sizes)))
    return field(1, name) + field(2, kind)


def graph(
    nodes: Sequence[bytes],
    tensors: Sequence[bytes] = (),
    inputs: Sequence[bytes] = (),
    outputs: Sequence[str] = (),
) -> bytes:
    """GraphProto."""
    return (
        b"".join(field(1, one) for one in nodes)
        + field(2, "main")
        + b"".join(field(5, one) for one in tensors)
        + b"".join(field(11, one) for one in inputs)
        + b"".join(field(12, value_info(name, [1])) for name in outputs)
    )


def model(
    graph_bytes: bytes, *, opset: int = 13, properties: Mapping[str, str] | None = None
) -> bytes:
    """ModelProto."""
    pairs = (properties or {}).items()
    return (
        field(1, 8)
        + field(2, "minimix-tests")
        + field(7, graph_bytes)
        + field(8, field(2, opset))
        + b"".join(field(14, field(1, key) + field(2, value)) for key, value in pairs)
    )


def little(values: Array) -> bytes:
    return values.astype(values.dtype.newbyteorder("<")).tobytes()


KERNEL = np.arange(12, dtype=np.float32).reshape(2, 6)
SIZES = np.array([1, 1])
SMALL = model(
    graph(
        [
            node("Constant", [], ["sizes"], attributes={"value": tensor("", SIZES)}),
            node("Conv", ["x", "kernel"], ["y"], name="conv", attributes={"pads": [1, 1]}),
            node("Split", ["y", "sizes"], ["a", "b"], attributes={"axis": 1}),
        ],
        [tensor("kernel", KERNEL)],
        [value_info("x", ["N", 3, 8])],
        ["b"],
    ),
    properties={"license": "none"},
)
"""A constant, a convolution and a split."""
