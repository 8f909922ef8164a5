"""A TensorFlow bundle's index -> where each tensor lies: what a table's entries mean.

The entry with the empty key is a BundleHeaderProto, each other one a BundleEntryProto under the
tensor's name.  Source: ``tensorflow/core/protobuf/tensor_bundle.proto`` and the messages and
enumerations that it uses, from ``tensorflow/core/framework``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from minimix.limits import in_force
from weights_tools.readers.checkpoint import checked_name, checked_sizes, element_count, shown
from weights_tools.readers.protobuf import (
    BYTES,
    FIXED32,
    Bytes,
    Field,
    bytes_value,
    fields,
    int_value,
    signed64,
)
from weights_tools.readers.scalars import SCALARS
from weights_tools.readers.sorted_table import read_table

MAX_ENTRIES = 20_000
"""The most tensors accepted; mixnet-l has 843, its optimizer's state included about 1,700."""

FORMAT_VERSION = 1

SCALAR_TYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    19: "float16",
}
"""TensorFlow's DataType -> our element type."""

STRING, RESOURCE, VARIANT = 7, 20, 21
_OTHER_TYPES = {
    STRING: "string",
    8: "complex64",
    11: "qint8",
    12: "quint8",
    13: "qint32",
    15: "qint16",
    16: "quint16",
    17: "uint16",
    18: "complex128",
    RESOURCE: "resource",
    VARIANT: "variant",
    22: "uint32",
    23: "uint64",
}


class Unsupported(ValueError):
    """The bundle is intact, but of a kind that is not read; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor: its bytes are ``offset`` to ``end`` of the shard.

    Attributes:
        data_type: the number that TensorFlow gives the element type, see ``type_name``.
        checksum: the masked CRC-32C of the bytes.
    """

    name: str
    data_type: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size_bytes: int
    checksum: int

    @property
    def end(self) -> int:
        """Position after the last byte."""
        return self.offset + self.size_bytes

    @property
    def type_name(self) -> str:
        """Element type by name."""
        known = SCALAR_TYPES.get(self.data_type) or _OTHER_TYPES.get(self.data_type)
        return known or f"type {self.data_type}"


@dataclass(frozen=True)
class Index:
    """What the index of a bundle says.

    Attributes:
        producer: the version of the format that the writer states.
        entries: all tensors, ascending by name; none shares bytes with another.
    """

    num_shards: int
    producer: int
    entries: tuple[Entry, ...]

    def shard_ends(self) -> dict[int, int]:
        """Shards that hold tensors -> where the last one ends: how much of each is needed."""
        ends: dict[int, int] = {}
        for entry in self.entries:
            ends[entry.shard] = max(ends.get(entry.shard, 0), entry.end)
        return ends


def read_index(data: Bytes) -> Index:
    """Content of an index file -> what it says, every checksum in it compared.

    Raises:
        Unsupported: the bundle is big-endian, of a newer format, or has tensors in slices.
        ValueError: the file is damaged, or is another table.
    """
    table = read_table(data)
    key, value = next(table, (b"-", memoryview(b"")))
    if key:
        raise ValueError("the table does not begin with a bundle's header, the empty key")
    num_shards, producer = _header(value)
    entries: list[Entry] = []
    most = in_force("MINIMIX_MAX_TENSORS", MAX_ENTRIES)
    for key, value in table:
        if len(entries) == most:
            raise ValueError(f"more than {most} tensors (MINIMIX_MAX_TENSORS)")
        # A name that is no text has to be kept for the message; checked_name refuses it.
        entries.append(_entry(key.decode("utf-8", "surrogateescape"), value, num_shards))
    # After the loop: the parts of sliced tensors stand before these, under names of no text.
    for entry in entries:
        if entry.data_type in SCALAR_TYPES:
            _check_readable(entry)
    _check_apart(entries)
    return Index(num_shards, producer, tuple(entries))


def _singles(data: Bytes, what: str, repeated: int = 0) -> tuple[dict[int, Field], list[Field]]:
    """Message -> its fields by number, and those of the one number that may come repeatedly."""
    singles: dict[int, Field] = {}
    others: list[Field] = []
    try:
        for field in fields(data):
            if field[0] == repeated:
                others.append(field)
            elif field[0] in singles:
                raise ValueError(f"field {field[0]} comes twice")
            else:
                singles[field[0]] = field
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error
    return singles, others


def _header(data: Bytes) -> tuple[int, int]:
    """Header -> number of shards, version of the format."""
    singles, _ = _singles(data, "header")
    if 1 in singles and singles[1][1] == BYTES:
        raise Unsupported(
            "this is a checkpoint of TensorFlow's first format (V1), which is not read. Load it "
            "in TensorFlow and save it with tf.compat.v1.train.Saver, whose default is V2"
        )
    num_shards = signed64(_number(singles, 1, "header: num_shards"))
    if not 0 < num_shards < 2**31:
        raise ValueError(f"header: {num_shards} shards")
    endianness = _number(singles, 2, "header: endianness")
    if endianness != 0:
        raise Unsupported(
            f"the bundle has byte order {endianness}, 0 is little-endian, 1 is big-endian. Load it "
            "in TensorFlow on a machine of its byte order and save it as safetensors"
        )
    version, _ = _singles(_message(singles, 3, "header: version"), "header: version", repeated=3)
    oldest_reader = _number(version, 2, "header: min_consumer")
    if oldest_reader > FORMAT_VERSION:
        raise Unsupported(
            f"the bundle needs a reader of version {oldest_reader}; this one is of {FORMAT_VERSION}"
        )
    return num_shards, _number(version, 1, "header: producer")


def _number(singles: dict[int, Field], number: int, what: str) -> int:
    return int_value(singles[number], what) if number in singles else 0


def _message(singles: dict[int, Field], number: int, what: str) -> Bytes:
    return bytes_value(singles[number], what) if number in singles else b""


def _entry(name: str, data: Bytes, num_shards: int) -> Entry:
    what = shown(name)
    singles, slices = _singles(data, what, repeated=7)
    if slices:
        raise Unsupported(
            f"{what} was saved in slices, as partitioned variables are, which is not read. Load it "
            "in TensorFlow without a partitioner and save it again"
        )
    checksum = int_value(singles[6], f"{what}: checksum", FIXED32) if 6 in singles else 0
    entry = Entry(
        name=name,
        data_type=_number(singles, 1, f"{what}: type"),
        shape=_shape(_message(singles, 2, f"{what}: shape"), what),
        shard=signed64(_number(singles, 3, f"{what}: shard")),
        offset=signed64(_number(singles, 4, f"{what}: offset")),
        size_bytes=signed64(_number(singles, 5, f"{what}: size")),
        checksum=checksum,
    )
    if not 0 <= entry.shard < num_shards or entry.offset < 0 or entry.size_bytes < 0:
        raise ValueError(
            f"{what} lies in shard {entry.shard} of {num_shards} at byte {entry.offset} with "
            f"{entry.size_bytes} bytes"
        )
    return entry


def _shape(data: Bytes, what: str) -> tuple[int, ...]:
    singles, dims = _singles(data, f"{what}: shape", repeated=2)
    if _number(singles, 3, f"{what}: unknown_rank"):
        raise ValueError(f"{what} has no known rank")
    return checked_sizes(list(_sizes(dims, what)), f"{what}: shape")


def _sizes(dims: list[Field], what: str) -> Iterator[int]:
    for dim in dims:
        singles, _ = _singles(bytes_value(dim, f"{what}: shape"), f"{what}: shape")
        yield signed64(_number(singles, 1, f"{what}: shape"))


def _check_readable(entry: Entry) -> None:
    """Compare a tensor's shape with its size."""
    checked_name(entry.name)
    needed = element_count(entry.shape) * SCALARS[SCALAR_TYPES[entry.data_type]].itemsize
    if needed != entry.size_bytes:
        raise ValueError(
            f"{shown(entry.name)} of shape {entry.shape} and {entry.type_name} needs {needed} "
            f"bytes, the index gives it {entry.size_bytes}"
        )


def _check_apart(entries: list[Entry]) -> None:
    """Refuse tensors that share bytes: a small file could otherwise state very many large ones."""
    placed = sorted(
        (entry.shard, entry.offset, entry.end, entry.name) for entry in entries if entry.size_bytes
    )
    for before, after in zip(placed, placed[1:], strict=False):
        if before[0] == after[0] and before[2] > after[1]:
            raise ValueError(f"{shown(before[3])} and {shown(after[3])} share bytes")
