"""What each kernel of a plan reads and writes, derived again from its description.

A map lies in memory as vectors of V floats; everything here counts vectors.  ``Replay`` runs a
plan without computing anything: it notes who wrote each vector of each result, and checks what
the plan promises.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from minimix.engine.kernels.conv import DepthwiseKernel, StemKernel
from minimix.engine.kernels.elementwise import Activate, AddPlanes, MeanOfPlane, NormalizePlane
from minimix.engine.kernels.head import GateActivations, GateWeights
from minimix.engine.kernels.pointwise import PointwiseKernel
from minimix.engine.packing import SLACK_BYTES
from minimix.engine.plan import IMAGE, SCRATCH, WEIGHTS, Place

MEMORIES = (IMAGE, SCRATCH, WEIGHTS)
INNER = 4
"""Input channels per step of a run."""

Span = tuple[str, int, int]
"""Memory, first vector, last vector + 1."""


@dataclass
class Touched:
    """What a call reads and writes, and the bytes of packed weights that it reads."""

    reads: list[Span] = field(default_factory=list)
    writes: list[Span] = field(default_factory=list)
    weights: list[tuple[int, int]] = field(default_factory=list)


class Spans:
    """Collects what one call touches."""

    def __init__(self, plan) -> None:
        self.plan, self.step = plan, plan.width * 4
        self.touched = Touched()

    def span(self, place: Place, vectors: int, first: int = 0) -> Span:
        assert isinstance(place, Place)
        offset, rest = divmod(place.offset, self.step)
        assert rest == 0, f"{place} is not aligned to vectors"
        return place.memory, offset + first, offset + first + vectors

    def read(self, place: Place, vectors: int, first: int = 0) -> None:
        if place.memory == WEIGHTS:
            self.touched.weights.append((place.offset, place.offset + vectors * self.step))
        elif place.memory != IMAGE:
            self.touched.reads.append(self.span(place, vectors, first))

    def write(self, place: Place, vectors: int, first: int = 0) -> None:
        assert place.memory not in (IMAGE, WEIGHTS)
        self.touched.writes.append(self.span(place, vectors, first))

    def run_table(self, place: Place, count: int) -> list[tuple[int, int]]:
        """(offset in bytes, steps) of each run, every one of them within a block of lanes."""
        assert place.memory == "(runs)" and place.offset % 16 == 0
        first = place.offset // 8
        assert 0 <= first and first + 2 * count <= len(self.plan.runs)
        flat = self.plan.runs[first : first + 2 * count]
        return list(zip(flat[::2], flat[1::2], strict=True))

    def check_lanes(self, runs: list[tuple[int, int]]) -> None:
        for offset, steps in runs:
            assert steps > 0 and offset % self.step + steps * INNER * 4 <= self.step


def conv_rows(row, first, last, height, above):
    """(first, last + 1) row of the input that some rows of the output need."""
    extent = row.dilation * (row.kernel_size - 1) + 1
    low = max(0, first * row.stride - above)
    return low, max(low, min(height, (last - 1) * row.stride - above + extent))


def _stem(s: Spans, kernel: StemKernel, arguments) -> None:
    _, weights, bias, target, first, last, _, _ = arguments
    row = kernel.row
    s.read(weights, row.kernel_size**2 * kernel.channels)
    s.read(bias, 1)
    s.write(target, (last - first) * row.size_out, first * row.size_out)


def _depthwise(s: Spans, kernel: DepthwiseKernel, arguments) -> None:
    source, weights, bias, target, sums, first, last, height, above = arguments
    row = kernel.row
    low, high = conv_rows(row, first, last, height, above)
    s.read(source, (high - low) * row.size_in, low * row.size_in)
    s.read(weights, row.kernel_size**2)
    s.read(bias, 1)
    s.write(target, (last - first) * row.size_out, first * row.size_out)
    if kernel.pool:
        s.write(sums, 1)


def _pointwise(s: Spans, kernel: PointwiseKernel, arguments) -> None:
    source, runs, count, weights, bias, target, plane, residual, tiles, _ = arguments
    table, pixels = s.run_table(runs, count), tiles * kernel.pixels
    is_one_pixel = pixels == 1 and table[0][1] * INNER > s.plan.width
    if not is_one_pixel:
        s.check_lanes(table)
    for offset, steps in table:
        vectors = steps * INNER // s.plan.width if is_one_pixel else pixels
        s.read(source.plus(offset - offset % s.step), vectors)
    s.read(weights, sum(steps for _, steps in table) * INNER * kernel.vectors)
    if not kernel.joins:
        s.read(bias, kernel.vectors)
    for n in range(kernel.vectors):
        if kernel.more:
            s.read(target.plus(n * plane), 1)
        if kernel.joins:
            s.read(target.plus(n * plane), pixels)
        s.write(target.plus(n * plane), 1 if kernel.pool else pixels)
        if kernel.residual:
            assert not (kernel.pool and n), "a pooled residual has another stride"
            s.read(residual.plus(n * plane), pixels)


def _gate_weights(s: Spans, kernel: GateWeights, arguments) -> None:
    weights, runs, count, gates, target = arguments
    table = s.run_table(runs, count)
    s.check_lanes(table)
    size = sum(steps for _, steps in table) * INNER * kernel.vectors
    s.read(weights, size)
    for offset, _ in table:
        s.read(gates.plus(offset - offset % s.step), 1)
    s.write(target, size)


def _gate_activations(s: Spans, kernel: GateActivations, arguments) -> None:
    source, gates, target, pixels = arguments
    s.read(source, pixels)
    s.read(gates, 1)
    s.write(target, pixels)


def _activate(s: Spans, kernel: Activate, arguments) -> None:
    source, target, pixels = arguments
    s.read(source, pixels)
    s.write(target, pixels)


def _add(s: Spans, kernel: AddPlanes, arguments) -> None:
    a, b, target, pixels = arguments
    s.read(a, pixels)
    s.read(b, pixels)
    s.write(target, pixels)


def _normalize(s: Spans, kernel: NormalizePlane, arguments) -> None:
    source, *stored, target, pixels = arguments
    s.read(source, pixels)
    for place in stored:
        s.read(place, 1)
    s.write(target, pixels)


def _mean(s: Spans, kernel: MeanOfPlane, arguments) -> None:
    source, target = arguments
    s.read(source, kernel.pixels)
    s.write(target, 1)


MODELS = {
    StemKernel: _stem,
    DepthwiseKernel: _depthwise,
    PointwiseKernel: _pointwise,
    GateWeights: _gate_weights,
    GateActivations: _gate_activations,
    Activate: _activate,
    AddPlanes: _add,
    NormalizePlane: _normalize,
    MeanOfPlane: _mean,
}


def touched(plan, call) -> Touched:
    """What one call reads and writes."""
    spans = Spans(plan)
    MODELS[type(call.kernel)](spans, call.kernel, call.arguments)
    return spans.touched


class Replay:
    """Follows a plan, phase by phase.

    Attributes:
        lives: first and last phase in which each result is touched.
        weights: by phase, the bytes of packed weights that are read.
    """

    def __init__(self, plan) -> None:
        self.plan, self.step = plan, plan.width * 4
        self.lives: dict[str, tuple[int, int]] = {}
        self.weights: list[list[tuple[int, int]]] = []
        self._written = {
            name: np.zeros(buffer.size_bytes // self.step, bool)
            for name, buffer in plan.buffers.items()
        }
        for number, phase in enumerate(plan.phases):
            self._follow(number, phase)
        for name, buffer in plan.buffers.items():
            planes = self._written[name].reshape(buffer.layout.blocks, -1)
            assert planes[:, : buffer.pixels].all(), f"{name}: some pixels are never computed"

    def _pixels(self, span: Span) -> slice:
        """A span of a result, less the slack behind its plane, which may hold anything."""
        name, first, last = span
        buffer = self.plan.buffers[name]
        assert 0 <= first <= last
        assert last * self.step <= buffer.size_bytes + SLACK_BYTES // 2, f"{span} is far outside"
        per_block = buffer.block_bytes // self.step
        end = first // per_block * per_block + buffer.pixels
        return slice(first, min(last, end) if first < end else last)

    def _follow(self, number, phase) -> None:
        owner = {}
        touched_by_item = [
            [touched(self.plan, call) for call in item.calls] for item in phase.items
        ]
        self.weights.append([w for calls in touched_by_item for t in calls for w in t.weights])
        for n, calls in enumerate(touched_by_item):
            for name, first, last in (span for t in calls for span in t.writes):
                if name == SCRATCH:
                    continue
                assert 0 <= first and last * self.step <= self.plan.buffers[name].size_bytes
                self._live(name, number)
                who = owner.setdefault(name, np.full(len(self._written[name]), -1))
                taken = who[first:last]
                assert ((taken == -1) | (taken == n)).all(), f"{phase.node}: two items write {name}"
                who[first:last] = n
        for n, calls in enumerate(touched_by_item):
            self._check_reads(number, phase, n, calls, owner)
        for name, who in owner.items():
            self._written[name] |= who >= 0

    def _check_reads(self, number, phase, n, calls, owner) -> None:
        mine, scratch = {}, np.zeros(self.plan.scratch_bytes // self.step, bool)
        for t in calls:
            for span in t.reads:
                name, first, last = span
                if name == SCRATCH:
                    assert 0 <= first and last <= len(scratch), f"{phase.node}: outside of scratch"
                    assert scratch[first:last].all(), f"{phase.node}: strip too small"
                    continue
                self._live(name, number)
                part = self._pixels(span)
                ready = self._written[name][part]
                if name in mine:
                    ready = ready | mine[name][part]
                assert ready.all(), f"{phase.node}: reads {name} before it is there"
                if name in owner:
                    who = owner[name][part]
                    assert ((who == -1) | (who == n)).all(), f"{phase.node}: a race for {name}"
            for name, first, last in t.writes:
                if name == SCRATCH:
                    assert 0 <= first and last <= len(scratch)
                    scratch[first:last] = True
                else:
                    mine.setdefault(name, np.zeros_like(self._written[name]))[first:last] = True

    def _live(self, name, number) -> None:
        first, last = self.lives.get(name, (number, number))
        self.lives[name] = min(first, number), max(last, number)
