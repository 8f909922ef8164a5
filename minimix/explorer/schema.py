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
    is_bool = isinstance(value, bool)
    if kind is float:
        fits = isinstance(value, int | float) and not is_bool and isfinite(value)
    else:
        fits = isinstance(value, kind) and (kind is bool or not is_bool)
    if not fits:
        raise _wrong(where, "a finite number" if kind is float else kind.__name__, value)


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
    return InputError(f"{where}: expected {expected}, found {repr(found)[:80]}")
