"""Element types as files name and store them, and how each becomes a NumPy array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from weights_tools.readers.checkpoint import Array

SCALARS: dict[str, np.dtype[np.generic]] = {
    "float64": np.dtype("<f8"),
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    # NumPy has no bfloat16: it is the upper half of a float32, so its bits are read as uint16.
    "bfloat16": np.dtype("<u2"),
    "int64": np.dtype("<i8"),
    "int32": np.dtype("<i4"),
    "int16": np.dtype("<i2"),
    "int8": np.dtype("i1"),
    "uint8": np.dtype("u1"),
    # Read as bytes: a bool array over any byte but 0 and 1 is undefined in NumPy.
    "bool": np.dtype("u1"),
}
"""Element type -> the little-endian dtype of its stored bits."""


def owned(bits: Array, scalar: str) -> Array:
    """(...) stored bits -> (...) values: a read-only, C-contiguous, native-order copy.

    bfloat16 becomes float32, which holds each of its values exactly; no other type changes.

    >>> owned(np.array([0x3F80, 0xC000], "<u2"), "bfloat16")
    array([ 1., -2.], dtype=float32)
    """
    values: Array
    if scalar == "bfloat16":
        wide: NDArray[np.uint32] = bits.astype(np.uint32, order="C")
        wide <<= np.uint32(16)
        values = wide.view(np.float32)
    elif scalar == "bool":
        values = bits.astype(np.bool_, order="C")
    else:
        values = bits.astype(bits.dtype.newbyteorder("="), order="C")
    values.flags.writeable = False
    return values
