"""ONNX's TensorProto -> array."""

from __future__ import annotations

from typing import Any

import numpy as np

from weights_tools.readers.checkpoint import Array, checked_sizes, element_count, shown
from weights_tools.readers.onnx_messages import (
    TENSOR,
    Message,
    Parser,
    as_bytes,
    fixed,
    integer,
    text,
    varints,
)
from weights_tools.readers.protobuf import Value
from weights_tools.readers.scalars import SCALARS, owned

DATA_TYPES = {
    1: ("float32", "float_data"),
    2: ("uint8", "int32_data"),
    3: ("int8", "int32_data"),
    5: ("int16", "int32_data"),
    6: ("int32", "int32_data"),
    7: ("int64", "int64_data"),
    9: ("bool", "int32_data"),
    10: ("float16", "int32_data"),
    11: ("float64", "double_data"),
    16: ("bfloat16", "int32_data"),
}
"""Value of ``data_type`` -> our element type, and the field of elements that are not raw."""

_DATA = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "string_data")
_EXTERNAL = 1


def read_tensor(parser: Parser, view: Value, where: str) -> tuple[str, Array]:
    """Bytes of a TensorProto -> its name, empty where it has none, and its array.

    Raises:
        ValueError: it is damaged, its elements are in another file or of a type without a NumPy
            equal, or they are not as many as its shape says.
    """
    message = parser.parse(view, TENSOR, where)
    name = text(message, "name")
    try:
        return name, _array(parser, message)
    except ValueError as error:
        raise ValueError(f"{where} {shown(name)}: {error}") from error


def _array(parser: Parser, message: Message) -> Array:
    if "external_data" in message or integer(message, "data_location") == _EXTERNAL:
        raise ValueError(
            "its elements are in another file, which is not read; write the model again as one "
            "file: onnx.save_model(onnx.load(path), new_path)"
        )
    data_type = integer(message, "data_type")
    if data_type not in DATA_TYPES or "segment" in message:
        raise ValueError(
            f"data_type {data_type}{' in segments' if 'segment' in message else ''}; readable are "
            f"{', '.join(f'{number} ({scalar})' for number, (scalar, _) in DATA_TYPES.items())}"
        )
    scalar, field = DATA_TYPES[data_type]
    shape = checked_sizes(parser.integers(message, "dims"), "dims")
    count = element_count(shape)
    present = [key for key in _DATA if key in message]
    if len(present) > 1 or not set(present) <= {"raw_data", field}:
        raise ValueError(f"{scalar} elements in {' and '.join(present)}")
    if present == ["raw_data"]:
        bits = _joined([as_bytes(message["raw_data"][0])], count, scalar)
    elif field in ("float_data", "double_data"):
        bits = _joined(fixed(message, field, SCALARS[scalar].itemsize), count, scalar)
    else:
        bits = _from_varints(message.get(field, []), count, scalar)
    return owned(bits, scalar).reshape(shape)


def _joined(pieces: list[memoryview], count: int, scalar: str) -> Array:
    dtype = SCALARS[scalar]
    size = sum(len(piece) for piece in pieces)
    if size != count * dtype.itemsize:
        raise ValueError(f"needs {count * dtype.itemsize} bytes as {scalar}, has {size}")
    data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    return np.frombuffer(data, dtype)


def _from_varints(values: list[Value], count: int, scalar: str) -> Array:
    """Elements that are each a varint: negative ones as int64, 16-bit floats by their bits."""
    available = sum(1 if isinstance(value, int) else len(value) for value in values)
    if count > available:
        raise ValueError(f"needs {count} elements, has {available} bytes of them")
    stored = np.dtype("<u2") if scalar == "float16" else SCALARS[scalar]
    limits = (0, 1) if scalar == "bool" else _limits(stored)
    bits = np.empty(count, stored)
    filled = 0
    for value in values:
        for piece in varints(value):
            numbers = piece.view(np.int64)
            if filled + len(numbers) > count:
                raise ValueError(f"has more than the {count} elements of its shape")
            if np.any((numbers < limits[0]) | (numbers > limits[1])):
                raise ValueError(f"an element is outside of {scalar}'s range")
            bits[filled : filled + len(numbers)] = numbers
            filled += len(numbers)
    if filled != count:
        raise ValueError(f"needs {count} elements, has {filled}")
    return bits.view(SCALARS[scalar])


def _limits(stored: np.dtype[Any]) -> tuple[int, int]:
    return np.iinfo(stored).min, np.iinfo(stored).max
