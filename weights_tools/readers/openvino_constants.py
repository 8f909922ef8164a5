"""The constants of an OpenVINO IR: from what a layer declares and the ``.bin`` to arrays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from weights_tools.readers.checkpoint import (
    Array,
    Tensors,
    checked_sizes,
    element_count,
    shown,
)
from weights_tools.readers.scalars import SCALARS, owned
from weights_tools.readers.source import Source, open_source
from weights_tools.readers.xml_net import Layer

ELEMENT_TYPES = {
    "f64": "float64",
    "f32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    "i64": "int64",
    "i32": "int32",
    "i16": "int16",
    "i8": "int8",
    "u8": "uint8",
    "boolean": "bool",
}
"""OpenVINO's name of each element type -> ours."""


@dataclass(frozen=True)
class Constant:
    """What a layer says of its constant: element type, shape, and its bytes in the ``.bin``."""

    scalar: str
    shape: tuple[int, ...]
    start: int
    size_bytes: int


def declared(layer: Layer) -> Constant:
    """Const layer -> its constant.

    Raises:
        ValueError: the element type is unknown, or the bytes are not as many as the shape needs.
    """
    try:
        missing = [
            key for key in ("element_type", "shape", "offset", "size") if key not in layer.data
        ]
        if missing:
            raise ValueError(f"says nothing of {', '.join(missing)}")
        element_type = layer.data["element_type"]
        if element_type not in ELEMENT_TYPES:
            raise ValueError(
                f"has element type {shown(element_type)}; readable are {', '.join(ELEMENT_TYPES)}"
            )
        scalar = ELEMENT_TYPES[element_type]
        shape = parse_shape(layer.data["shape"])
        start, size = (_number(layer.data[key], key) for key in ("offset", "size"))
        needed = element_count(shape) * SCALARS[scalar].itemsize
        if needed != size:
            raise ValueError(
                f"of shape {shape} and {element_type} needs {needed} bytes, not {size}"
            )
    except ValueError as error:
        raise ValueError(f"constant {shown(layer.name)} {error}") from error
    return Constant(scalar, shape, start, size)


def parse_shape(text: str) -> tuple[int, ...]:
    """Text -> sizes; a scalar's is empty.

    >>> parse_shape("1, 3,1,1"), parse_shape("")
    ((1, 3, 1, 1), ())

    Raises:
        ValueError: it is no list of sizes that an array can have.
    """
    parts = text.split(",", 64) if text.strip() else []
    return checked_sizes([_number(part.strip(), "a size") for part in parts], "shape")


def _number(text: str, what: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError(f"has {shown(text)} as {what}; expected a number")
    return int(text)


def open_weights(source: Source) -> Source:
    """The IR's open ``.xml`` -> the open ``.bin`` beside it.

    Raises:
        WeightsError: there is none, or it cannot be read.
    """
    path = source.path.with_suffix(".bin")
    if path == source.path:
        raise source.fail("is the XML of an OpenVINO IR; rename it to .xml, its constants to .bin")
    if not path.exists():
        raise source.fail(
            f"the constants of this OpenVINO IR are in {path.name}; there is none beside it. "
            "Put it into the same folder"
        )
    return open_source(path)


def read_constants(constants: Mapping[str, Constant], weights: Source | None) -> Tensors:
    """Constants by value name -> arrays; those of the same bytes and type share them.

    Args:
        constants: as the layers declare them.
        weights: the open ``.bin``; None where no constant has any bytes.

    Raises:
        ValueError: a constant reaches outside of the file, or two share bytes in part.
    """
    _check_spans(constants, weights.size_bytes if weights else 0)
    flat: dict[tuple[int, str], Array] = {}
    tensors: Tensors = {}
    for name, constant in constants.items():
        dtype = SCALARS[constant.scalar]
        key = (constant.start if constant.size_bytes else -1, constant.scalar)
        if key not in flat:
            count = constant.size_bytes // dtype.itemsize
            data = weights.data if weights and count else b""
            start = constant.start if count else 0
            flat[key] = owned(np.frombuffer(data, dtype, count, start), constant.scalar)
        tensors[name] = flat[key].reshape(constant.shape)
    return tensors


def _check_spans(constants: Mapping[str, Constant], size_bytes: int) -> None:
    """OpenVINO stores equal bytes once; other overlaps would let a small file fill the memory."""
    spans = sorted({(c.start, c.size_bytes): name for name, c in constants.items()}.items())
    end, before = 0, ""
    for (start, size), name in spans:
        if start + size > size_bytes:
            raise ValueError(
                f"constant {shown(name)} lies at bytes {start}..{start + size} of the .bin, which "
                f"has {size_bytes}: it is cut off, or of another model"
            )
        if size and start < end:
            raise ValueError(f"constants {shown(before)} and {shown(name)} share bytes in part")
        if size:
            end, before = start + size, name
