"""The safetensors format: the length of a JSON header, the header, the elements in its order.

Read by hand, in place of the package of that name: its NumPy loader has no bfloat16, and takes
the last of two equal names.  Format: the "Format" section of the safetensors README.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from minimix.limits import in_force
from weights_tools.readers.checkpoint import (
    Contents,
    Tensors,
    checked_name,
    checked_sizes,
    element_count,
    shown,
)
from weights_tools.readers.scalars import SCALARS, owned
from weights_tools.readers.source import Source

MAX_HEADER_BYTES = 2 * 2**20
"""The longest JSON header accepted; that of mixnet-m has 44 thousand."""

METADATA_KEY = "__metadata__"
DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
"""The format's name of each element type -> ours."""

_LENGTH = struct.Struct("<Q")
_ADVICE = "The file is damaged: download it again and compare its sha256"


def is_safetensors(source: Source) -> bool:
    """Whether the file starts with a believable length and the brace of a JSON object."""
    return source.data[8:9] == b"{" and _header_bytes(source) < 2**32


def read_safetensors(source: Source) -> Contents:
    """Open safetensors file -> tensors, in the order of their data, and its metadata.

    Raises:
        WeightsError: the header is damaged, or does not describe the data byte for byte.
    """
    try:
        header = _header(source)
        metadata = _metadata(header.pop(METADATA_KEY, {}))
        return Contents(_tensors(source, header), metadata)
    except (ValueError, RecursionError) as error:
        raise source.fail(f"safetensors: {error}. {_ADVICE}") from error


def _header_bytes(source: Source) -> int:
    (length,) = _LENGTH.unpack(source.data[: _LENGTH.size])
    return int(length)


def _header(source: Source) -> dict[str, Any]:
    length = _header_bytes(source)
    end = _LENGTH.size + length
    most = in_force("MINIMIX_MAX_HEADER_BYTES", MAX_HEADER_BYTES)
    if length > most or end > source.size_bytes:
        raise ValueError(
            f"a header of {length} bytes in a file of {source.size_bytes}; accepted are {most} "
            "(MINIMIX_MAX_HEADER_BYTES)"
        )
    text = source.data[_LENGTH.size : end].decode("utf-8")
    header = json.loads(text, object_pairs_hook=_unique)
    if not isinstance(header, dict):
        raise ValueError("the header is no JSON object")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON object -> dict, refusing a key that comes twice: readers differ in which one counts."""
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the name {shown(key)} comes twice in the header")
        result[key] = value
    return result


def _metadata(fields: Any) -> dict[str, str]:
    if not isinstance(fields, dict) or not all(isinstance(v, str) for v in fields.values()):
        raise ValueError(f"{METADATA_KEY} is not a map of text to text")
    return fields


def _tensors(source: Source, header: dict[str, Any]) -> Tensors:
    """Walk the entries in the order of their data, which must fill the file without a gap."""
    data_start = position = _LENGTH.size + _header_bytes(source)
    entries = sorted(
        (_entry(name, fields) for name, fields in header.items()), key=lambda entry: entry[3:]
    )
    tensors: Tensors = {}
    for name, scalar, shape, begin, end in entries:
        dtype = SCALARS[scalar]
        if data_start + begin != position or data_start + end > source.size_bytes:
            raise ValueError(
                f"{shown(name)} lies at bytes {begin}..{end} of the data; expected it to begin "
                f"at {position - data_start}, where the one before ends, and to end within "
                f"{source.size_bytes - data_start}"
            )
        count = element_count(shape)
        if count * dtype.itemsize != end - begin:
            raise ValueError(
                f"{shown(name)} of shape {shape} needs {count * dtype.itemsize} bytes, the "
                f"header gives it {end - begin}"
            )
        if count:
            bits = np.frombuffer(source.data, dtype, count, position).reshape(shape)
        else:
            bits = np.zeros(shape, dtype)
        tensors[name] = owned(bits, scalar)
        position = data_start + end
    if position != source.size_bytes:
        raise ValueError(f"{source.size_bytes - position} bytes follow the last tensor")
    return tensors


def _entry(name: str, fields: Any) -> tuple[str, str, tuple[int, ...], int, int]:
    """Header entry -> name, element type, shape, begin and end within the data, in bytes."""
    if not isinstance(fields, dict) or set(fields) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{shown(name)}: expected dtype, shape and data_offsets")
    dtype, offsets = fields["dtype"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(
            f"{shown(name)} has element type {shown(dtype)}; known: {', '.join(DTYPES)}"
        )
    if len(checked_sizes(offsets, f"{shown(name)}: data_offsets")) != 2:
        raise ValueError(f"{shown(name)}: expected two data_offsets")
    return (
        checked_name(name),
        DTYPES[dtype],
        checked_sizes(fields["shape"], f"{shown(name)}: shape"),
        *offsets,
    )
