"""The walker over protocol buffers: round trips, limits, and every way to be damaged."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.tensorflow_writers import fixed32, message, varint
from weights_tools.readers.protobuf import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    bytes_value,
    fields,
    int_value,
    read_varint,
    signed64,
)

keys = st.integers(1, 2**29 - 1)
uint64 = st.integers(0, 2**64 - 1)
written = st.one_of(
    st.tuples(keys, st.just(VARINT), uint64),
    st.tuples(keys, st.just(FIXED64), uint64),
    st.tuples(keys, st.just(FIXED32), st.integers(0, 2**32 - 1)),
    st.tuples(keys, st.just(BYTES), st.binary(max_size=300)),
)


def encoded(key: int, wire: int, value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return message(key, value)
    if wire == VARINT:
        return varint(key * 8) + varint(value)
    if wire == FIXED32:
        return fixed32(key, value.to_bytes(4, "little"))
    return varint(key * 8 + 1) + value.to_bytes(8, "little")


@given(st.lists(written, max_size=8))
def test_fields_come_back_in_order(expected: list[tuple[int, int, int | bytes]]) -> None:
    data = b"".join(encoded(*field) for field in expected)
    found = [
        (key, wire, bytes(value) if isinstance(value, memoryview) else value)
        for key, wire, value in fields(data)
    ]
    assert found == expected


@given(st.lists(written, min_size=1, max_size=4), st.data())
def test_a_message_cut_off_within_a_field_is_an_error(
    parts: list[tuple[int, int, int | bytes]], data: st.DataObject
) -> None:
    last = encoded(*parts[-1])
    kept = data.draw(st.integers(1, len(last) - 1))
    whole = b"".join(encoded(*field) for field in parts[:-1])
    with pytest.raises(ValueError, match="cut off|the message ends after"):
        list(fields(whole + last[:kept]))


@given(st.integers(-(2**63), 2**63 - 1))
def test_signed_numbers_come_back(value: int) -> None:
    assert signed64(read_varint(varint(value), 0)[0]) == value


@given(uint64, st.binary(max_size=4), st.binary(max_size=4))
@example(2**64 - 1, b"", b"")
def test_a_varint_is_read_where_it_lies(value: int, before: bytes, after: bytes) -> None:
    data = before + varint(value) + after
    assert read_varint(data, len(before)) == (value, len(data) - len(after))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x00\x01", "byte 0: field number 0"),
        (b"\x0b", "field 1 has wire type 3, which is a group"),
        (b"\x0c", "field 1 has wire type 4, which is a group"),
        (b"\x0e", "field 1 has wire type 6, which is unknown"),
        (b"\x0a\x05abc", "byte 0: field 1 has 5 bytes, the message ends after 3"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "has 18446744073709551615 bytes"),
        (b"\x08" + b"\x80" * 10 + b"\x00", "varint at byte 1 has more than 64 bits"),
        (b"\x08" + b"\xff" * 9 + b"\x02", "varint at byte 1 has more than 64 bits"),
        (b"\x08\x80", "varint at byte 1 is cut off"),
        (b"\xff\xff\xff\xff\x10", "varint at byte 0 has more than 32 bits"),
    ],
)
def test_a_damaged_message_is_a_value_error(data: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        list(fields(data))


@given(st.binary(max_size=60))
def test_any_bytes_give_fields_within_them_or_a_value_error(data: bytes) -> None:
    try:
        values = [value for _, _, value in fields(data)]
    except ValueError as error:
        assert "byte " in str(error)
    else:
        views = [value for value in values if isinstance(value, memoryview)]
        assert sum(map(len, views)) + 2 * len(values) <= len(data)


def test_a_value_of_another_wire_type_is_an_error() -> None:
    a_number, some_bytes = fields(b"\x08\x05\x12\x01x")
    assert int_value(a_number, "size") == 5 and bytes_value(some_bytes, "name") == b"x"
    with pytest.raises(ValueError, match="size: expected wire type 0, found 2"):
        int_value(some_bytes, "size")
    with pytest.raises(ValueError, match="checksum: expected wire type 5, found 0"):
        int_value(a_number, "checksum", FIXED32)
    with pytest.raises(ValueError, match="name: expected wire type 2, found 0"):
        bytes_value(a_number, "name")
