"""The protobuf messages of ONNX, as far as a network without subgraphs needs them.

Read by hand, in place of the onnx package: nothing has to be installed to read a file, and what
a small file can make of the memory is bounded here.
Format: onnx/onnx.proto of the onnx repository; the numbers of fields are those given there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weights_tools.readers.checkpoint import shown
from weights_tools.readers.protobuf import BYTES, FIXED32, FIXED64, VARINT, Value, fields, signed64

MAX_FIELDS = 100_000
"""The most fields looked at in one file; the tf_mixnet_l of torch's exporter has 26 thousand."""

PIECE_BYTES = 2**18
"""Packed varints are decoded by pieces of this size, so that the work space stays small."""


@dataclass(frozen=True)
class Spec:
    """One field of a message: its name, the wire types it may have, whether it may be repeated."""

    name: str
    wires: tuple[int, ...] = (BYTES,)
    repeated: bool = False


Schema = Mapping[int, Spec]
Message = dict[str, list[Value]]


MODEL: Schema = {
    1: Spec("ir_version", (VARINT,)),
    2: Spec("producer_name"),
    3: Spec("producer_version"),
    4: Spec("domain"),
    5: Spec("model_version", (VARINT,)),
    6: Spec("doc_string"),
    7: Spec("graph"),
    8: Spec("opset_import", repeated=True),
    14: Spec("metadata_props", repeated=True),
    20: Spec("training_info", repeated=True),
    25: Spec("functions", repeated=True),
    26: Spec("configuration", repeated=True),
}
OPSET: Schema = {1: Spec("domain"), 2: Spec("version", (VARINT,))}
PROPERTY: Schema = {1: Spec("key"), 2: Spec("value")}
GRAPH: Schema = {
    1: Spec("node", repeated=True),
    2: Spec("name"),
    5: Spec("initializer", repeated=True),
    11: Spec("input", repeated=True),
    12: Spec("output", repeated=True),
    15: Spec("sparse_initializer", repeated=True),
}
NODE: Schema = {
    1: Spec("input", repeated=True),
    2: Spec("output", repeated=True),
    3: Spec("name"),
    4: Spec("op_type"),
    5: Spec("attribute", repeated=True),
    7: Spec("domain"),
}
ATTRIBUTE: Schema = {
    1: Spec("name"),
    2: Spec("f", (FIXED32,)),
    3: Spec("i", (VARINT,)),
    4: Spec("s"),
    5: Spec("t"),
    7: Spec("floats", (FIXED32, BYTES), repeated=True),
    8: Spec("ints", (VARINT, BYTES), repeated=True),
    9: Spec("strings", repeated=True),
    20: Spec("type", (VARINT,)),
}
VALUE_INFO: Schema = {1: Spec("name"), 2: Spec("type")}
TYPE: Schema = {1: Spec("tensor_type")}
TENSOR_TYPE: Schema = {2: Spec("shape")}
SHAPE: Schema = {1: Spec("dim", repeated=True)}
DIMENSION: Schema = {1: Spec("dim_value", (VARINT,)), 2: Spec("dim_param")}
TENSOR: Schema = {
    1: Spec("dims", (VARINT, BYTES), repeated=True),
    2: Spec("data_type", (VARINT,)),
    3: Spec("segment"),
    4: Spec("float_data", (FIXED32, BYTES), repeated=True),
    5: Spec("int32_data", (VARINT, BYTES), repeated=True),
    6: Spec("string_data", repeated=True),
    7: Spec("int64_data", (VARINT, BYTES), repeated=True),
    8: Spec("name"),
    9: Spec("raw_data"),
    10: Spec("double_data", (FIXED64, BYTES), repeated=True),
    13: Spec("external_data", repeated=True),
    14: Spec("data_location", (VARINT,)),
}


class Parser:
    """Splits messages into their fields and counts them: ``MAX_FIELDS`` is the file's."""

    def __init__(self) -> None:
        self.fields = 0

    def parse(self, view: Value | bytes, schema: Schema, what: str) -> Message:
        """Bytes of a message -> name of a field -> its values, of the fields in the schema.

        Raises:
            ValueError: the message is damaged, a field has a wire type that is not its own or
                comes twice, or the file has too many.
        """
        message: Message = {}
        for number, wire, value in fields(as_bytes(view)):
            self.count(1)
            spec = schema.get(number)
            if spec is None:
                continue
            if wire not in spec.wires:
                raise ValueError(f"{what}: {spec.name} has wire type {wire}, not {spec.wires[0]}")
            if spec.name in message and not spec.repeated:
                raise ValueError(f"{what}: {spec.name} comes twice")
            message.setdefault(spec.name, []).append(value)
        return message

    def count(self, items: int) -> None:
        """Add to the number of fields.

        Raises:
            ValueError: there are more than ``MAX_FIELDS``.
        """
        self.fields += items
        if self.fields > MAX_FIELDS:
            raise ValueError(f"more than {MAX_FIELDS} fields, without the elements of tensors")

    def integers(self, message: Message, name: str) -> tuple[int, ...]:
        """Message, repeated int64 field -> its values, packed or not."""
        found: list[int] = []
        for value in message.get(name, []):
            for piece in varints(value):
                self.count(len(piece))
                found.extend(piece.view(np.int64).tolist())
        return tuple(found)


def as_bytes(value: Value | bytes) -> memoryview:
    """Value -> the same, known to be bytes.

    Raises:
        ValueError: it is a number.
    """
    if isinstance(value, int):
        raise ValueError("expected bytes, found a number")
    return memoryview(value)


def text(message: Message, name: str) -> str:
    """Message, text field -> its value; empty where the field is not there."""
    return decoded(message[name][0]) if name in message else ""


def decoded(value: Value) -> str:
    """Bytes -> text.

    Raises:
        ValueError: they are no UTF-8.
    """
    return str(as_bytes(value), "utf-8")


def integer(message: Message, name: str) -> int:
    """Message, int64 or enum field -> its value; 0 where the field is not there."""
    value = message[name][0] if name in message else 0
    if not isinstance(value, int):
        raise ValueError(f"{name}: expected a number, found bytes")
    return signed64(value)


def varints(value: Value) -> Iterator[NDArray[np.uint64]]:
    r"""Value of a varint field, packed or not -> its numbers, by pieces.

    >>> [piece.tolist() for piece in varints(memoryview(b"\x07\x96\x01"))]
    [[7, 150]]

    Raises:
        ValueError: the last varint is cut off, or one has more than 64 bits.
    """
    if isinstance(value, int):
        yield np.array([value], np.uint64)
        return
    position = 0
    while position < len(value):
        piece = np.frombuffer(value[position : position + PIECE_BYTES], np.uint8)
        ends = np.flatnonzero(piece < 0x80)
        if not len(ends):
            raise ValueError(f"packed numbers: the varint at byte {position} is cut off")
        starts = np.concatenate(([0], ends[:-1] + 1))
        yield _varint_piece(piece, starts, ends - starts + 1)
        position += int(ends[-1]) + 1


def _varint_piece(
    piece: NDArray[np.uint8], starts: NDArray[np.intp], lengths: NDArray[np.intp]
) -> NDArray[np.uint64]:
    longest = int(lengths.max())
    if longest > 10 or np.any(piece[starts[lengths == 10] + 9] > 1):
        raise ValueError("packed numbers: a varint has more than 64 bits")
    numbers = np.zeros(len(starts), np.uint64)
    for k in range(longest):
        long_enough = lengths > k
        bits = (piece[starts[long_enough] + k] & 0x7F).astype(np.uint64)
        numbers[long_enough] |= bits << np.uint64(7 * k)
    return numbers


def fixed(message: Message, name: str, size_bytes: int) -> list[memoryview]:
    """Message, repeated float or double field -> the bytes of its values, packed or not.

    Raises:
        ValueError: packed bytes are no multiple of ``size_bytes``.
    """
    pieces: list[memoryview] = []
    for value in message.get(name, []):
        if isinstance(value, int):
            pieces.append(memoryview(value.to_bytes(size_bytes, "little")))
        elif len(value) % size_bytes:
            raise ValueError(f"{shown(name)} has {len(value)} bytes, for {size_bytes} each")
        else:
            pieces.append(value)
    return pieces
