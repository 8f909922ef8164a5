"""The compiled engine: plans a graph for each input size, and runs the plans.

The graph is optimised first; whoever observes gets a second plan of the graph as it was built,
in which every node's result exists.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minimix.arrays import Array
from minimix.cores import thread_count
from minimix.engine import Observe
from minimix.engine.draft import Machine
from minimix.engine.kernels import job as at
from minimix.engine.kernels.library import KernelLibrary, host_library
from minimix.engine.packing import SLACK_BYTES, aligned, call_table, pack_weights
from minimix.engine.plan import RUNS, SCRATCH, WEIGHTS, Plan
from minimix.engine.planner import plan
from minimix.engine.pool import for_each, shared_pool
from minimix.graph import Graph
from minimix.params import Params, check_shapes
from minimix.passes import optimize

PLANS_KEPT = 4
"""Input sizes that stay planned; another one replaces the one not used for longest."""


_planning = threading.RLock()
"""One plan is made at a time.  A process forks between two: LLVM's locks are free in the child."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_planning.acquire,
        after_in_parent=_planning.release,
        after_in_child=_planning.release,
    )


@dataclass
class Context:
    """The memory of one inference at a time: activations, tables, the job."""

    memories: list[NDArray[np.uint8]]
    arena: NDArray[np.uint8]
    tables: NDArray[np.int64]
    image_arguments: NDArray[np.int64]
    job: NDArray[np.int64]

    def set_image(self, address: int) -> None:
        """Point every call that reads the picture to it."""
        rows, words = self.image_arguments.T
        self.tables[:, rows, words] = address


class Prepared:
    """A plan with its weights packed, and contexts to run it in."""

    def __init__(self, plan_: Plan, params: Params, library: KernelLibrary, threads: int) -> None:
        self.plan = plan_
        self.threads = threads
        self._addresses = library.addresses(plan_.kernels)
        self._library = library
        self._weights = pack_weights(plan_, params)
        self._runs = np.array([*plan_.runs, 0], np.int64)
        self._items, self._phases = self._ranges()
        self._idle: list[Context] = []

    def _ranges(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of each item, items of each phase."""
        items: list[tuple[int, int]] = []
        phases: list[tuple[int, int]] = []
        row = 0
        for phase in self.plan.phases:
            first = len(items)
            for item in phase.items:
                items.append((row, row + len(item.calls)))
                row += len(item.calls)
            phases.append((first, len(items)))
        return np.array(items, np.int64), np.array(phases, np.int64)

    def _new_context(self) -> Context:
        plan_ = self.plan
        arena = aligned(plan_.arena_bytes + SLACK_BYTES)
        memories, tables, image = [], [], np.empty((0, 2), np.int64)
        for _ in range(self.threads):
            scratch = aligned(plan_.scratch_bytes + SLACK_BYTES)
            memories.append(scratch)
            bases = {
                RUNS: self._runs.ctypes.data,
                WEIGHTS: self._weights.ctypes.data,
                SCRATCH: scratch.ctypes.data,
                "arena": arena.ctypes.data,
            }
            table, image = call_table(plan_, self._addresses, bases)
            tables.append(table)
        stacked = np.stack(tables)
        counters = aligned(len(self._phases) * at.LINE)
        pointers = stacked.ctypes.data + np.arange(self.threads, dtype=np.int64) * stacked[0].nbytes
        memories += [counters, pointers.view(np.uint8)]
        job = np.zeros(at.JOB_BYTES // 8, np.int64)
        job[at.ITEMS // 8] = self._items.ctypes.data
        job[at.PHASES // 8] = self._phases.ctypes.data
        job[at.PHASE_COUNT // 8] = len(self._phases)
        job[at.COUNTERS // 8] = counters.ctypes.data
        job[at.TABLES // 8] = pointers.ctypes.data
        return Context(memories, arena, stacked, image, job)

    def run_batch(self, x: Array, names: tuple[str, ...]) -> list[list[Array]]:
        """(N, H, W, C) contiguous float32 -> for each picture the results of some nodes.

        One picture is divided among the threads; several are given to a thread each.
        """
        if len(x) == 1 or self.threads == 1:
            return [self.run(picture, names, self.threads) for picture in x]
        rows: list[list[Array]] = [[] for _ in x]

        def run_one(n: int) -> None:
            rows[n] = self.run(x[n], names, 1)

        for_each(len(x), self.threads, run_one)
        return rows

    def run(self, picture: Array, names: tuple[str, ...], threads: int) -> list[Array]:
        """(H, W, C) contiguous float32 -> the results of some nodes, (H, W, C) or (C,)."""
        try:
            context = self._idle.pop()
        except IndexError:
            context = self._new_context()
        context.set_image(picture.ctypes.data)
        if self.plan.phases:
            shared_pool().run(context.job.ctypes.data, threads)
        results = [self._result(context, name) for name in names]
        self._idle.append(context)
        return results

    def _result(self, context: Context, name: str) -> Array:
        buffer = self.plan.buffers[name]
        width = buffer.layout.width
        memory = context.arena[buffer.offset : buffer.offset + buffer.size_bytes]
        if not buffer.is_map and len(buffer.layout.segments) == 1:
            # A vector without gaps: most often the logits.
            return memory.view(np.float32)[: buffer.layout.channels].copy()
        blocks = memory.view(np.float32).reshape(buffer.layout.blocks, -1, width)
        # (blocks, pixels, V) -> (pixels, channels): a copy, the arena is used again.
        lanes = np.array(buffer.layout.lanes)
        values = blocks[lanes // width, : buffer.pixels, lanes % width].T
        shape = (buffer.height, buffer.width, len(lanes))
        return np.ascontiguousarray(values).reshape(shape if buffer.is_map else shape[-1:])


def host_machine(threads: int) -> Machine:
    """Return what plans for this machine depend on."""
    library = host_library()
    return Machine(library.width, library.registers, threads)


class CompiledEngine:
    """Run a graph with kernels that are compiled for this machine.

    Args:
        graph: what to compute.
        params: its parameters by full name.
        threads: how many to use; by default one per core that the process may use.

    Raises:
        WeightsError: a parameter is missing, left over, or misshapen.
        UsageError: the number of threads is impossible.
    """

    name = "compiled"

    def __init__(self, graph: Graph, params: Params, *, threads: int | None = None) -> None:
        check_shapes(graph, params)
        self.graph, self.params = graph, params
        self.fused, self.fused_params = optimize(graph, params)
        self.threads = thread_count(threads)
        self.library = host_library()
        self.machine = host_machine(self.threads)
        self._prepared: OrderedDict[tuple[int, int, bool], Prepared] = OrderedDict()
        self._checked_shape: tuple[int, ...] = ()

    def prepare(self, height: int, width: int, *, keep: bool = False) -> Prepared:
        """Plan for an input size, compile what is missing, pack the weights; or find it done."""
        key = (height, width, keep)
        shared_pool()
        with _planning:
            if key not in self._prepared:
                graph, params = (
                    (self.graph, self.params) if keep else (self.fused, self.fused_params)
                )
                made = plan(graph, height, width, self.machine, keep=keep)
                self._prepared[key] = Prepared(made, params, self.library, self.threads)
            self._prepared.move_to_end(key)
            while len(self._prepared) > PLANS_KEPT:
                self._prepared.popitem(last=False)
            return self._prepared[key]

    def run(self, x: Array, observe: Observe | None = None) -> tuple[Array, ...]:
        """(N, H, W, C) -> the graph's outputs, in order.

        Raises:
            GraphError: the picture's shape is none that the graph takes.
        """
        if x.shape != self._checked_shape:
            self.graph.check_input(x.shape)
            self._checked_shape = x.shape
        x = np.ascontiguousarray(x, np.float32)
        if observe is not None:
            return self._run_observed(x, observe)
        prepared = self.prepare(*x.shape[1:3])
        image = self.graph.nodes[0].name
        names = tuple(name for name in self.fused.outputs if name != image)
        rows = prepared.run_batch(x, names)
        computed = (np.stack([row[n] for row in rows]) for n in range(len(names)))
        return tuple(x if name == image else next(computed) for name in self.fused.outputs)

    def _run_observed(self, x: Array, observe: Observe) -> tuple[Array, ...]:
        """Run the graph as it was built, with every node's result kept."""
        names = tuple(node.name for node in self.graph.nodes[1:])
        prepared = self.prepare(*x.shape[1:3], keep=True)
        rows = prepared.run_batch(x, names)
        results = {name: np.stack([row[n] for row in rows]) for n, name in enumerate(names)}
        results[self.graph.nodes[0].name] = x
        for node in self.graph:
            observe(node, results[node.name])
        return tuple(results[name] for name in self.graph.outputs)
