"""Snappy blocks: round trips, every kind of element, damage, and blocks that ask for too much."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.tensorflow_writers import snappy, snappy_copy, snappy_literal, varint
from weights_tools.readers.snappy import unpack

LIMIT = 2**20
# Runs and repeats, so that there is something to copy from.
texts = st.lists(st.tuples(st.binary(min_size=1, max_size=9), st.integers(1, 40)), max_size=12).map(
    lambda parts: b"".join(part * times for part, times in parts)
)


@given(texts)
@example(b"")
@example(bytes(range(256)) * 300)
def test_what_is_compressed_comes_back(data: bytes) -> None:
    assert unpack(snappy(data), LIMIT) == data


@pytest.mark.parametrize("size", [1, 59, 60, 61, 256, 257, 65536, 65537, 2**20])
def test_literals_of_every_length_form_come_back(size: int) -> None:
    data = bytes(n % 251 for n in range(size))
    assert unpack(varint(size) + snappy_literal(data), LIMIT) == data


@given(st.binary(min_size=1, max_size=300), st.integers(1, 64), st.data())
def test_copies_repeat_what_they_reach_into(head: bytes, size: int, data: st.DataObject) -> None:
    distance = data.draw(st.integers(1, len(head)))
    expected = bytearray(head)
    for _ in range(size):
        expected.append(expected[-distance])
    block = varint(len(expected)) + snappy_literal(head) + snappy_copy(size, distance)
    assert unpack(block, LIMIT) == expected


@pytest.mark.parametrize(
    ("size", "distance", "tag"), [(4, 2047, 1), (12, 2047, 2), (4, 2048, 2), (64, 70_000, 3)]
)
def test_each_form_of_a_copy_is_read(size: int, distance: int, tag: int) -> None:
    head = bytes(n % 253 for n in range(distance))
    copy = snappy_copy(size, distance)
    assert copy[0] & 3 == tag
    block = varint(distance + size) + snappy_literal(head) + copy
    assert unpack(block, LIMIT) == head + head[:size]


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        (b"", "varint at byte 0 is cut off"),
        (b"\xff\xff\xff\xff\x7f", "more than 32 bits"),
        (varint(2**21), "state that they unpack to 2097152"),
        (varint(64), "1 bytes state that they unpack to 64"),
        (varint(3) + b"\x0cab", "a literal of 4 bytes at byte 2 is cut off"),
        (varint(3) + b"\xf4\x01", "cut off at byte 2"),
        (varint(3) + b"\x04ab", "3 bytes stated, 2 made"),
        (varint(3) + b"\x0cabcd", "more than the stated 3 bytes"),
        (varint(6) + b"\x04ab\x0e\x03\x00", "a copy from 3 bytes back, after 2"),
        (varint(6) + b"\x04ab\x0e\x00\x00", "a copy from 0 bytes back, after 2"),
        (varint(6) + b"\x04ab\x0e\x01", "cut off at byte 5"),
        (varint(6) + b"\x04ab\x01", "cut off at byte 5"),
        (varint(5) + b"\x04ab\x0e\x02\x00", "more than the stated 5 bytes"),
    ],
)
def test_a_damaged_block_is_a_value_error(block: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        unpack(block, LIMIT)


@given(st.binary(max_size=80), st.integers(0, 3000))
def test_any_bytes_give_the_stated_length_or_a_value_error(body: bytes, stated: int) -> None:
    try:
        assert len(unpack(varint(stated) + body, LIMIT)) == stated
    except ValueError as error:
        assert "snappy" in str(error)


def test_a_block_that_states_much_takes_no_memory() -> None:
    tracemalloc.start()
    with pytest.raises(ValueError, match="state that they unpack to 2147483648"):
        unpack(varint(2**31) + bytes(1000), 2**32)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000
