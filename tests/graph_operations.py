"""Operations and constants in ONNX's and OpenVINO's words, each in one of the ways that tools
spell it: picked at random where nothing is fixed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from weights_tools.readers.topology import Operation

Array = np.ndarray[Any, Any]

SPELLINGS: dict[str, tuple[str, ...]] = {
    "padding": ("attribute", "auto", "pad", "computed"),
    "parts": ("split", "slices"),
    "groups": ("one by one", "grouped"),
    "affine": ("each", "together"),
    "norm": ("none", "none", "multiply-add", "add-multiply", "batch-norm"),
    "bias": ("input", "add"),
    "activation": ("together", "each"),
    "swish": ("operation", "sigmoid"),
    "keep_dims": ("yes", "no"),
    "shape": ("reshape", "squeeze", "flatten"),
    "pool": ("mean", "pool"),
    "classifier": ("matmul", "gemm", "convolution"),
    "reverse": ("gather", "split"),
    "normalise": ("subtract-divide", "multiply-add"),
    "place": ("before transpose", "after transpose"),
    "nothing": ("no", "no", "no", "identity"),
}
"""What can be spelled differently, and how."""


@dataclass(frozen=True)
class Value:
    """A value of the graph: its name, and its shape for one picture."""

    name: str
    shape: tuple[int, ...]


@dataclass
class Operations:
    """Operations and constants of one network, as they are added.

    Attributes:
        container: ``onnx`` or ``openvino-ir``.
        half: whether floating constants are float16, converted in the graph.
        fixed: what to spell -> how; anything else is picked at random.
        roles: what an operation is for -> its name.
    """

    container: str
    seed: int = 0
    half: bool = False
    fixed: Mapping[str, str] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    tensors: dict[str, Array] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.is_onnx = self.container == "onnx"
        self.count = 0

    def pick(self, what: str, *allowed: str) -> str:
        """One spelling, among the allowed ones; the fixed one if it is allowed."""
        options = [one for one in SPELLINGS[what] if not allowed or one in allowed]
        return self.fixed[what] if self.fixed.get(what) in options else self.random.choice(options)

    def maybe(self) -> bool:
        """Toss a coin; never where anything is fixed, for graphs that tests change by hand."""
        return not self.fixed and self.random.random() < 0.5

    def name(self) -> str:
        """A name that means nothing."""
        self.count += 1
        prefix = self.random.choice(["/a/b/", "node_", "Layer:", "x.", "blocks.0.", ""])
        return f"{prefix}{self.count}"

    def kept(self, array: Array) -> str:
        """Keep a constant as it is; return its name."""
        name = self.name()
        self.tensors[name] = array
        return name

    def constant(self, array: Any) -> str:
        """Keep floating numbers; return the name of their value."""
        if not self.half:
            return self.kept(np.asarray(array, np.float32))
        return self.cast(self.kept(np.asarray(array, np.float16)), "f32")

    def integers(self, *numbers: int) -> str:
        return self.kept(np.array(numbers, np.int64))

    def integer(self, number: int) -> str:
        return self.kept(np.array(number, np.int64))

    def beside(self, numbers: Any, value: Value, axis: int) -> str:
        """Numbers per channel, as they broadcast beside a value."""
        shape = [1] * len(value.shape)
        shape[axis] = len(numbers)
        # Axes of size 1 in front of the channels may be left out.
        lead = self.random.randrange(axis + 1)
        return self.constant(np.reshape(numbers, shape[lead:]))

    def add(
        self, kind: str, inputs: Sequence[str], outputs: int = 1, role: str = "", **attributes: Any
    ) -> list[str]:
        """Append an operation; return the names of its values."""
        name, outs = self.name(), [self.name() for _ in range(outputs)]
        if role:
            self.roles[role] = name
        if not self.is_onnx:
            comma = self.random.choice([",", ", "])
            attributes = {key: _text(value, comma) for key, value in attributes.items()}
        self.operations.append(Operation(name, kind, tuple(inputs), tuple(outs), attributes))
        return outs

    def one(self, kind: str, *inputs: str, role: str = "", **attributes: Any) -> str:
        """Append an operation of one value; return its name."""
        return self.add(kind, inputs, 1, role, **attributes)[0]

    def word(self, onnx: str, openvino: str) -> str:
        return onnx if self.is_onnx else openvino

    def commuted(self, kind: str, left: str, right: str, role: str = "") -> str:
        """An operation whose operands may stand in either order."""
        inputs = (right, left) if self.maybe() else (left, right)
        return self.one(kind, *inputs, role=role)

    def plus(self, left: str, right: str, role: str = "") -> str:
        return self.commuted("Add", left, right, role)

    def times(self, left: str, right: str, role: str = "") -> str:
        return self.commuted(self.word("Mul", "Multiply"), left, right, role)

    def minus(self, left: str, right: str) -> str:
        return self.one(self.word("Sub", "Subtract"), left, right)

    def over(self, left: str, right: str) -> str:
        return self.one(self.word("Div", "Divide"), left, right)

    def cast(self, name: str, to: str) -> str:
        if self.is_onnx:
            return self.one("Cast", name, to={"f32": 1, "i64": 7}[to])
        return self.one("Convert", name, destination_type=to)

    def perhaps_nothing(self, value: Value) -> Value:
        """Perhaps an operation behind that does nothing."""
        if self.is_onnx and self.pick("nothing") == "identity":
            return Value(
                self.one(self.random.choice(["Identity", "Dropout"]), value.name), value.shape
            )
        return value

    def parts(self, value: Value, axis: int, sizes: Sequence[int]) -> list[Value]:
        """Cut into parts, by one operation or by one for each."""
        if len(sizes) == 1:
            return [value]
        shapes = [(*value.shape[:axis], size, *value.shape[axis + 1 :]) for size in sizes]
        if self.pick("parts") == "split":
            names = self._split(value, axis, sizes)
        else:
            ends = np.cumsum(sizes).tolist()
            names = [
                self._slice(value, axis, end - size, end)
                for size, end in zip(sizes, ends, strict=True)
            ]
        return [Value(name, shape) for name, shape in zip(names, shapes, strict=True)]

    def _split(self, value: Value, axis: int, sizes: Sequence[int]) -> list[str]:
        count, equal = len(sizes), len(set(sizes)) == 1
        axis -= len(value.shape) * self.maybe()
        if self.is_onnx:
            spelling = self.random.choice(["input", "attribute", *(["none"] if equal else [])])
            inputs = [value.name, *([self.integers(*sizes)] if spelling == "input" else [])]
            given: dict[str, Any] = {"split": tuple(sizes)} if spelling == "attribute" else {}
            return self.add("Split", inputs, count, axis=axis, **given)
        if equal and self.maybe():
            return self.add("Split", [value.name, self.integer(axis)], count, num_splits=count)
        stated = list(sizes)
        if self.maybe():
            stated[self.random.randrange(count)] = -1
        inputs = [value.name, self.integer(axis), self.integers(*stated)]
        return self.add("VariadicSplit", inputs, count)

    def _slice(self, value: Value, axis: int, begin: int, end: int) -> str:
        if end == value.shape[axis] and self.maybe():
            end = 2**63 - 1
        inputs = [value.name, self.integers(begin), self.integers(end)]
        axes, steps = self.integers(axis), self.integers(1)
        if not self.is_onnx:
            return self.one("Slice", *inputs, steps, axes)
        return self.one("Slice", *inputs, axes, *([steps] if self.maybe() else []))

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        """Put parts side by side; one part stays alone."""
        if len(values) == 1:
            return values[0]
        shape = list(values[0].shape)
        shape[axis] = sum(value.shape[axis] for value in values)
        return Value(self.add("Concat", [v.name for v in values], axis=axis)[0], tuple(shape))

    def reshaped(self, value: Value, shape: tuple[int, ...]) -> Value:
        """One pixel's channels as (1, C) or (1, C, 1, 1)."""
        spelling = self.pick("shape")
        if spelling == "flatten" and self.is_onnx and len(shape) == 2:
            return Value(self.one("Flatten", value.name, axis=1), shape)
        if spelling == "squeeze":
            kind = "Squeeze" if len(shape) == 2 else "Unsqueeze"
            axes = [axis - 4 * self.maybe() for axis in (2, 3)]
            if self.is_onnx and self.maybe():
                return Value(self.one(kind, value.name, axes=tuple(axes)), shape)
            return Value(self.one(kind, value.name, self.integers(*axes)), shape)
        sizes = self.integers(self.random.choice([-1, 0]), *shape[1:])
        special: dict[str, Any] = {} if self.is_onnx else {"special_zero": True}
        return Value(self.one("Reshape", value.name, sizes, **special), shape)

    def in_any_order(self) -> tuple[Operation, ...]:
        """All operations, each somewhere after those whose values it reads."""
        maker = {out: place for place, one in enumerate(self.operations) for out in one.outputs}
        waiting = [{maker[name] for name in one.inputs if name in maker} for one in self.operations]
        readers: dict[int, list[int]] = {}
        for place, before in enumerate(waiting):
            for source in before:
                readers.setdefault(source, []).append(place)
        ready = [place for place, before in enumerate(waiting) if not before]
        done = []
        while ready:
            place = ready.pop(self.random.randrange(len(ready)))
            done.append(self.operations[place])
            for reader in readers.get(place, []):
                waiting[reader].discard(place)
                if not waiting[reader]:
                    ready.append(reader)
        return tuple(done)

    def transposed(self, name: str, *order: int) -> str:
        if self.is_onnx:
            return self.one("Transpose", name, perm=order)
        return self.one("Transpose", name, self.integers(*order))

    def mean(self, value: Value, role: str) -> Value:
        """The mean over height and width: (1, C, 1, 1) or (1, C)."""
        N, C = value.shape[:2]
        if self.pick("pool") == "pool":
            return Value(self._pool(value, role), (N, C, 1, 1))
        keep = self.pick("keep_dims") == "yes"
        axes = (2, 3) if self.maybe() else (-2, -1)
        if self.is_onnx and self.maybe():
            name = self.one("ReduceMean", value.name, role=role, axes=axes, keepdims=int(keep))
        else:
            named = {"keepdims": int(keep)} if self.is_onnx else {"keep_dims": keep}
            name = self.one("ReduceMean", value.name, self.integers(*axes), role=role, **named)
        return Value(name, (N, C, 1, 1) if keep else (N, C))

    def _pool(self, value: Value, role: str) -> str:
        window = value.shape[2:]
        if self.is_onnx:
            if self.maybe():
                return self.one("AveragePool", value.name, role=role, kernel_shape=window)
            return self.one("GlobalAveragePool", value.name, role=role)
        if self.maybe():
            rest: dict[str, Any] = {"pads_begin": (0, 0), "pads_end": (0, 0), "strides": window}
            rest |= {"exclude-pad": True, "rounding_type": "floor"}
            return self.one("AvgPool", value.name, role=role, kernel=window, **rest)
        return self.one("AdaptiveAvgPool", value.name, self.integers(1, 1), role=role)


def _text(value: Any, comma: str) -> str:
    if isinstance(value, tuple):
        return comma.join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
