"""The reference engine: one loop over the nodes.  Slow, plain, and the meaning of every graph."""

from __future__ import annotations

import numpy as np

from minimix.engine import Observe
from minimix.graph import Graph
from minimix.ops import Array, run_operator
from minimix.params import Params, check_shapes


class ReferenceEngine:
    """Run a graph on arrays, node by node, with the operators of ``minimix.ops``.

    Args:
        graph: what to compute.
        params: its parameters by full name.

    Raises:
        WeightsError: a parameter is missing, left over, or misshapen.
    """

    name = "reference"

    def __init__(self, graph: Graph, params: Params) -> None:
        check_shapes(graph, params)
        self.graph = graph
        self.params = {
            node.name: [params[name] for name in graph.param_names[node.name]] for node in graph
        }
        self._last_reader = {
            source: readers[-1] for source, readers in graph.readers.items() if readers
        }

    def prepare(self, height: int, width: int) -> None:
        """Do nothing: every picture is run alike."""

    def run(self, x: Array, observe: Observe | None = None) -> tuple[Array, ...]:
        """(N, H, W, C) -> the graph's outputs, in order.

        An intermediate array is let go when its last reader has run.

        Raises:
            GraphError: the picture's shape is none that the graph takes.
        """
        self.graph.check_input(x.shape)
        alive: dict[str, Array] = {}
        for node in self.graph:
            if node.inputs:
                inputs = [alive[source] for source in node.inputs]
                # What is no number stays visible in the result: that is the report of it.
                with np.errstate(over="ignore", invalid="ignore"):
                    alive[node.name] = run_operator(node.operator, self.params[node.name], *inputs)
            else:
                alive[node.name] = x
            if observe is not None:
                observe(node, alive[node.name])
            for source in set(node.inputs):
                if self._last_reader[source] == node.name and source not in self.graph.outputs:
                    del alive[source]
        return tuple(alive[name] for name in self.graph.outputs)
