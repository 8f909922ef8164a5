"""Chunks: the indices that say where the pieces of a dataset lie.

Source: HDF5 File Format Specification 3.0, III.A.1 (trees), IV.A.2.i (layouts), appendix C
(fixed arrays).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

from minimix.hdf5.source import Cursor, RefusedError, Source
from minimix.limits import in_force

MAX_CHUNKS = 1024
"""Of one dataset: as many as an index has in one piece; h5py's own are of 16 KB and more."""

_MAX_DEPTH = 8
_SINGLE, _IMPLICIT, _FIXED_ARRAY = 1, 2, 3
_FILTERED_SINGLE = 2


@dataclass(frozen=True)
class Chunk:
    """A box of an array, which may reach beyond its end, in one piece of the file.

    Attributes:
        start: index of its first element.
        filter_mask: a bit for each filter that was left out.
    """

    start: tuple[int, ...]
    offset: int
    size_bytes: int
    filter_mask: int


def chunks(
    source: Source,
    cursor: Cursor,
    version: int,
    shape: tuple[int, ...],
    itemsize: int,
    is_filtered: bool,
) -> tuple[tuple[int, ...], tuple[Chunk, ...]]:
    """Rest of a layout's message -> the shape of a chunk, and the chunks.

    Raises:
        RefusedError: they are larger than the array, very many, not all there, beyond the file, or
            indexed in a way that only resizable datasets need.
    """
    if version == 3:
        sizes, tree = _old_sizes(cursor)
    else:
        flags, sizes = cursor.number(1), _sizes(cursor)
        kind = cursor.number(1)
    chunk, name = sizes[:-1], cursor.what
    if sizes[-1:] != (itemsize,) or len(chunk) != len(shape):
        raise RefusedError(f"{name}: chunks of {sizes} in an array of {shape}")
    if not all(0 < c <= n for c, n in zip(chunk, shape, strict=True)):
        raise RefusedError(f"{name}: chunks of {chunk} in an array of {shape}")
    count = prod(-(-n // c) for n, c in zip(shape, chunk, strict=True))
    nbytes = prod(sizes)
    most = in_force("MINIMIX_MAX_CHUNKS", MAX_CHUNKS)
    if count > most:
        raise RefusedError(
            f"{name}: {count} chunks; at most {most} are read. Rewrite it: h5repack -l CONTI; or, "
            "if you trust it, raise MINIMIX_MAX_CHUNKS"
        )
    starts = list(product(*(range(0, n, c) for n, c in zip(shape, chunk, strict=True))))
    if version == 3:
        found = list(_tree(source, tree, len(shape), count, name))
    elif kind == _SINGLE and count == 1:
        size = cursor.number(8) if flags & _FILTERED_SINGLE else nbytes
        mask = cursor.number(4) if flags & _FILTERED_SINGLE else 0
        found = [Chunk(starts[0], cursor.number(8), size, mask)]
    elif kind == _IMPLICIT and not is_filtered:
        first = cursor.number(8)
        found = [Chunk(start, first + n * nbytes, nbytes, 0) for n, start in enumerate(starts)]
    elif kind == _FIXED_ARRAY:
        cursor.take(1)
        found = list(_fixed_array(source, cursor.number(8), starts, nbytes, is_filtered, name))
    else:
        raise RefusedError(f"{name}: an index of kind {kind}; expected that of a fixed size")
    if sorted(piece.start for piece in found) != starts:
        raise RefusedError(f"{name}: not all of its {count} chunks are in the file")
    if any(piece.offset + piece.size_bytes > source.size_bytes for piece in found):
        raise RefusedError(f"{name}: a chunk reaches beyond the end of the file")
    return chunk, tuple(found)


def _old_sizes(cursor: Cursor) -> tuple[tuple[int, ...], int]:
    rank, address = cursor.number(1), cursor.number(8)
    return tuple(cursor.number(4) for _ in range(rank)), address


def _sizes(cursor: Cursor) -> tuple[int, ...]:
    rank, width = cursor.number(1), cursor.number(1)
    return tuple(cursor.number(width) for _ in range(rank))


def _tree(
    source: Source, address: int, rank: int, most: int, name: str, depth: int = 0
) -> Iterator[Chunk]:
    if depth > _MAX_DEPTH:
        raise RefusedError(f"{name}: chunks are nested too deeply")
    cursor = source.once(address, 24, f"{name}: chunks")
    cursor.expect(b"TREE\x01", "signature")
    level, count = cursor.number(1), cursor.number(2)
    if count > most:
        raise RefusedError(f"{name}: more than {most} chunks")
    key = 8 + 8 * (rank + 1)
    cursor = Cursor(source.read(address + 24, count * (key + 8), name), name)
    for _ in range(count):
        size, mask = cursor.number(4), cursor.number(4)
        start = tuple(cursor.number(8) for _ in range(rank + 1))[:-1]
        child = cursor.number(8)
        if level:
            yield from _tree(source, child, rank, most, name, depth + 1)
        else:
            yield Chunk(start, child, size, mask)


def _fixed_array(
    source: Source,
    address: int,
    starts: list[tuple[int, ...]],
    nbytes: int,
    is_filtered: bool,
    name: str,
) -> Iterator[Chunk]:
    cursor = source.once(address, 24, f"{name}: chunks")
    cursor.expect(b"FAHD\0" + bytes([is_filtered]), "signature")
    entry, bits = cursor.number(1), cursor.number(1)
    count, block = cursor.number(8), cursor.number(8)
    is_known = 13 <= entry <= 20 if is_filtered else entry == 8
    if count != len(starts) or count > 1 << min(bits, 63) or not is_known:
        raise RefusedError(f"{name}: {count} chunks of {entry} bytes in pages of 2**{bits}")
    cursor = source.once(block, 14 + entry * count, f"{name}: chunks")
    cursor.expect(b"FADB\0" + bytes([is_filtered]), "signature")
    cursor.take(8)
    for start in starts:
        place = cursor.number(8)
        size = cursor.number(entry - 12) if is_filtered else nbytes
        yield Chunk(start, place, size, cursor.number(4) if is_filtered else 0)
