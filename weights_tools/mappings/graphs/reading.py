"""An operation with the values that it reads, and the ways in which handlers ask for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite

from weights_tools.mappings.graphs.values import Constant, Features, Value, word
from weights_tools.readers.checkpoint import Array, shown
from weights_tools.readers.topology import Attribute, Operation

MAX_NUMBERS = 1024
"""The most axes, sizes or pads in one constant; the sizes of a MixNet's groups are at most 5."""

MAX_NAMES = 256
"""The most constants that one is worked out of; the pads of a timm export are made of about 10."""


def integers(attribute: Attribute | None, default: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Attribute -> whole numbers; OpenVINO's are text such as ``2, 2``.

    Raises:
        ValueError: it is something else.

    >>> integers("2, 2"), integers(None, (1,))
    ((2, 2), (1,))
    """
    if attribute is None:
        return default
    if isinstance(attribute, str):
        parts = attribute.split(",", MAX_NUMBERS)
        if all(_is_number(part.strip()) for part in parts):
            return tuple(int(part) for part in parts)
    elif isinstance(attribute, int):
        return (attribute,)
    elif isinstance(attribute, tuple) and all(type(part) is int for part in attribute):
        return tuple(int(part) for part in attribute)
    raise ValueError(f"expected whole numbers, found {shown(attribute)}")


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isascii() and text.removeprefix("-").isdigit() and len(text) < 19


@dataclass(frozen=True)
class Call:
    """An operation and its inputs; None where one is left out.

    Attributes:
        tensors: the file's, by name: ONNX's attributes that are tensors name one of them.
    """

    operation: Operation
    inputs: tuple[Value | None, ...]
    tensors: Mapping[str, Array] = field(default_factory=dict)

    def has(self, position: int) -> bool:
        """Whether there is an input at a position."""
        return position < len(self.inputs) and self.inputs[position] is not None

    def value(self, position: int) -> Value:
        """The input at a position.

        Raises:
            ValueError: there is none.
        """
        found = self.inputs[position] if position < len(self.inputs) else None
        if found is None:
            raise ValueError(f"has no input {position}")
        return found

    def features(self, position: int = 0) -> Features:
        """The features at a position.

        Raises:
            ValueError: there is a constant, or nothing.
        """
        value = self.value(position)
        if not isinstance(value, Features):
            raise ValueError(f"input {position} is a constant, expected features")
        return value

    def constant(self, position: int, what: str) -> Constant:
        """The constant at a position; ``what`` says in messages what it is.

        Raises:
            ValueError: there are features, or nothing.
        """
        value = self.value(position)
        if not isinstance(value, Constant):
            raise ValueError(f"{what} is {word(value)}, expected a constant")
        return value

    def arrays(self) -> list[Array] | None:
        """All inputs where they are known numbers; None where one is not.

        Raises:
            ValueError: an input is left out.
        """
        values = [self.value(position) for position in range(len(self.inputs))]
        known = [value.array for value in values if isinstance(value, Constant)]
        return known if len(known) == len(values) > 0 else None

    def made(self, array: Array) -> Constant:
        """An array worked out of constant inputs -> a constant with the names of them all.

        Raises:
            ValueError: there are too many.
        """
        constants = [value for value in self.inputs if isinstance(value, Constant)]
        names = tuple(dict.fromkeys(name for constant in constants for name in constant.names))
        if len(names) > MAX_NAMES:
            raise ValueError(f"is worked out of more than {MAX_NAMES} constants")
        return Constant(array, names)

    def numbers(self, position: int, what: str) -> list[int]:
        """The whole numbers that the constant at a position holds.

        Raises:
            ValueError: there is none, or one of another kind.
        """
        array = self.constant(position, what).array
        if array.dtype.kind not in "iu" or array.ndim > 1 or array.size > MAX_NUMBERS:
            raise ValueError(
                f"{what} is {array.dtype.name} of shape {array.shape}, expected whole numbers"
            )
        return [int(number) for number in array.reshape(-1)]

    def number(self, position: int, what: str) -> int:
        """The one whole number that the constant at a position holds.

        Raises:
            ValueError: there is none, or there are several.
        """
        found = self.numbers(position, what)
        if len(found) != 1:
            raise ValueError(f"{what} is {len(found)} numbers, expected one")
        return found[0]

    def integers(self, name: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """An attribute of whole numbers.

        Raises:
            ValueError: it is something else.
        """
        try:
            return integers(self.operation.attributes.get(name), default)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    def integer(self, name: str, default: int | None = None) -> int:
        """An attribute of one whole number.

        Raises:
            ValueError: it is something else, or is missing and has no default.
        """
        found = self.integers(name, () if default is None else (default,))
        if len(found) != 1:
            raise ValueError(f"{name} is {found[:8]}, expected one number")
        return found[0]

    def numbers_of(self, position: int, name: str) -> tuple[int, ...] | None:
        """Whole numbers from an input, or from an attribute in older files; None where neither is.

        Raises:
            ValueError: they are something else.
        """
        if self.has(position):
            return tuple(self.numbers(position, f"what gives the {name}"))
        return self.integers(name) if name in self.operation.attributes else None

    def real(self, name: str, default: float | None = None) -> float:
        """An attribute that is a number.

        Raises:
            ValueError: it is none or not finite, or is missing and has no default.
        """
        attribute = self.operation.attributes.get(name, default)
        if isinstance(attribute, str | int | float) and len(str(attribute)) < 40:
            number = float(attribute)
            if isfinite(number):
                return number
        raise ValueError(f"{name}: expected a number, found {shown(attribute)}")

    def tensor(self, name: str) -> Constant | None:
        """An attribute that is a tensor; None where it is left out.

        Raises:
            ValueError: the file holds no such tensor.
        """
        attribute = self.operation.attributes.get(name)
        if attribute is None:
            return None
        if not isinstance(attribute, str) or attribute not in self.tensors:
            raise ValueError(f"{name}: expected the name of a tensor, found {shown(attribute)}")
        return Constant(self.tensors[attribute], (attribute,))

    def text(self, name: str, default: str) -> str:
        """An attribute as text."""
        return str(self.operation.attributes.get(name, default))

    def is_true(self, name: str, *, default: bool = False) -> bool:
        """An attribute that is a flag: 1, or OpenVINO's text."""
        return str(self.operation.attributes.get(name, default)).lower() in ("true", "1")


Handler = Callable[[Call], list[Value]]
"""Takes an operation and the values it reads, gives the values it makes."""
