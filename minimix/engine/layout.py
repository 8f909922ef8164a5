"""Where channels lie: in blocks of V lanes, so that no vector mixes two groups or kernel sizes.

A feature map is stored as (blocks, pixels, V).  Its channels are cut into segments wherever any
node that touches it begins a new group; each segment fills whole blocks, the last one padded with
lanes that are always zero.  Maps that are added, or that a channel-wise node reads and writes,
share one layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

from minimix.fused import FusedPointwise
from minimix.graph import Graph, Node
from minimix.operators import (
    Activation,
    Add,
    BatchNorm,
    GlobalAveragePool,
    MixConv,
    Pointwise,
    SqueezeExcite,
)

RUN = 4
"""Channels are read in runs of this many; padding lanes fill the last run."""


@dataclass(frozen=True)
class Layout:
    """The channels of one feature map in blocks of ``width`` lanes.

    >>> Layout((20, 20), 16).lanes[18:22]
    (18, 19, 32, 33)
    """

    segments: tuple[int, ...]
    width: int

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """First lane of each segment."""
        blocks = (-(-channels // self.width) for channels in self.segments)
        return (0, *accumulate(n * self.width for n in blocks))[: len(self.segments)]

    @cached_property
    def lanes(self) -> tuple[int, ...]:
        """Lane of each channel."""
        return tuple(
            start + c
            for start, channels in zip(self.starts, self.segments, strict=True)
            for c in range(channels)
        )

    @property
    def channels(self) -> int:
        """How many channels there are."""
        return sum(self.segments)

    @cached_property
    def blocks(self) -> int:
        """How many blocks of ``width`` lanes."""
        return sum(-(-channels // self.width) for channels in self.segments)

    @cached_property
    def channel_of_lane(self) -> tuple[int, ...]:
        """Channel of each lane, -1 for padding."""
        found = [-1] * (self.blocks * self.width)
        for channel, lane in enumerate(self.lanes):
            found[lane] = channel
        return tuple(found)

    def block_range(self, first: int, channels: int) -> tuple[int, int]:
        """Blocks that hold ``channels`` channels from ``first`` on, which begins a segment."""
        return self.lanes[first] // self.width, self.lanes[first + channels - 1] // self.width + 1

    def runs(self, first: int, channels: int) -> list[tuple[int, int, int]]:
        """(block, first lane within it, runs of ``RUN`` lanes) that cover some channels in order.

        >>> Layout((20,), 16).runs(0, 20)
        [(0, 0, 4), (1, 0, 1)]
        """
        lanes = self.lanes[first : first + channels]
        found: list[tuple[int, int, int]] = []
        n = 0
        while n < len(lanes):
            block, lane = divmod(lanes[n], self.width)
            count = 1
            while (
                n + count < len(lanes)
                and lanes[n + count] == lanes[n] + count
                and lane + count < self.width
            ):
                count += 1
            found.append((block, lane, -(-count // RUN)))
            n += count
        return found

    def rows(self, first: int, channels: int) -> tuple[int, ...]:
        """Channel of each lane that ``runs`` covers, counted from ``first``; -1 for padding."""
        covered = []
        for block, lane, steps in self.runs(first, channels):
            for position in range(lane, lane + steps * RUN):
                channel = self.channel_of_lane[block * self.width + position]
                covered.append(channel - first if channel >= 0 else -1)
        return tuple(covered)


def _tied(node: Node) -> list[str]:
    """Maps that share the layout of the node's result."""
    operator = node.operator
    if isinstance(operator, FusedPointwise):
        return list(node.inputs[-1:]) if operator.residual else []
    if isinstance(
        operator, MixConv | BatchNorm | Activation | SqueezeExcite | Add | GlobalAveragePool
    ):
        return list(node.inputs)
    return []


def _cuts(channels: tuple[int, ...]) -> set[int]:
    return set(accumulate(channels[:-1]))


def _steps_off(found: set[int], cut: int) -> int:
    """Channels between a cut and the last run that begins before it."""
    return (cut - max({0} | {c for c in found if c <= cut})) % RUN


def layouts(graph: Graph, width: int) -> dict[str, Layout]:
    """Layout of every node's result but the image's, which stays as it comes."""
    parent = {node.name: node.name for node in graph}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    specs = graph.infer(1, graph.input.smallest, graph.input.smallest)
    channels = {name: spec.shape[-1] for name, spec in specs.items()}
    for node in graph:
        for other in _tied(node):
            parent[root(other)] = root(node.name)
        if isinstance(node.operator, FusedPointwise) and node.operator.gated:
            parent[root(node.inputs[1])] = root(node.inputs[0])
    cuts: dict[str, set[int]] = {root(node.name): set() for node in graph}
    for node in graph:
        if isinstance(node.operator, Pointwise):
            pairs = node.operator.group_shapes(channels[node.inputs[0]])
            cuts[root(node.name)] |= _cuts(tuple(o for _, o in pairs))
        elif isinstance(node.operator, MixConv):
            cuts[root(node.name)] |= _cuts(node.operator.group_channels(channels[node.name]))
    begins = [
        (cuts[root(node.inputs[0])], cut)
        for node in graph
        if isinstance(node.operator, Pointwise)
        for cut in _cuts(tuple(i for i, _ in node.operator.group_shapes(channels[node.inputs[0]])))
    ]
    # A group may begin within a block, but only where a run of channels does; a cut moves the
    # runs behind it, so that groups that began with one may no longer do so.
    while amiss := [(found, cut) for found, cut in begins if _steps_off(found, cut)]:
        found, cut = amiss[0]
        found.add(cut)
    return {
        node.name: Layout(
            tuple(
                b - a for a, b in pairwise(sorted({0, channels[node.name]} | cuts[root(node.name)]))
            ),
            width,
        )
        for node in graph.nodes[1:]
    }
