"""A network as far as one node: nothing after it runs, and only its result is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from minimix.arrays import Array
from minimix.engine import EngineName, make_engine
from minimix.errors import UsageError
from minimix.graph import Graph
from minimix.model import Model


def cut_at(graph: Graph, name: str) -> Graph:
    """Return the part of a graph that one node depends on; it is the only output.

    Raises:
        UsageError: there is no such node.
    """
    if name not in graph:
        from difflib import get_close_matches

        close = get_close_matches(name, [node.name for node in graph], n=3) or ["pool", "stem.conv"]
        raise UsageError(
            f"node {name!r}: {graph.name} has none of that name; try {', '.join(close)}, or see "
            "the names in: minimix summary"
        )
    needed = {name}
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    nodes = tuple(node for node in graph if node.name in needed)
    return replace(graph, nodes=nodes, outputs=(name,))


class NodeOutput:
    """What one node of a model produces, for pictures of the model's size.

    Raises:
        UsageError: there is no such node.
    """

    def __init__(self, model: Model, node: str) -> None:
        self.model, self.node = model, node
        graph = cut_at(model.graph, node)
        params = {name: model.file.params[name] for name in graph.param_shapes}
        name: EngineName = "compiled" if model.engine.name == "compiled" else "reference"
        self.engine = make_engine(name, graph, params, threads=model.threads)
        shape = graph.infer(1, model.size, model.size)[node].shape
        self.shape: tuple[int, ...] = shape[1:]

    def prepare(self) -> None:
        """Plan and compile now, rather than at the first picture."""
        self.engine.prepare(self.model.size, self.model.size)

    def __call__(self, x: Array) -> Array:
        """(N, size, size, 3) -> (N, C) or (N, H, W, C), whatever the node's shape is."""
        (values,) = self.engine.run(np.ascontiguousarray(x, np.float32))
        return values
