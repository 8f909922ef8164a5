"""The attributes of ONNX's nodes -> Python values, typed as the file types them."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

from weights_tools.readers.checkpoint import Array, checked_name, shown
from weights_tools.readers.onnx_messages import (
    ATTRIBUTE,
    Message,
    Parser,
    decoded,
    fixed,
    integer,
    text,
)
from weights_tools.readers.onnx_tensors import read_tensor
from weights_tools.readers.protobuf import Value
from weights_tools.readers.topology import Attribute

TypedValue = Attribute | Array


def read_attributes(parser: Parser, views: list[Value], where: str) -> dict[str, TypedValue]:
    """AttributeProtos of one node -> name -> value.

    Raises:
        ValueError: one is damaged, comes twice, or is of a kind that no MixNet needs, as a
            subgraph is; ``where`` names the node in the message.
    """
    attributes: dict[str, TypedValue] = {}
    for view in views:
        message = parser.parse(view, ATTRIBUTE, f"{where}: an attribute")
        name, kind = checked_name(text(message, "name")), integer(message, "type")
        if name in attributes:
            raise ValueError(f"{where}: the attribute {shown(name)} comes twice")
        if kind not in _READERS:
            raise ValueError(
                f"{where}: the attribute {shown(name)} has type {kind}; readable are numbers, "
                "texts, lists of them, and tensors, not subgraphs"
            )
        others = sorted(message.keys() & set(_CONTENT_OF.values()) - {_CONTENT_OF[kind]})
        if others or _CONSTANT_TYPES.get(name, kind) != kind:
            raise ValueError(f"{where}: the attribute {shown(name)} contradicts its type, {kind}")
        parser.count(1)
        attributes[name] = _READERS[kind](parser, message, f"{where}: {shown(name)}")
    return attributes


def constant(attributes: dict[str, TypedValue], where: str) -> Array:
    """Attributes of a Constant node -> its value.

    Raises:
        ValueError: there is not one attribute, or it holds no numbers.
    """
    ((name, value),) = attributes.items() if len(attributes) == 1 else (("", ""),)
    if name == "value" and isinstance(value, np.ndarray):
        return value
    if name not in _CONSTANT_DTYPES or not isinstance(value, (int, float, tuple)):
        raise ValueError(
            f"{where}: has {shown(', '.join(attributes) or 'no attribute')}; expected one tensor "
            f"as value, or numbers as {' or '.join(_CONSTANT_DTYPES)}"
        )
    array: Array = np.array(value, _CONSTANT_DTYPES[name])
    array.flags.writeable = False
    return array


_CONSTANT_TYPES = {"value": 4, "value_float": 1, "value_int": 2, "value_floats": 6, "value_ints": 7}
"""What holds the value of a Constant node -> its type.  ConstantOfShape has a ``value``, too."""

_CONSTANT_DTYPES: dict[str, type[np.generic]] = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


def _floats(parser: Parser, message: Message, where: str) -> TypedValue:
    pieces = fixed(message, "floats", 4)
    parser.count(sum(map(len, pieces)) // 4)
    return tuple(value for piece in pieces for (value,) in struct.iter_unpack("<f", piece))


def _float(parser: Parser, message: Message, where: str) -> TypedValue:
    bits = integer(message, "f")
    return float(struct.unpack("<f", bits.to_bytes(4, "little"))[0])


def _int(parser: Parser, message: Message, where: str) -> TypedValue:
    return integer(message, "i")


def _ints(parser: Parser, message: Message, where: str) -> TypedValue:
    return parser.integers(message, "ints")


def _string(parser: Parser, message: Message, where: str) -> TypedValue:
    return text(message, "s")


def _strings(parser: Parser, message: Message, where: str) -> TypedValue:
    return tuple(decoded(value) for value in message.get("strings", []))


def _tensor(parser: Parser, message: Message, where: str) -> TypedValue:
    if "t" not in message:
        raise ValueError(f"{where}: a tensor that is not there")
    return read_tensor(parser, message["t"][0], where)[1]


_READERS: dict[int, Callable[[Parser, Message, str], TypedValue]] = {
    1: _float,
    2: _int,
    3: _string,
    4: _tensor,
    6: _floats,
    7: _ints,
    8: _strings,
}
"""Value of an attribute's ``type`` -> what reads it."""

_CONTENT_OF = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}
"""Value of an attribute's ``type`` -> the field that holds it."""
