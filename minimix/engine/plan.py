"""A plan: everything the compiled engine will do for one input size, in integers.

Phases run one after another; the items of a phase in any order, on any thread; the calls of an
item in order, on one.  A call is a kernel and a row of arguments: numbers, and places in one of
the memories below.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from minimix.engine.kernels.builder import Emitter
from minimix.engine.layout import Layout

WEIGHTS, RUNS, SCRATCH, IMAGE = "(weights)", "(runs)", "(scratch)", "(image)"
"""Memories besides the nodes' results: packed weights, tables of channel runs, each thread's own,
and the caller's picture."""


class Place(NamedTuple):
    """So many bytes from the start of a memory: one of the above, or a node's result."""

    memory: str
    offset: int = 0

    def plus(self, bytes_: int) -> Place:
        """A place further on."""
        return Place(self.memory, self.offset + bytes_)


class Call(NamedTuple):
    """A kernel and its row of arguments."""

    kernel: Emitter
    arguments: tuple[int | Place, ...]


class Item(NamedTuple):
    """Calls that one thread makes in a row; the cost orders items within a phase."""

    calls: tuple[Call, ...]
    cost: int


class Phase(NamedTuple):
    """Items that may run at the same time, and the node that they compute."""

    node: str
    work: str
    items: tuple[Item, ...]


class Gather(NamedTuple):
    """How a piece of packed weights is made: ``source[rows][:, columns] * factor``, 0 for -1.

    The source is reshaped to two dimensions, the last one kept.
    """

    param: str | None
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    factor: float
    offset: int

    @property
    def floats(self) -> int:
        """Size of the piece."""
        return len(self.rows) * len(self.columns)


class Buffer(NamedTuple):
    """A node's result in the arena: (blocks, pixels + slack, V)."""

    layout: Layout
    height: int
    width: int
    slack: int
    offset: int
    is_map: bool

    @property
    def pixels(self) -> int:
        """Pixels of the feature map."""
        return self.height * self.width

    @property
    def block_bytes(self) -> int:
        """From one block to the next."""
        return (self.pixels + self.slack) * self.layout.width * 4

    @property
    def size_bytes(self) -> int:
        """All of it."""
        return self.layout.blocks * self.block_bytes


@dataclass(frozen=True)
class Plan:
    """What to do for a batch of one picture of one size.

    Attributes:
        width: floats per vector.
        buffers: of the results that exist in memory, by node.
        runs: the integers of the table of channel runs.
    """

    width: int
    phases: tuple[Phase, ...]
    buffers: dict[str, Buffer]
    gathers: tuple[Gather, ...]
    runs: tuple[int, ...]
    arena_bytes: int
    scratch_bytes: int
    weights_floats: int

    @property
    def calls(self) -> Iterator[Call]:
        """All calls in order."""
        return (call for phase in self.phases for item in phase.items for call in item.calls)

    @cached_property
    def kernels(self) -> dict[str, Emitter]:
        """Every kernel that is called, by name."""
        return {call.kernel.name: call.kernel for call in self.calls}

    @property
    def weights_bytes(self) -> int:
        """Size of the packed weights."""
        return self.weights_floats * 4

    def describe(self) -> str:
        """Return the plan as text: phases, their kernels, buffers, bytes."""
        lines = []
        for n, phase in enumerate(self.phases):
            kernels = Counter(call.kernel.name for item in phase.items for call in item.calls)
            listed = ", ".join(f"{count}x {name}" for name, count in kernels.items())
            lines.append(
                f"{n:3d} {phase.node:22s} {phase.work:16s} {len(phase.items):3d} items  {listed}"
            )
        lines += ["", "buffers: blocks x pixels x floats a vector, where they lie in the arena"]
        lines += [
            f"    {name:28s} {buffer.layout.blocks:3d} x {buffer.pixels + buffer.slack:5d} x "
            f"{self.width:2d} = {buffer.size_bytes:9,} bytes at {buffer.offset:9,}"
            for name, buffer in self.buffers.items()
        ]
        lines.append("")
        lines.append(
            f"{len(self.phases)} phases, {len(self.kernels)} kernels; weights "
            f"{self.weights_bytes:,} bytes, activations {self.arena_bytes:,} bytes, scratch "
            f"{self.scratch_bytes:,} bytes a thread"
        )
        return "\n".join(lines)
