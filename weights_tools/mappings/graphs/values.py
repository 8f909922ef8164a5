"""What a network's own graph computes, said in few words: the values that flow through a MixNet.

An operation of a container reads and makes values: constants, and features, which are what the
picture has become.  A feature's meaning is one of the classes below, made of other meanings; its
shape is kept apart from that, because a reshaped or transposed value means the same.  Meanings
are compared by identity: a residual connection reads the very value that the block reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from weights_tools.readers.checkpoint import Array

Wide = NDArray[np.float64]
Shape = tuple[int, ...]
Pads = tuple[int, int, int, int]
"""Zeros around a picture: rows above, columns left, rows below, columns right."""

Action = Literal["multiply", "divide", "add", "subtract", "standardise"]


@dataclass(frozen=True, eq=False)
class Constant:
    """An array that the file holds, or one that was worked out of such; with all their names."""

    word: ClassVar[str] = "a constant"
    array: Array
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Picture:
    """The network's input, perhaps with its channels turned around, scaled and shifted.

    Attributes:
        size: height and width, in pixels; that of ImageNet's where the file leaves them free.
        order: the input's channel that stands at each place.
        scale: (3,), applied before shift, in the order of the places; None where it is all ones.
        shift: (3,); None where it is all zeros.
        names: constants that both were made of.
    """

    word: ClassVar[str] = "the picture"
    size: int
    order: tuple[int, ...] = (0, 1, 2)
    scale: Wide | None = None
    shift: Wide | None = None
    names: tuple[str, ...] = ()

    @property
    def is_normalised(self) -> bool:
        """Whether the graph scales or shifts it."""
        return self.scale is not None or self.shift is not None


@dataclass(frozen=True, eq=False)
class Slice:
    """Channels ``begin`` to ``end`` of a value, never all of them, and never of a slice."""

    word: ClassVar[str] = "some channels"
    of: Meaning
    begin: int
    end: int


@dataclass(frozen=True, eq=False)
class Padded:
    """A value with zeros around it."""

    word: ClassVar[str] = "padding"
    of: Meaning
    pads: Pads


@dataclass(frozen=True, eq=False)
class Branch:
    """One convolution, or a matrix product of pooled features.

    Attributes:
        weight: (Cout, Cin, K, K); depthwise (C, 1, K, K); a matrix (Cout, Cin, 1, 1).  Of the
            floating type that the file holds.
        pads: None: the file says that they are TensorFlow's SAME, whatever the size.
        size: height and width of what is read, before ``pads``.
        names: constants that the weight was made of.
    """

    of: Meaning
    weight: Array
    depthwise: bool
    stride: int
    pads: Pads | None
    size: int
    names: tuple[str, ...]

    @property
    def kernel_size(self) -> int:
        """K."""
        return int(self.weight.shape[2])

    @property
    def in_channels(self) -> int:
        """Channels read."""
        return int(self.weight.shape[0 if self.depthwise else 1])

    @property
    def out_channels(self) -> int:
        """Channels made."""
        return int(self.weight.shape[0])


@dataclass(frozen=True, eq=False)
class Step:
    """One scale or shift; ``by`` holds one number, or one per channel.

    Kept as it stands in the file and worked out once the network is known: a chain of steps in a
    file of another kind costs nothing.  ``standardise`` divides by the root of ``by + eps``.
    """

    action: Action
    by: Constant
    eps: float = 0.0


@dataclass(frozen=True, eq=False)
class Affine:
    """Convolutions side by side over consecutive channels, then scales and shifts."""

    word: ClassVar[str] = "a convolution"
    parts: tuple[Branch | Affine, ...]
    steps: tuple[Step, ...] = ()

    @property
    def branches(self) -> tuple[Branch, ...]:
        """All convolutions, in the order of the channels that they make."""
        inner = (part.branches if isinstance(part, Affine) else (part,) for part in self.parts)
        return tuple(branch for branches in inner for branch in branches)

    @property
    def out_channels(self) -> int:
        """Channels made."""
        return sum(branch.out_channels for branch in self.branches)


@dataclass(frozen=True, eq=False)
class Activated:
    """An activation, ``relu`` or ``swish``, of convolutions."""

    word: ClassVar[str] = "an activation"
    of: Affine
    function: str


@dataclass(frozen=True, eq=False)
class Sigmoid:
    """The logistic function of a value: half of a swish, or the gates of squeeze-excite."""

    word: ClassVar[str] = "a sigmoid"
    of: Meaning


@dataclass(frozen=True, eq=False)
class Gated:
    """A value times its gates, which are the sigmoid of ``gate``."""

    word: ClassVar[str] = "gated features"
    of: Meaning
    gate: Affine


@dataclass(frozen=True, eq=False)
class Sum:
    """A residual connection."""

    word: ClassVar[str] = "a sum"
    left: Meaning
    right: Meaning


@dataclass(frozen=True, eq=False)
class Mean:
    """The mean over height and width."""

    word: ClassVar[str] = "a mean over height and width"
    of: Meaning


Meaning: TypeAlias = Picture | Slice | Padded | Affine | Activated | Sigmoid | Gated | Sum | Mean


@dataclass(frozen=True, eq=False)
class Features:
    """What the picture has become, and how it lies in an array.

    Attributes:
        of: what it means.
        shape: sizes of all axes, the batch first: one picture where the file leaves it free.
        axis: where the channels stand; height and width are what remains, if they do.
    """

    of: Meaning
    shape: Shape
    axis: int

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.shape[self.axis]

    @property
    def space(self) -> Shape:
        """Sizes of the axes that are neither batch nor channels."""
        return tuple(size for axis, size in enumerate(self.shape) if axis not in (0, self.axis))

    @property
    def is_pooled(self) -> bool:
        """Whether one pixel remains."""
        return all(size == 1 for size in self.space)


Value: TypeAlias = Constant | Features


def word(value: Value) -> str:
    """What to call a value in a message."""
    return value.of.word if isinstance(value, Features) else value.word


def shape_of(value: Value) -> Shape:
    """Value -> the sizes of its axes."""
    return value.shape if isinstance(value, Features) else value.array.shape
