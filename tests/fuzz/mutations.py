"""Ways to damage a file: every draw comes from the ``Random`` that is given, nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

MAX_FILE_BYTES = 100_000
"""No mutation makes a file longer: a small file has no business asking for much memory."""

Files = dict[str, bytes]
"""The files of one checkpoint, by name."""


@dataclass(frozen=True)
class Seed:
    """A valid checkpoint: its files, and the pieces that they are assembled of.

    A mutated piece is wrapped anew, with lengths and checksums that fit: that is how mutations
    get past a checksum to the code behind it.  ``assemble`` takes pieces of any content, and
    pieces left out.

    Attributes:
        tokens: bytes that mean something in this container, to be put anywhere.
        frequency: how often this seed is taken, relative to the others of its container.
        is_model: whether the tensors are a whole MixNet, which ``convert`` can map.
        is_valid: whether a reader is to accept it as it is.
        changes: ways to damage a piece that mean something in this container only.
    """

    files: Files
    pieces: Mapping[str, bytes] = field(default_factory=dict)
    assemble: Callable[[Mapping[str, bytes]], Files] = dict
    tokens: tuple[bytes, ...] = ()
    frequency: int = 10
    is_model: bool = False
    is_valid: bool = True
    changes: tuple[Callable[[Random, bytearray], None], ...] = ()


_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")
_BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFF)
_INTEGERS = (
    *(0, 1, 2, 7, 8, 16, 32, 64, 127, 128, 255, 256, 1000, 4096, 65535, 65536, -1, -2, -8, -128),
    *(2**20, 2**24, 2**30, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**40 + 1, 2**48),
    *(2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 1),
)
_NUMBERS = tuple(
    text.encode()
    for text in (
        *("0", "1", "2", "-1", "3.5", "1e9", "1e999", "NaN", "true", "null", "", "+1", "0x10"),
        *("007", "1_0", "255", "65536", "2147483647", "2147483648", "4294967296", "1099511627777"),
        *("9223372036854775807", "9223372036854775808", "18446744073709551616", "9" * 30),
        *("9" * 5000, "\u0665", "\u00b2", " 1 "),
    )
)


def varint(value: int) -> bytes:
    """Whole number, modulo 2**64 -> its bytes as protobuf and leveldb write it."""
    value %= 2**64
    result = bytearray()
    while value >= 0x80:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*result, value])


def _position(random: Random, size: int) -> int:
    """A place in a file: headers and footers, which lie at the ends, more often than the rest."""
    if size < 2:
        return 0
    where = random.random()
    if where < 0.45:
        return random.randrange(size)
    near = int(min(random.expovariate(1 / 60), size - 1))
    return near if where < 0.8 else size - 1 - near


def _span(random: Random, size: int, longest: int = 2000) -> tuple[int, int]:
    start = _position(random, size)
    length = random.choice((1, 2, 4, 8, random.randint(1, 40), random.randint(1, longest)))
    return start, min(start + length, size)


def _integer(random: Random, size: int) -> int:
    if random.random() < 0.25:
        return size + random.randint(-12, 12)
    return random.choice(_INTEGERS) + random.choice((0, 0, 0, 1, -1))


def _flip_a_bit(random: Random, data: bytearray, seed: Seed) -> None:
    data[_position(random, len(data))] ^= 1 << random.randrange(8)


def _set_a_byte(random: Random, data: bytearray, seed: Seed) -> None:
    data[_position(random, len(data))] = random.randrange(256)


def _set_an_edge_byte(random: Random, data: bytearray, seed: Seed) -> None:
    data[_position(random, len(data))] = random.choice(_BYTES)


def _set_an_integer(random: Random, data: bytearray, seed: Seed) -> None:
    width, order = random.choice((2, 4, 4, 8, 8)), random.choice(_ORDERS)
    value = _integer(random, len(data)) % 2 ** (8 * width)
    start = _position(random, len(data))
    data[start : start + width] = value.to_bytes(width, order)


def _nudge_an_integer(random: Random, data: bytearray, seed: Seed) -> None:
    width, order = random.choice((1, 1, 2, 4, 8)), random.choice(_ORDERS)
    start = _position(random, len(data))
    value = int.from_bytes(data[start : start + width], order)
    value = (value + random.randint(-35, 35)) % 2 ** (8 * width)
    data[start : start + width] = value.to_bytes(width, order)


def _set_a_varint(random: Random, data: bytearray, seed: Seed) -> None:
    start = end = _position(random, len(data))
    if random.random() < 0.7:
        while end < len(data) - 1 and data[end] >= 0x80 and end - start < 9:
            end += 1
        end += 1
    data[start:end] = varint(_integer(random, len(data)))


def _cut_the_end(random: Random, data: bytearray, seed: Seed) -> None:
    del data[_position(random, len(data)) :]


def _cut_a_span(random: Random, data: bytearray, seed: Seed) -> None:
    start, end = _span(random, len(data))
    del data[start:end]


def _insert(random: Random, data: bytearray, seed: Seed) -> None:
    start, end = _span(random, len(data))
    fill = random.choice((bytes(1), b"\xff", random.randbytes(1), random.randbytes(end - start)))
    data[start:start] = (fill * (end - start))[: end - start]


def _fill_a_span(random: Random, data: bytearray, seed: Seed) -> None:
    start, end = _span(random, len(data), 100)
    data[start:end] = random.choice((bytes(1), b"\xff", random.randbytes(1))) * (end - start)


def _repeat_a_span(random: Random, data: bytearray, seed: Seed) -> None:
    """Once, or so often that whatever nests nests deeply."""
    start, end = _span(random, len(data), 200)
    times = random.choice((1, 1, 1, 2, random.randint(1, 50), 20_000 // max(1, end - start)))
    data[start:start] = data[start:end] * times


def _copy_a_span(random: Random, data: bytearray, seed: Seed) -> None:
    start, end = _span(random, len(data), 400)
    target = _position(random, len(data))
    overwritten = target + random.choice((0, end - start))
    data[target:overwritten] = data[start:end]


def _swap_spans(random: Random, data: bytearray, seed: Seed) -> None:
    first, second = sorted(_span(random, len(data), 400) for _ in range(2))
    if first[1] <= second[0]:
        left, right = data[slice(*first)], data[slice(*second)]
        data[slice(*second)], data[slice(*first)] = left, right


def _replace_a_number(random: Random, data: bytearray, seed: Seed) -> None:
    found = re.compile(rb"-?\d+").search(data, _position(random, len(data)))
    if found is None:
        found = re.compile(rb"-?\d+").search(data)
    if found is not None:
        digits = found[0]
        near = str(int(digits[:20]) + random.randint(-9, 9)).encode()
        data[slice(*found.span())] = random.choice((near, random.choice(_NUMBERS)))


def _put_a_token(random: Random, data: bytearray, seed: Seed) -> None:
    if not seed.tokens:
        return
    token = random.choice(seed.tokens)
    start = _position(random, len(data))
    other = data.find(random.choice(seed.tokens), start)
    if other >= 0 and random.random() < 0.5:
        start = other
    data[start : start + random.choice((0, len(token)))] = token


_Change = Callable[[Random, bytearray, Seed], None]
_CHANGES: tuple[tuple[_Change, int], ...] = (
    (_flip_a_bit, 4),
    (_set_a_byte, 2),
    (_set_an_edge_byte, 3),
    (_set_an_integer, 3),
    (_nudge_an_integer, 3),
    (_set_a_varint, 2),
    (_cut_the_end, 1),
    (_cut_a_span, 2),
    (_insert, 2),
    (_fill_a_span, 1),
    (_repeat_a_span, 2),
    (_copy_a_span, 2),
    (_swap_spans, 1),
    (_replace_a_number, 3),
    (_put_a_token, 2),
)
_KINDS = [change for change, weight in _CHANGES for _ in range(weight)]


def mutate(random: Random, data: bytes, seed: Seed) -> bytes:
    """Bytes -> the same with one change, at most ``MAX_FILE_BYTES`` of them."""
    changed = bytearray(data)
    if changed and seed.changes and random.random() < 0.5:
        random.choice(seed.changes)(random, changed)
    elif changed:
        random.choice(_KINDS)(random, changed, seed)
    else:
        changed += random.randbytes(random.randint(1, 20))
    return bytes(changed[:MAX_FILE_BYTES])


def _splice(random: Random, one: bytes, other: bytes) -> bytes:
    """The beginning of one and the end of the other, at places of about the same depth."""
    cut = _position(random, len(one))
    from_end = random.random() < 0.5
    start = max(0, len(other) - (len(one) - cut)) if from_end else min(cut, len(other))
    return (one[:cut] + other[start:])[:MAX_FILE_BYTES]


def _changed(
    random: Random, parts: Mapping[str, bytes], seed: Seed, other: Mapping[str, bytes]
) -> dict[str, bytes]:
    """Change one of several parts: its bytes, or whose they are."""
    result = dict(parts)
    name = random.choice(sorted(result))
    kind = random.random()
    if kind < 0.9:
        result[name] = mutate(random, result[name], seed)
    elif kind < 0.95 and other:
        theirs = other.get(name) or other[random.choice(sorted(other))]
        result[name] = _splice(random, result[name], theirs)
    elif kind < 0.975 and len(result) > 1:
        second = random.choice(sorted(result))
        result[name], result[second] = result[second], result[name]
    elif len(result) > 1:
        del result[name]
    return result


def mangled(random: Random, seeds: Sequence[Seed]) -> tuple[Seed, Files]:
    """Seeds of one container -> one of them, and its files after one to several changes."""
    seed, other = random.choices(seeds, [seed.frequency for seed in seeds], k=2)
    files: Mapping[str, bytes] = seed.files
    inside = bool(seed.pieces) and random.random() < 0.6
    if inside:
        pieces = seed.pieces
        for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
            pieces = _changed(random, pieces, seed, other.pieces)
        files = {name: data[:MAX_FILE_BYTES] for name, data in seed.assemble(pieces).items()}
    if not inside or random.random() < 0.1:
        for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
            files = _changed(random, files, seed, other.files)
    return seed, dict(files)
