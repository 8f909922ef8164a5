"""Small pictures as PNG, for pages that hold their own: colours with transparency, nothing more."""

from __future__ import annotations

import base64
import zlib

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EIGHT_BITS, _RGBA = 8, 6


def encode(rgba: NDArray[np.uint8]) -> bytes:
    """(H, W, 4) uint8 -> a PNG file.

    Source: W3C, "Portable Network Graphics (PNG) Specification (Third Edition)", section 11.

    >>> encode(np.zeros((1, 2, 4), np.uint8))[1:4]
    b'PNG'
    """
    H, W, _ = rgba.shape
    header = W.to_bytes(4, "big") + H.to_bytes(4, "big") + bytes([_EIGHT_BITS, _RGBA, 0, 0, 0])
    # Every line begins with the number of its filter; 0 is none.
    lines = np.zeros((H, 1 + 4 * W), np.uint8)
    lines[:, 1:] = rgba.reshape(H, 4 * W)
    body = _chunk(b"IDAT", zlib.compress(lines.tobytes(), 9))
    return _SIGNATURE + _chunk(b"IHDR", header) + body + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return len(content).to_bytes(4, "big") + kind + content + check.to_bytes(4, "big")


def data_uri(rgba: NDArray[np.uint8]) -> str:
    """(H, W, 4) uint8 -> a PNG as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(encode(rgba)).decode("ascii")
