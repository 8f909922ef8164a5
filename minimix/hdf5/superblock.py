"""The first bytes of an HDF5 file, as h5py writes them, and nothing that they could ask for.

Source: HDF5 File Format Specification 3.0, II.A: superblocks of versions 0, 2 and 3.
"""

from __future__ import annotations

import struct

from minimix.hdf5.source import UNDEFINED, RefusedError, Source

SIGNATURE = b"\x89HDF\r\n\x1a\n"

_OLD = struct.Struct("<8s 4B 4B 2H I 4Q 2Q")
"""Version 0: three more versions, widths, ranks, flags, addresses, the root's entry in a group."""

_NEW = struct.Struct("<8s 4B 4Q I")
"""Versions 2 and 3: widths, flags, addresses and a checksum."""


def root_address(source: Source) -> int:
    """Where the root group begins.

    Raises:
        RefusedError: the file has a user block, an extension (shared messages, cached metadata,
            file space), several parts, addresses of other widths than 8 bytes, or is cut off.
    """
    start = source.read(0, _OLD.size, "superblock", at_most=True)
    version = start[8] if len(start) > 8 else -1
    layout = {0: _OLD, 2: _NEW, 3: _NEW}.get(version)
    if layout is None:
        raise RefusedError(f"superblock: version {version}; expected 0, 2 or 3")
    if len(start) < layout.size:
        raise RefusedError("superblock: cut off")
    fields = layout.unpack(start[: layout.size])
    if layout is _OLD:
        widths, (base, extra, end, other), root = fields[6:8], fields[12:16], fields[17]
    else:
        widths, (base, extra, end, root), other = fields[2:4], fields[5:9], UNDEFINED
    if widths != (8, 8):
        raise RefusedError(f"superblock: addresses and lengths of {widths} bytes; expected 8")
    if base != 0:
        raise RefusedError(f"superblock: a user block of {base} bytes; expected none")
    if (extra, other) != (UNDEFINED, UNDEFINED):
        raise RefusedError("superblock: has an extension, a table of free space or a driver")
    if end > source.size_bytes:
        raise RefusedError(f"cut off: {source.size_bytes} of {end} bytes")
    return int(root)
