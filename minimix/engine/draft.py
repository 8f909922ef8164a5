"""A plan in the making: what the phases ask for is noted here, and placed when all are known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from minimix.engine.layout import Layout
from minimix.engine.memory import ALIGNMENT, Request, assign
from minimix.engine.plan import RUNS, WEIGHTS, Buffer, Call, Gather, Item, Phase, Place, Plan
from minimix.graph import Graph, Node, TensorSpec


@dataclass(frozen=True)
class Machine:
    """What a plan depends on besides the graph.

    Attributes:
        width: floats per vector.
        registers: vector registers.
        threads: how many there will be; more of them get smaller items.
    """

    width: int
    registers: int
    threads: int = 1

    @property
    def vector_bytes(self) -> int:
        """Bytes of a vector."""
        return self.width * 4

    @property
    def tile_vectors(self) -> int:
        """Output vectors of a pointwise tile, at most."""
        return 3

    def tile_pixels(self, pixels: int) -> int:
        """Pixels of a pointwise tile: those that waste least, of these the nearest to eight.

        Where there are four, never fewer: so few sums would wait for each other, which costs more
        than pixels that are computed for nothing.
        """
        most = (self.registers - self.tile_vectors - 1) // self.tile_vectors
        least = min(pixels, max(4, most - 4))
        return min(range(least, most + 1), key=lambda m: (-(-pixels // m) * m, abs(m - 8)))

    @property
    def tile_outputs(self) -> int:
        """Outputs of a depthwise tile, at most: with the kernel's row they fill the registers."""
        return 14 if self.registers >= 32 else 6


@dataclass
class Draft:
    """The state that planning functions share.

    Attributes:
        keep: whether every result stays in memory to the end, for someone who looks.
    """

    graph: Graph
    specs: dict[str, TensorSpec]
    layout: dict[str, Layout]
    machine: Machine
    keep: bool = False
    phases: list[Phase] = field(default_factory=list)
    buffers: dict[str, Buffer] = field(default_factory=dict)
    gathers: list[Gather] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)
    scratch_bytes: int = 0
    _weights_floats: int = 0
    _known_runs: dict[tuple[int, ...], Place] = field(default_factory=dict)
    _alive: dict[str, Request] = field(default_factory=dict)

    def allocate(
        self, name: str, layout: Layout, height: int = 1, width: int = 1, *, is_map: bool = False
    ) -> Buffer:
        """Memory for a result, written by the phase that comes next."""
        pixels, slack = height * width, 0
        if pixels > 1:
            tile = self.machine.tile_pixels(pixels)
            slack = -(-pixels // tile) * tile - pixels
        buffer = Buffer(layout, height, width, slack, 0, is_map)
        self.buffers[name] = buffer
        self._alive[name] = Request(buffer.size_bytes, len(self.phases), len(self.phases))
        return buffer

    def result(self, node: Node) -> Buffer:
        """Memory for a node's own result."""
        shape = self.specs[node.name].shape
        is_map = len(shape) == 4
        height, width = (shape[1], shape[2]) if is_map else (1, 1)
        return self.allocate(node.name, self.layout[node.name], height, width, is_map=is_map)

    def place(self, name: str, block: int = 0) -> Place:
        """A block of a result, which stays alive up to the phase that comes next."""
        self._alive[name].last = len(self.phases)
        return Place(name, block * self.buffers[name].block_bytes)

    def gather(
        self,
        param: str | None,
        rows: Iterable[int],
        columns: Sequence[int],
        factor: float = 1.0,
    ) -> Place:
        """A piece of packed weights; pieces lie in the order of use."""
        piece = Gather(param, tuple(rows), tuple(columns), factor, self._weights_floats)
        self.gathers.append(piece)
        line = ALIGNMENT // 4
        self._weights_floats += -(-piece.floats // line) * line
        return Place(WEIGHTS, piece.offset * 4)

    @property
    def next_weights(self) -> Place:
        """Where the next piece will lie."""
        return Place(WEIGHTS, self._weights_floats * 4)

    def run_table(self, runs: Iterable[tuple[int, int]]) -> tuple[Place, int]:
        """(where a table of channel runs lies, how many there are)."""
        flat = tuple(number for run in runs for number in run)
        if flat not in self._known_runs:
            self._known_runs[flat] = Place(RUNS, len(self.runs) * 8)
            self.runs.extend(flat)
        return self._known_runs[flat], len(flat) // 2

    def bias(self, node: Node) -> Place:
        """A node's bias, lane by lane; zeros without one."""
        name = f"{node.name}.bias"
        param = name if name in self.graph.param_shapes else None
        return self.gather(param, (0,), self.layout[node.name].channel_of_lane)

    def phase(self, node: Node, work: str, items: Iterable[Item]) -> None:
        """Close a phase: the dearest items come first."""
        ordered = tuple(sorted(items, key=lambda item: -item.cost))
        self.phases.append(Phase(node.name, work, ordered))

    def finish(self) -> Plan:
        """Place every result in the arena."""
        last = len(self.phases)
        for name, request in self._alive.items():
            if self.keep or name in self.graph.outputs:
                request.last = last
            if self.keep:
                request.first = 0
        arena_bytes = assign(list(self._alive.values()))
        buffers = {
            name: buffer._replace(offset=self._alive[name].offset)
            for name, buffer in self.buffers.items()
        }
        return Plan(
            width=self.machine.width,
            phases=tuple(self.phases),
            buffers=buffers,
            gathers=tuple(self.gathers),
            runs=tuple(self.runs),
            arena_bytes=arena_bytes,
            scratch_bytes=self.scratch_bytes,
            weights_floats=self._weights_floats,
        )


def one(kernel: Call, cost: int) -> Item:
    """An item of a single call."""
    return Item((kernel,), cost)


def chunks(blocks: int, most: int) -> list[int]:
    """Blocks in chunks of at most ``most``, of sizes as even as can be.

    >>> chunks(7, 3), chunks(4, 3), chunks(1, 3)
    ([3, 2, 2], [2, 2], [1])
    """
    number = -(-blocks // most)
    small, larger = divmod(blocks, number)
    return [small + 1] * larger + [small] * (number - larger)
