"""Which pixels of the picture can a value depend on?  Worked out from the graph, in integers.

A field is an interval along one side; heights and widths follow the same rule, so it is computed
for each on its own.  Squeeze-excite reads the whole picture through its mean; it is left out here,
as in every published receptive field, because it says how much of a channel, not where.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minimix.geometry import pad_amounts, receptive_extent
from minimix.graph import Graph, Node
from minimix.operators import (
    Add,
    Conv,
    GlobalAveragePool,
    Input,
    Linear,
    MixConv,
    Pointwise,
    Shape,
)

Pixels = NDArray[np.int64]


@dataclass(frozen=True)
class Field:
    """Output pixel ``i`` sees the picture's pixels ``first + i * step`` to ``last + i * step``.

    Pixels below zero or beyond the picture are padding.
    """

    first: int
    last: int
    step: int

    @property
    def size(self) -> int:
        """How many pixels one output pixel sees, padding included."""
        return self.last - self.first + 1

    def at(self, i: int) -> tuple[int, int]:
        """Output pixel -> the first and the last pixel that it sees.

        >>> Field(-1, 1, 2).at(3)
        (5, 7)
        """
        return self.first + i * self.step, self.last + i * self.step

    def union(self, other: Field) -> Field:
        """The smallest field that covers both; they have the same step.

        >>> Field(-1, 1, 2).union(Field(-3, 0, 2))
        Field(first=-3, last=1, step=2)
        """
        return Field(min(self.first, other.first), max(self.last, other.last), self.step)


@dataclass(frozen=True)
class _Fields:
    """The field of every channel of a node: they have one step, and (C,) first and last pixels."""

    first: Pixels
    last: Pixels
    step: int

    def through(self, before: Pixels | int, extent: Pixels | int, stride: int) -> _Fields:
        """After a convolution that pads ``before`` pixels and reaches over ``extent``."""
        return _Fields(
            self.first - before * self.step,
            self.last + (extent - 1 - before) * self.step,
            self.step * stride,
        )

    def mixed(self, groups: Sequence[tuple[int, int]]) -> _Fields:
        """After a convolution whose outputs see every input channel of their group.

        ``groups`` has (input channels, output channels) of each.
        """
        ends = np.cumsum([inputs for inputs, _ in groups])
        starts = ends - [inputs for inputs, _ in groups]
        first = [self.first[a:b].min() for a, b in zip(starts, ends, strict=True)]
        last = [self.last[a:b].max() for a, b in zip(starts, ends, strict=True)]
        outputs = [outputs for _, outputs in groups]
        return _Fields(np.repeat(first, outputs), np.repeat(last, outputs), self.step)

    def union(self, other: _Fields) -> _Fields:
        """Channel by channel the smallest field that covers both; they have the same step."""
        return _Fields(
            np.minimum(self.first, other.first), np.maximum(self.last, other.last), self.step
        )

    def of(self, channels: slice) -> Field:
        """The smallest field that covers those of some channels."""
        return Field(int(self.first[channels].min()), int(self.last[channels].max()), self.step)


def receptive_fields(graph: Graph, size: int) -> dict[str, tuple[Field, ...]]:
    """Node name -> its field along one side of ``size`` pixels, for each group of a MixConv.

    All other nodes have one, which covers those of all channels.  Worked out channel by channel,
    since a grouped 1x1 convolution hands on the fields of its own channels only.  A node after
    pooling sees everything: its step is 0.

    >>> from minimix.dialect import DIALECTS
    >>> from minimix.zoo import architecture, build
    >>> fields = receptive_fields(build(architecture("mixnet-s"), DIALECTS["timm"]), 224)
    >>> [field.size for field in fields["blocks.3.mixconv"]]
    [27, 35, 43]
    """
    shapes = {name: spec.shape for name, spec in graph.infer(1, size, size).items()}
    fields: dict[str, _Fields] = {}
    found: dict[str, tuple[Field, ...]] = {}
    for node in graph:
        read = [fields[source] for source in node.inputs]
        channels = shapes[node.name][-1]
        fields[node.name] = _fields(node, read, shapes, size)
        groups = [channels]
        if isinstance(node.operator, MixConv):
            groups = list(node.operator.group_channels(channels))
        ends = np.cumsum(groups)
        found[node.name] = tuple(
            fields[node.name].of(slice(end - group, end))
            for group, end in zip(groups, ends, strict=True)
        )
    return found


def _fields(node: Node, read: Sequence[_Fields], shapes: Mapping[str, Shape], size: int) -> _Fields:
    operator, channels = node.operator, shapes[node.name][-1]
    if isinstance(operator, Input):
        return _Fields(np.zeros(channels, np.int64), np.zeros(channels, np.int64), 1)
    if isinstance(operator, GlobalAveragePool | Linear):
        return _Fields(np.zeros(channels, np.int64), np.full(channels, size - 1), 0)
    _, entering, _, in_channels = shapes[node.inputs[0]]
    match operator:
        case Conv():
            before, extent = _reach(operator, entering, operator.kernel_size, 1)
            mixed = read[0].mixed([(in_channels, channels)])
            return mixed.through(before, extent, operator.stride)
        case Pointwise():
            return read[0].mixed(operator.group_shapes(in_channels))
        case MixConv():
            reaches = [
                _reach(operator, entering, kernel, dilation)
                for kernel, dilation in zip(operator.kernel_sizes, operator.dilations, strict=True)
            ]
            each = np.repeat(reaches, operator.group_channels(channels), axis=0)
            return read[0].through(each[:, 0], each[:, 1], operator.stride)
        case Add():
            return read[0].union(read[1])
        case _:
            return read[0]


def _reach(operator: Conv | MixConv, entering: int, kernel: int, dilation: int) -> tuple[int, int]:
    """Zeros before, and pixels that a kernel reaches over."""
    before, _ = pad_amounts(entering, kernel, operator.stride, operator.padding, dilation)
    return before, receptive_extent(kernel, dilation)
