"""The TensorFlow bundle (``tf.train.Checkpoint``, ``Saver`` V2): an index and its shards.

    PREFIX.index                 a sorted table: name -> type, shape, shard, offset, checksum
    PREFIX.data-00000-of-00001   the tensors' bytes, little-endian, in C order

Every checksum is compared.  Source: ``tensorflow/core/util/tensor_bundle``.
"""

from __future__ import annotations

import hashlib
import stat
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from weights_tools.readers.checkpoint import Array, Contents, Tensors, element_count, shown
from weights_tools.readers.crc32c import crc32c, masked
from weights_tools.readers.protobuf import read_varint
from weights_tools.readers.scalars import SCALARS, owned
from weights_tools.readers.sorted_table import FOOTER_BYTES, MAGIC, ends_a_table
from weights_tools.readers.source import Source
from weights_tools.readers.tensorflow_index import (
    RESOURCE,
    SCALAR_TYPES,
    STRING,
    VARIANT,
    Entry,
    Index,
    Unsupported,
    read_index,
)
from weights_tools.readers.tensorflow_names import INDEX_SUFFIX, listed, shard_name

ADVICE = "The file is damaged: download it again and compare its sha256"

_HASHED_BYTES = 2**20
# What these store is no plain array of elements; nothing here knows what their checksum covers.
_UNCHECKED = (RESOURCE, VARIANT)
# Types whose stored bits are the values; the others are worked on, and so copied.
_VIEWABLE = {"float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8"}


def is_bundle_index(source: Source) -> bool:
    """Whether the file ends as a sorted table does."""
    return source.size_bytes >= FOOTER_BYTES and ends_a_table(source.data[-len(MAGIC) :])


def read_bundle_index(source: Source) -> Contents:
    """Open index of a bundle -> its tensors, from the shards beside it.

    Raises:
        WeightsError: index or shards are damaged or missing, or of a kind that is not read.
    """
    try:
        index = read_index(memoryview(source.data))
        shards, parts = _read_shards(source.path, index)
        return Contents(to_tensors(index, shards), describe(index), parts=parts)
    except Unsupported as error:
        raise source.fail(f"TensorFlow bundle: {error}") from error
    except ValueError as error:
        raise source.fail(f"TensorFlow bundle: {error}. {ADVICE}") from error


def describe(index: Index) -> dict[str, str]:
    """Index -> what is worth knowing of it beside its tensors: metadata of a checkpoint."""
    left_out = [entry for entry in index.entries if entry.data_type not in SCALAR_TYPES]
    facts = {"num_shards": str(index.num_shards), "producer": str(index.producer)}
    if left_out:
        types = sorted({entry.type_name for entry in left_out})
        names = listed([entry.name for entry in left_out])
        facts["left_out"] = f"{len(left_out)} of type {', '.join(types)}: {names}"
    return facts


def to_tensors(index: Index, shards: Mapping[int, bytes | bytearray]) -> Tensors:
    """Index, shards as far as they are needed -> the arrays, in the index's order.

    They are views of the shards where these hold the values as NumPy needs them.

    Raises:
        ValueError: a checksum differs.
    """
    tensors: Tensors = {}
    for entry in index.entries:
        view = memoryview(shards[entry.shard]).toreadonly()
        _check(entry, view[entry.offset : entry.end])
        if entry.data_type in SCALAR_TYPES:
            tensors[entry.name] = _array(entry, view)
    return tensors


def _array(entry: Entry, view: memoryview) -> Array:
    scalar = SCALAR_TYPES[entry.data_type]
    dtype = SCALARS[scalar]
    if entry.size_bytes == 0:
        return owned(np.zeros(entry.shape, dtype), scalar)
    bits: Array = np.frombuffer(view, dtype, element_count(entry.shape), entry.offset)
    bits = bits.reshape(entry.shape)
    viewable = scalar in _VIEWABLE and bits.flags.aligned and sys.byteorder == "little"
    return bits if viewable else owned(bits, scalar)


def _check(entry: Entry, stored: memoryview) -> None:
    """Compare the checksum of a tensor's bytes."""
    if entry.data_type in _UNCHECKED:
        return
    crc = _crc_of_strings(entry, stored) if entry.data_type == STRING else crc32c(stored)
    if masked(crc) != entry.checksum:
        raise ValueError(
            f"{shown(entry.name)} has the masked CRC-32C {masked(crc):08x}, the index says "
            f"{entry.checksum:08x}"
        )


def _crc_of_strings(entry: Entry, stored: memoryview) -> int:
    """Return the checksum of strings, which are stored as

    length of each as a varint | masked CRC-32C of the lengths | the strings

    and which counts each length as 4 bytes, or as 8 from 2^32 on, whatever its varint takes.
    """
    crc, position, text_bytes = 0, 0, 0
    for _ in range(element_count(entry.shape)):
        length, position = read_varint(stored, position)
        crc = crc32c(struct.pack("<I" if length < 2**32 else "<Q", length), crc)
        text_bytes += length
    text_at = position + 4
    if text_at + text_bytes != len(stored) or stored[position:text_at] != struct.pack(
        "<I", masked(crc)
    ):
        raise ValueError(f"{shown(entry.name)}: the lengths of its strings do not fit")
    return crc32c(stored[position:], crc)


def _read_shards(path: Path, index: Index) -> tuple[dict[int, bytes], dict[str, str]]:
    """Return the bytes of the shards, as far as they are needed, and each whole file's SHA-256."""
    if path.suffix != INDEX_SUFFIX:
        raise Unsupported(
            f"the shards are found by the index's name; expected it to end in {INDEX_SUFFIX}. "
            "Give all files of the bundle the names that they had"
        )
    shards: dict[int, bytes] = {}
    parts: dict[str, str] = {}
    for shard, end in sorted(index.shard_ends().items()):
        name = shard_name(path.stem, shard, index.num_shards)
        try:
            shards[shard], parts[name] = _read_shard(path.with_name(name), end)
        except FileNotFoundError as error:
            raise Unsupported(f"there is no {name} beside it. Fetch all of its files") from error
        except OSError as error:
            raise Unsupported(f"{name} cannot be read: {error}. Check its permissions") from error
    return shards, parts


def _read_shard(path: Path, end: int) -> tuple[bytes, str]:
    """Return the first ``end`` bytes of a file, and the SHA-256 of all."""
    status = path.stat()
    # A pipe would block on open.
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path.name} is no regular file")
    with path.open("rb") as file:
        # The index may state any length: only what the file has is asked for.
        data = file.read(min(end, status.st_size))
        if len(data) < end:
            raise ValueError(
                f"{path.name} has {len(data)} bytes; the index places tensors up to {end}"
            )
        digest = hashlib.sha256(data)
        while piece := file.read(_HASHED_BYTES):
            digest.update(piece)
    return data, digest.hexdigest()
