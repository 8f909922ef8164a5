"""The structures of HDF5 files that are refused one by one, given as bytes."""

from __future__ import annotations

import io
import struct

import pytest

from minimix.hdf5.chunks import Chunk, chunks
from minimix.hdf5.dense import heap_objects
from minimix.hdf5.groups import _old_links
from minimix.hdf5.source import Cursor, RefusedError, Source

UNDEFINED = 2**64 - 1
SHAPE = (4, 6)


def source_of(data: bytes) -> Source:
    return Source(io.BytesIO(data), len(data))


def new_layout(sizes, kind, rest=b"", flags=0):
    """The rest of a layout's message, version 4."""
    numbers = b"".join(struct.pack("<L", n) for n in sizes)
    return bytes([flags, len(sizes), 4]) + numbers + bytes([kind]) + rest


def chunks_of(message, data=bytes(1000), shape=SHAPE, version=4, is_filtered=False):
    return chunks(source_of(data), Cursor(message, "x"), version, shape, 4, is_filtered)


def test_chunks_that_lie_in_a_row_need_no_index():
    found = chunks_of(new_layout((2, 6, 4), 2, struct.pack("<Q", 100)))
    assert found == ((2, 6), (Chunk((0, 0), 100, 48, 0), Chunk((2, 0), 148, 48, 0)))


def test_a_single_chunk_says_where_it_is_and_how_long_where_it_is_filtered():
    plain = new_layout((4, 6, 4), 1, struct.pack("<Q", 8))
    assert chunks_of(plain) == (SHAPE, (Chunk((0, 0), 8, 96, 0),))
    filtered = new_layout((4, 6, 4), 1, struct.pack("<QLQ", 30, 1, 8), flags=2)
    assert chunks_of(filtered, is_filtered=True) == (SHAPE, (Chunk((0, 0), 8, 30, 1),))


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (new_layout((2, 4), 2), r"x: chunks of \(2, 4\) in an array"),
        (new_layout((2, 6, 8), 2), r"x: chunks of \(2, 6, 8\) in an array"),
        (new_layout((2, 7, 4), 2), r"x: chunks of \(2, 7\) in an array of \(4, 6\)"),
        (new_layout((0, 6, 4), 2), r"x: chunks of \(0, 6\) in an array"),
        (new_layout((2, 6, 4), 1, bytes(8)), "x: an index of kind 1"),
        (new_layout((2, 6, 4), 4, bytes(8)), "x: an index of kind 4; expected that of a fixed"),
        (new_layout((2, 6, 4), 2, struct.pack("<Q", 905)), "x: a chunk reaches beyond the end"),
    ],
)
def test_chunks_that_do_not_make_up_the_array_are_refused(message, problem):
    with pytest.raises(RefusedError, match=problem):
        chunks_of(message)


def test_the_last_chunk_may_end_where_the_file_does():
    _, (_, last) = chunks_of(new_layout((2, 6, 4), 2, struct.pack("<Q", 904)))
    assert last.offset + last.size_bytes == 1000


def test_filtered_chunks_do_not_lie_in_a_row_without_an_index():
    with pytest.raises(RefusedError, match="x: an index of kind 2"):
        chunks_of(new_layout((2, 6, 4), 2, bytes(8)), is_filtered=True)


def fixed_array(entry=8, bits=10, count=2, signature=b"FAHD\0\0"):
    header = signature + bytes([entry, bits]) + struct.pack("<QQ", count, 40)
    return header.ljust(40, b"\0")


@pytest.mark.parametrize("wrong", [{"entry": 9}, {"count": 3}, {"bits": 0}])
def test_an_index_of_other_chunks_is_refused(wrong):
    message = new_layout((2, 6, 4), 3, b"\x0a" + bytes(8))
    with pytest.raises(RefusedError, match="chunks of . bytes in pages of"):
        chunks_of(message, fixed_array(**wrong).ljust(1000, b"\0"))


def chunk_node(level, entries):
    """A node of the older index: (start of a chunk, address) each."""
    head = b"TREE\x01" + bytes([level]) + struct.pack("<H", len(entries)) + bytes(16)
    body = b""
    for start, address in entries:
        body += struct.pack("<LL", 48, 0) + struct.pack("<3Q", *start, 0)
        body += struct.pack("<Q", address)
    return head + body


OLD = bytes([3]) + struct.pack("<Q", 0) + struct.pack("<3L", 2, 6, 4)


def test_an_older_index_gives_chunks_by_where_they_begin():
    data = chunk_node(0, [((0, 0), 200), ((2, 0), 300)]).ljust(400, b"\0")
    _, found = chunks_of(OLD, data, version=3)
    assert found == (Chunk((0, 0), 200, 48, 0), Chunk((2, 0), 300, 48, 0))


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([((0, 0), 200)], "not all of its 2 chunks are in the file"),
        ([((0, 0), 200), ((0, 0), 300)], "not all of its 2 chunks are in the file"),
        ([((0, 0), 200), ((2, 0), 353)], "a chunk reaches beyond the end"),
        ([((0, 0), 200)] * 3, "more than 2 chunks"),
    ],
)
def test_an_older_index_without_all_chunks_is_refused(entries, problem):
    with pytest.raises(RefusedError, match=f"x: {problem}"):
        chunks_of(OLD, chunk_node(0, entries).ljust(400, b"\0"), version=3)


def nested(node, count):
    """``count`` nodes, each of which leads to the next; then zeros."""
    size = len(node(0))
    return b"".join(node(size * (n + 1)) for n in range(count)) + bytes(100)


def test_an_older_index_has_a_bounded_depth():
    deep = nested(lambda after: chunk_node(1, [((0, 0), after)]), 10)
    with pytest.raises(RefusedError, match="x: chunks are nested too deeply"):
        chunks_of(OLD, deep, version=3)


def group_node(after, level=1):
    return b"TREE\0" + bytes([level]) + struct.pack("<H", 1) + bytes(24) + struct.pack("<Q", after)


def test_an_older_group_has_a_bounded_depth():
    with pytest.raises(RefusedError, match="g: nested too deeply"):
        _old_links(source_of(nested(group_node, 10)), 0, b"name\0", "g")


def symbols(start, kind=0):
    entry = struct.pack("<QQL", start, 7, kind) + bytes(20)
    return group_node(40, level=0) + b"SNOD\x01\0" + struct.pack("<H", 1) + entry


def test_a_member_of_an_older_group_has_its_name_in_the_heap():
    assert _old_links(source_of(symbols(1)), 0, b"\0name\0", "g") == [("name", 7)]
    for start in (0, 6, 9):
        with pytest.raises(RefusedError, match="g: a name is missing, or too long"):
            _old_links(source_of(symbols(start)), 0, b"\0name\0", "g")
    with pytest.raises(RefusedError, match="name: a soft link; expected a hard one"):
        _old_links(source_of(symbols(1, kind=2)), 0, b"\0name\0", "g")


def heap(width=4, first=64, last=128, root=200, rows=0, bits=16):
    """The header of a heap whose objects lie in one block, or in rows of blocks."""
    data = b"FRHP\0" + struct.pack("<HHB", 7, 0, 0) + struct.pack("<L", 64) + bytes(96)
    data += struct.pack("<HQQHHQH", width, first, last, bits, 0, root, rows)
    return data.ljust(200, b"\0")


def block():
    return (b"FHDB\0" + bytes(15) + b"the object").ljust(64, b"\0")


def index(offset=20, length=10, node=512, record=11, depth=0, count=1):
    """An index of one identifier: a place in the heap's own count of bytes."""
    data = b"BTHD\0\5" + struct.pack("<LHH", node, record, depth) + bytes(2)
    data += struct.pack("<QH", 364, count)
    data = data.ljust(100, b"\0")
    identifier = b"\0" + struct.pack("<HB", offset, length) + bytes(3)
    return data + b"BTLF\0\5" + (bytes(4) + identifier) * count


def objects(header, found):
    data = header + block() + found
    return list(heap_objects(source_of(data.ljust(2000, b"\0")), 0, 264, 1, "g"))


def test_an_object_lies_in_the_heap_where_its_identifier_says():
    (found,) = objects(heap(), index())
    assert found.data == b"the object"


@pytest.mark.parametrize(
    ("header", "found", "problem"),
    [
        (heap(), index(offset=60), "a link is not in its heap"),
        (heap(root=UNDEFINED), index(), "a link is not in its heap"),
        (heap(width=0), index(), "a heap of unknown proportions"),
        (heap(first=256), index(), "a heap of unknown proportions"),
        (heap(bits=64), index(), "a heap of unknown proportions"),
        (heap(rows=4), index(), "a heap of 4 rows; at most 3 are read"),
        (heap(), index(record=12), "an index of unknown proportions"),
        (heap(), index(node=32), "an index of unknown proportions"),
        (heap(), index(depth=9), "an index of depth 9; at most"),
        (heap(), index(count=2), "more than 1 members"),
    ],
)
def test_a_heap_or_an_index_that_no_group_needs_is_refused(header, found, problem):
    with pytest.raises(RefusedError, match=f"g: {problem}"):
        objects(header, found)
