"""CRC-32C, the checksum of TensorFlow's tables and tensors, and the mask that they store it in."""

from __future__ import annotations

import google_crc32c

from weights_tools.readers.protobuf import Bytes

_PIECE_BYTES = 2**20
_MASK_DELTA = 0xA282EAD8


def crc32c(data: Bytes, before: int = 0) -> int:
    """Bytes -> their CRC-32C, going on from ``before``, the checksum of what comes before them.

    >>> f"{crc32c(b'123456789'):08x}"
    'e3069283'
    >>> crc32c(b"6789", crc32c(b"12345")) == crc32c(b"123456789")
    True
    """
    value = before
    # The package takes bytes only; in pieces, so that the copy of a large tensor stays small.
    for start in range(0, len(data), _PIECE_BYTES):
        value = google_crc32c.extend(value, bytes(data[start : start + _PIECE_BYTES]))
    return value


def masked(crc: int) -> int:
    """CRC-32C -> what the files store: turned right by 15 bits, plus a constant.

    A checksum of bytes that hold their own checksum would say little.  Source: leveldb's
    ``util/crc32c.h``.

    >>> f"{masked(crc32c(b'123456789')):08x}"
    'c78ab0e5'
    """
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF
