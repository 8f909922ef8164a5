"""Attributes: whole numbers and texts of fixed length.

Source: HDF5 File Format Specification 3.0, IV.A.2.m (attributes), IV.A.2.d (types).
"""

from __future__ import annotations

from minimix.hdf5.source import Cursor, RefusedError, text_of

Value = int | bytes | None

MAX_VALUE_BYTES = 64
_SCALARS = (b"\x01\x00", b"\x02\x00\x00\x00")
_INTEGER, _TEXT = 0, 3


def attribute(body: bytes, what: str) -> tuple[str, Value]:
    """Body of an attribute's message -> name and value; None where that is of another type.

    Raises:
        RefusedError: it is damaged.
    """
    cursor = Cursor(body, f"{what}: attribute")
    version, flags = cursor.number(1), cursor.number(1)
    if version not in (1, 2, 3) or (flags and version > 1):
        raise RefusedError(f"{cursor.what}: version {version} with flags {flags}")
    sizes = [cursor.number(2) for _ in range(3)]
    cursor.take(1 if version == 3 else 0)
    name, type_, space = (
        cursor.take(-(-size // 8) * 8 if version == 1 else size)[:size] for size in sizes
    )
    value = _value(type_, cursor) if space.startswith(_SCALARS) else None
    return text_of(name.rstrip(b"\0")), value


def _value(type_: bytes, cursor: Cursor) -> Value:
    if len(type_) < 8:
        raise RefusedError(f"{cursor.what}: its type is cut off")
    kind, size = type_[0] & 15, int.from_bytes(type_[4:8], "little")
    if kind not in (_INTEGER, _TEXT) or size > (MAX_VALUE_BYTES if kind == _TEXT else 8):
        return None
    data = cursor.take(size)
    if kind == _TEXT:
        return data.rstrip(b"\0 ")
    is_big, is_signed = type_[1] & 1, bool(type_[1] & 8)
    return int.from_bytes(data, "big" if is_big else "little", signed=is_signed)
