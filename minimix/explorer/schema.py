"""Plain JSON against the shape that it should have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from minimix.errors import InputError


@dataclass(frozen=True)
class Maybe:
    """Null, or a value of that shape."""

    of: Any


@dataclass(frozen=True)
class Named:
    """An object with any keys, whose values all have one shape."""

    of: Any


@dataclass(frozen=True)
class OneOf:
    """One of these texts."""

    values: tuple[str, ...]


@dataclass(frozen=True)
class Ref:
    """A reference to an array in a buffer: its element types, its number of axes (0: any)."""

    dtypes: tuple[str, ...]
    ndim: int


MOST_BITS = 53
"""Of a whole number: the page's are float64."""

REF = {"buffer": str, "offset": int, "dtype": OneOf(("u1", "i4", "f4")), "shape": [int]}


class Anything:
    """Any JSON."""


def check(value: Any, shape: Any, where: str) -> None:
    """Check a value against a shape: a type, ``[shape]``, ``{key: shape}``, or one of the above.

    >>> check({"sizes": [3, 5]}, {"sizes": [int]}, "node")

    Raises:
        InputError: names the place, what was expected and what was found.
    """
    match shape:
        case type() if shape is Anything:
            pass
        case type():
            _check_type(value, shape, where)
        case list():
            _check_type(value, list, where)
            for n, item in enumerate(value):
                check(item, shape[0], f"{where}[{n}]")
        case dict():
            _check_keys(value, shape, where)
            for key, inner in shape.items():
                check(value[key], inner, f"{where}.{key}")
        case Named():
            _check_type(value, dict, where)
            for key, item in value.items():
                check(item, shape.of, f"{where}.{key}")
        case Maybe():
            if value is not None:
                check(value, shape.of, where)
        case OneOf():
            if value not in shape.values:
                raise _wrong(where, f"one of {', '.join(shape.values)}", value)
        case Ref():
            _check_ref(value, shape, where)


def refs_in(value: Any, shape: Any, where: str = "document") -> list[tuple[str, Mapping[str, Any]]]:
    """A checked value -> every reference in it, with its place."""
    match shape:
        case list():
            return [
                r for n, item in enumerate(value) for r in refs_in(item, shape[0], f"{where}[{n}]")
            ]
        case dict():
            return [
                r for k, inner in shape.items() for r in refs_in(value[k], inner, f"{where}.{k}")
            ]
        case Maybe():
            return [] if value is None else refs_in(value, shape.of, where)
        case Ref():
            return [(where, value)]
        case _:
            return []


def _check_type(value: Any, kind: type, where: str) -> None:
    if kind in (int, float) and isinstance(value, bool):
        fits = False
    elif kind is float:
        fits = isinstance(value, int | float) and _is_finite(value)
    elif kind is int:
        fits = isinstance(value, int) and value.bit_length() <= MOST_BITS
    else:
        fits = isinstance(value, kind)
    if not fits:
        expected = {float: "a finite number", int: f"int of at most {MOST_BITS} bits"}
        raise _wrong(where, expected.get(kind, kind.__name__), value)


def _is_finite(number: float) -> bool:
    try:
        return isfinite(number)
    except OverflowError:  # a whole number beyond float64
        return False


def _check_keys(value: Any, shape: Mapping[str, Any], where: str) -> None:
    _check_type(value, dict, where)
    missing, extra = sorted(shape.keys() - value.keys()), sorted(value.keys() - shape.keys())
    if missing or extra:
        raise InputError(
            f"{where}: "
            + "; ".join(
                f"{what}: {', '.join(map(repr, names[:3]))}"
                for what, names in (("missing", missing), ("left over", extra))
                if names
            )
        )


def _check_ref(value: Any, shape: Ref, where: str) -> None:
    check(value, REF, where)
    if value["dtype"] not in shape.dtypes or shape.ndim not in (0, len(value["shape"])):
        expected = f"{' or '.join(shape.dtypes)} of {shape.ndim} axes"
        raise _wrong(where, expected, f"{value['dtype']} {value['shape']}")
    if value["offset"] < 0 or min(value["shape"], default=0) < 0:
        raise _wrong(where, "sizes of 0 or more", value)


def _wrong(where: str, expected: str, found: Any) -> InputError:
    # Whole numbers of thousands of digits are not written out: Python refuses to.
    is_long = isinstance(found, int) and found.bit_length() > 256
    shown = f"a number of {found.bit_length()} bits" if is_long else repr(found)[:80]
    return InputError(f"{where}: expected {expected}, found {shown}")
