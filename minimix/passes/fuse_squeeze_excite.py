"""Theorem: gating channels before a 1x1 convolution can be done inside of it.

``(x * gates) @ W = x @ (gates[:, None] * W)``: each input channel's gate can multiply the
activations or the weights, whichever are fewer.  The squeeze-excite node becomes a node that
computes its gates alone.
"""

from __future__ import annotations

from dataclasses import replace

from minimix.fused import FusedPointwise, Gates
from minimix.graph import Graph, Node
from minimix.operators import Pointwise, SqueezeExcite
from minimix.params import Params


def _fusable(graph: Graph, node: Node) -> bool:
    """Whether ``node`` is a squeeze-excite that only one plain 1x1 convolution reads, first."""
    if not isinstance(node.operator, SqueezeExcite) or isinstance(node.operator, Gates):
        return False
    if len(graph.readers[node.name]) != 1 or node.name in graph.outputs:
        return False
    reader = graph[graph.readers[node.name][0]]
    return (
        isinstance(reader.operator, Pointwise)
        and reader.inputs[0] == node.name
        and not getattr(reader.operator, "gated", False)
    )


def fuse_squeeze_excite(graph: Graph, params: Params) -> tuple[Graph, Params]:
    """Let 1x1 convolutions apply the gates of the squeeze-excite that they read."""
    gated = {node.name for node in graph if _fusable(graph, node)}
    nodes = []
    for node in graph:
        operator = node.operator
        if node.name in gated and isinstance(operator, SqueezeExcite):
            node = replace(node, operator=Gates(operator.reduced_channels, operator.activation))
        elif gated.intersection(node.inputs[:1]) and isinstance(operator, Pointwise):
            source = graph[node.inputs[0]].inputs[0]
            node = replace(
                node,
                operator=replace(FusedPointwise.of(operator), gated=True),
                inputs=(source, *node.inputs),
            )
        nodes.append(node)
    return Graph(graph.name, tuple(nodes), graph.outputs), params
