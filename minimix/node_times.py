"""How long each node of a graph takes, seen from outside: by an observer's clock."""

from __future__ import annotations

import time
from typing import Protocol

import numpy as np

from minimix.arrays import Array
from minimix.engine import Observe
from minimix.graph import Graph, Node


class Runs(Protocol):
    """What runs a graph node by node, as ``Model`` does."""

    graph: Graph

    def run(self, x: Array, observe: Observe | None = None) -> Array:
        """(N, H, W, 3) -> (N, classes); ``observe(node, array)`` sees every node."""


def node_times(model: Runs, x: Array, runs: int) -> list[tuple[Node, float]]:
    """(N, H, W, 3) -> the median time of every node but the input, in ms, in order.

    Between two calls of the observer lies one node.
    """
    nodes = model.graph.nodes
    marks = np.empty((runs, len(nodes)), np.int64)
    for run in range(runs):
        ended: list[int] = []

        def observe(node: Node, array: Array, ended: list[int] = ended) -> None:
            ended.append(time.perf_counter_ns())

        model.run(x, observe)
        marks[run] = ended
    spent = np.median(np.diff(marks, axis=1), axis=0) / 1e6
    return [(node, float(ms)) for node, ms in zip(nodes[1:], spent, strict=True)]
