"""How long an inference takes, and each collapsed node of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minimix.arrays import Array
from minimix.collapsed import Collapsed
from minimix.node_times import node_times

if TYPE_CHECKING:
    from minimix.model import Model

SECONDS = 0.4
"""For whole inferences; dividing them among the nodes takes about three times as long."""

ROUNDS, MOST_RUNS = 5, 20
"""Rounds of the measurement, and inferences of a round."""


@dataclass(frozen=True)
class NodeTimes:
    """Measured times.

    Attributes:
        runs: inferences that were timed.
        inference_ms: the median of whole inferences.
        by_node: the median by name of the collapsed node; what is done inside of another is not
            here.
    """

    runs: int
    inference_ms: float
    by_node: dict[str, float]

    def home(self, node: Collapsed, nodes: Sequence[Collapsed]) -> str | None:
        """The node that does this one's work too, for one without a time of its own."""
        if node.name in self.by_node or not node.inputs:
            return None
        # A fused node stands where its last input did: see ``minimix.passes``.
        order = [other.name for other in nodes]
        source = max(node.inputs, key=order.index)
        if source in self.by_node:
            return source
        return self.home(nodes[order.index(source)], nodes)


def measure(model: Model, x: Array, nodes: Sequence[Collapsed]) -> NodeTimes:
    """Time inferences of one picture, (1, H, W, 3), on the model's engine and threads.

    Whole inferences and divided ones take turns, so that they meet the machine in the same mood.
    """
    model.run(x)
    runs = int(min(max(SECONDS / ROUNDS * 1000 / _whole(model, x, 1), 1), MOST_RUNS))
    divided = _phases if model.engine.name == "compiled" else _nodes
    root = {member.name: node.name for node in nodes for member in node.members}
    wholes: list[float] = []
    by_node: dict[str, list[float]] = {}
    for n in range(ROUNDS):
        wholes.append(_whole(model, x, runs))
        for name, elapsed_ms in divided(model, x, runs):
            times = by_node.setdefault(root[name], [0.0] * ROUNDS)
            times[n] += elapsed_ms
    medians = {name: float(np.median(times)) for name, times in by_node.items()}
    return NodeTimes(runs * ROUNDS, float(np.median(wholes)), medians)


def _whole(model: Model, x: Array, runs: int) -> float:
    """Median of whole inferences, in ms."""
    found = np.empty(runs, np.int64)
    for run in range(runs):
        begun = time.perf_counter_ns()
        model.run(x)
        found[run] = time.perf_counter_ns() - begun
    return float(np.median(found)) / 1e6


def _phases(model: Model, x: Array, runs: int) -> list[tuple[str, float]]:
    # Numba's engine, which the reference engine's users need not have.
    from minimix.engine.compiled import CompiledEngine
    from minimix.engine.profile import profile_phases

    assert isinstance(model.engine, CompiledEngine)
    return [(t.node, t.elapsed_ms) for t in profile_phases(model.engine, x[0], runs)]


def _nodes(model: Model, x: Array, runs: int) -> list[tuple[str, float]]:
    return [(node.name, elapsed_ms) for node, elapsed_ms in node_times(model, x, runs)]
