"""Sorted tables: round trips in every form, checksums, and tables that lie about themselves."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tensorflow_writers import (
    MAGIC,
    Blocks,
    Table,
    block_content,
    masked_crc,
    snappy,
    stored_block,
    table_bytes,
    varint,
)
from weights_tools.readers.sorted_table import MAX_BLOCK_BYTES, ends_a_table, read_table

names = st.text("ab/", max_size=12).map(str.encode)
tables = st.dictionaries(names, st.binary(max_size=40), max_size=30).map(
    lambda entries: sorted(entries.items())
)
blocks = st.builds(
    Blocks,
    block_bytes=st.integers(1, 300),
    restart_interval=st.integers(1, 9),
    compress=st.sampled_from([None, snappy]),
)
SAMPLE: Table = [(b"", b"header"), *((b"name/%02d" % n, b"value" * (n % 4)) for n in range(20))]


def entries_of(data: bytes) -> Table:
    return [(key, bytes(value)) for key, value in read_table(data)]


@given(tables, blocks)
def test_entries_come_back_in_order(entries: Table, how: Blocks) -> None:
    data = table_bytes(entries, how)
    assert ends_a_table(data)
    assert entries_of(data) == entries


@pytest.mark.parametrize("compress", [None, snappy])
def test_a_table_cut_off_anywhere_is_an_error(compress: None) -> None:
    data = table_bytes(SAMPLE, Blocks(100, 4, compress))
    for length in range(len(data)):
        with pytest.raises(ValueError, match="a sorted table ends with"):
            entries_of(data[:length])


@settings(max_examples=300)
@given(st.data(), blocks)
def test_any_changed_byte_is_an_error(data: st.DataObject, how: Blocks) -> None:
    body = bytearray(table_bytes(SAMPLE, how))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match=r".+"):
        entries_of(bytes(body))


def one_block(content: bytes, key: bytes = b"z", index: bytes | None = None) -> bytes:
    """A table of one data block as given, its checksums right."""
    out = stored_block(content, None)
    handle = varint(0) + varint(len(out) - 5)
    metaindex = stored_block(block_content([], 1), None)
    index = stored_block(block_content([(key, handle)], 1) if index is None else index, None)
    handles = varint(len(out)) + varint(len(metaindex) - 5)
    handles += varint(len(out + metaindex)) + varint(len(index) - 5)
    return out + metaindex + index + handles.ljust(40, b"\0") + MAGIC


ONE = b"\0\1\1kv"
NO_RESTART = b"\0\0\0\0"
RESTART = b"\0\0\0\0\1\0\0\0"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "0 bytes with 0 restarts"),
        (ONE + NO_RESTART, "with 0 restarts"),
        (ONE + b"\1\0\0\0\1\0\0\0", "or none at byte 0"),
        (ONE + b"\0\0\0\0\xff\xff\0\0", "with 65535 restarts"),
        (ONE + b"\0\0\0\0\3\0\0\0\2\0\0\0", "a restart at byte 3 of a block"),
        (ONE + b"\0\0\0\0\5\0\0\0\2\0\0\0", "a restart at byte 5 of a block"),
        (ONE + b"\1\1\0l" + b"\0\0\0\0\5\0\0\0\2\0\0\0", "a restart at byte 5 of a block"),
        (b"\1\1\1kv" + RESTART, "entry at byte 0 of a block reaches outside"),
        (b"\0\1\2kv" + RESTART, "entry at byte 0 of a block reaches outside"),
        (b"\0\1" + RESTART, "varint at byte 2 is cut off"),
        (ONE + ONE + RESTART, "key 'k' follows 'k'; expected ascending"),
        (ONE + b"\0\1\0j" + RESTART, "key 'j' follows 'k'; expected ascending"),
        (b"\0\1\0\x7f" + RESTART, r"key '\\x7f' in a block that ends at 'z'"),
        (b"\0\x81\x20\0" + b"k" * 4097 + RESTART, "a key of 4097 bytes; accepted are 4096"),
    ],
)
def test_a_block_must_keep_the_rules(content: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        entries_of(one_block(content))


def test_a_well_formed_block_is_read() -> None:
    assert entries_of(one_block(ONE + RESTART)) == [(b"k", b"v")]


def test_blocks_must_stand_one_behind_the_other() -> None:
    content = ONE + RESTART
    handle = varint(0) + varint(len(content))
    index = block_content([(b"y", handle), (b"z", handle)], 1)
    with pytest.raises(ValueError, match="places a block at byte 0; expected it behind"):
        entries_of(one_block(content, index=index))
    with pytest.raises(ValueError, match="places a block at byte 0"):
        entries_of(one_block(content, index=block_content([(b"y", handle + b"\0")], 1)))


@pytest.mark.parametrize(
    ("size", "problem"),
    [(2**63, "reaches into the footer"), (MAX_BLOCK_BYTES + 1, "accepted are 4194304")],
)
def test_a_block_may_not_be_larger_than_the_file_or_the_limit(size: int, problem: str) -> None:
    padding = bytes(MAX_BLOCK_BYTES + 100)
    footer = (varint(0) + varint(size) + varint(0) + varint(0)).ljust(40, b"\0") + MAGIC
    with pytest.raises(ValueError, match=problem):
        entries_of(padding + footer)


def test_an_unknown_compression_is_named() -> None:
    body = ONE + RESTART + b"\2"
    metaindex = body + masked_crc(body)
    footer = (varint(0) + varint(len(body) - 1) + varint(0) + varint(0)).ljust(40, b"\0") + MAGIC
    with pytest.raises(ValueError, match="has compression 2; known: 0 none, 1 snappy"):
        entries_of(metaindex + footer)


def test_the_footers_padding_must_be_zeros() -> None:
    data = bytearray(table_bytes(SAMPLE))
    data[-9] = 1
    with pytest.raises(ValueError, match="padding holds other bytes than zeros"):
        entries_of(bytes(data))


def test_keys_that_repeat_each_other_take_neither_memory_nor_time() -> None:
    # Each entry of five bytes is a key of four thousand: the table says more than it holds.
    entry = varint(4093) + b"\3\0"
    body = b"\0" + varint(4093) + b"\0" + b"k" * 4093
    body += b"".join(entry + n.to_bytes(3, "big") for n in range(100_000))
    data = one_block(body + RESTART)
    tracemalloc.start()
    started = time.perf_counter()
    with pytest.raises(ValueError, match="more than 16777216 bytes of keys and values"):
        for _ in read_table(data):
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * len(data) and time.perf_counter() - started < 5
