"""Where an inference's time goes, phase by phase of the plan, with the multiply-adds of each.

Each phase is put up as a job of its own, in order and on the same memory, so that kernels, data
and caches are those of an ordinary run.  What an empty hand-over costs is measured and taken off.
A phase that computes two nodes, an expansion and the MixConv that reads it, is divided as the
times of its calls for either are.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minimix.arrays import Array
from minimix.engine.compiled import CompiledEngine, Context, Prepared
from minimix.engine.kernels import job as at
from minimix.engine.plan import Phase
from minimix.engine.pool import shared_pool
from minimix.graph import Graph


@dataclass(frozen=True)
class PhaseTime:
    """What one phase computed of one node, and how long it took.

    Attributes:
        node: the node of the optimised graph.
        kind: of that node.
        work: the phase's part of it, such as ``gate weights``.
        macs: multiply-adds, without padding; 0 where another phase of the node has them.
        elapsed_ms: the median.
    """

    node: str
    kind: str
    work: str
    macs: int
    elapsed_ms: float


_Share = tuple[str, str, NDArray[np.int64]]
"""A node, what is done for it, and the ranges of rows of the table that do it."""


def profile_phases(engine: CompiledEngine, picture: Array, runs: int) -> list[PhaseTime]:
    """Time every phase of an inference, the median of some runs.

    Args:
        engine: whose plan for the picture's size is measured, on the engine's threads.
        picture: (H, W, C) contiguous float32.
        runs: how many inferences to time; at least 1.
    """
    H, W, _ = picture.shape
    prepared = engine.prepare(H, W)
    context = prepared._new_context()
    context.set_image(picture.ctypes.data)
    shares = list(_shares(engine.fused, prepared))
    wholes = [_Job(context, prepared._items[a:b]) for a, b in prepared._phases]
    parts = [[_Job(context, rows) for _, _, rows in found] for found in shares]
    empty = _Job(context, prepared._items[:0])
    times = np.empty((runs + 1, len(wholes), 2), np.int64)
    part_times = [np.zeros((runs + 1, len(found)), np.int64) for found in shares]
    for run in range(runs + 1):  # the first one warms up
        for n, whole in enumerate(wholes):
            empty.run(prepared.threads)  # brings Python's own code back into the cache
            times[run, n] = empty.run(prepared.threads), whole.run(prepared.threads)
            if len(parts[n]) > 1:
                part_times[n][run] = [part.run(prepared.threads) for part in parts[n]]
                whole.run(prepared.threads)  # computes right again what parts have computed wrong
    idle, busy = np.median(times[1:], axis=0).T
    spent = np.maximum(busy - idle, 0) / 1e6
    divided = [_divided(total, each[1:]) for total, each in zip(spent, part_times, strict=True)]
    return _phase_times(engine.fused, shares, divided, H, W)


class _Job:
    """A phase of its own: items of a context's tables, in any order."""

    def __init__(self, context: Context, items: NDArray[np.int64]) -> None:
        self._items = np.ascontiguousarray(items)
        self._phase = np.array([[0, len(items)]], np.int64)
        self._job = context.job.copy()
        self._job[at.ITEMS // 8] = self._items.ctypes.data
        self._job[at.PHASES // 8] = self._phase.ctypes.data
        self._job[at.PHASE_COUNT // 8] = 1
        self._address = self._job.ctypes.data

    def run(self, threads: int) -> int:
        """Do it; the nanoseconds that it took."""
        pool = shared_pool()
        started = time.perf_counter_ns()
        pool.run(self._address, threads)
        return time.perf_counter_ns() - started


def _shares(graph: Graph, prepared: Prepared) -> Iterator[list[_Share]]:
    """For each phase the nodes that it computes: one, or an expansion and its reader."""
    for phase, (first, last) in zip(prepared.plan.phases, prepared._phases, strict=True):
        items = prepared._items[first:last]
        if phase.work != "expand+depthwise":
            yield [(phase.node, phase.work, items)]
            continue
        rows = np.concatenate([np.arange(a, b) for a, b in items])
        is_depthwise = np.array(_are_depthwise(phase))
        (expand,) = graph[phase.node].inputs
        yield [
            (expand, "expand", _ranges(rows[~is_depthwise])),
            (phase.node, "depthwise", _ranges(rows[is_depthwise])),
        ]


def _are_depthwise(phase: Phase) -> list[bool]:
    names = [call.kernel.name for item in phase.items for call in item.calls]
    return [name.startswith("depthwise") for name in names]


def _ranges(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows -> an item for each."""
    return np.stack([rows, rows + 1], axis=1)


def _divided(total: float, part_times: NDArray[np.int64]) -> NDArray[np.float64]:
    """Divide a phase's time as the times of its parts are to each other."""
    if part_times.shape[1] == 1:
        return np.array([total])
    medians = np.median(part_times, axis=0)
    return np.asarray(total * medians / medians.sum(), np.float64)


def _phase_times(
    graph: Graph,
    shares: list[list[_Share]],
    divided: list[NDArray[np.float64]],
    height: int,
    width: int,
) -> list[PhaseTime]:
    """Put together what is known; a node's multiply-adds go to its last phase."""
    macs = graph.macs(height, width)
    flat = [
        (node, work, float(elapsed_ms))
        for found, spent in zip(shares, divided, strict=True)
        for (node, work, _), elapsed_ms in zip(found, spent, strict=True)
    ]
    last = {node: n for n, (node, _, _) in enumerate(flat)}
    return [
        PhaseTime(node, graph[node].kind, work, macs[node] * (last[node] == n), elapsed_ms)
        for n, (node, work, elapsed_ms) in enumerate(flat)
    ]
