"""The one way in which passes change a graph: a node is absorbed by the node that it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeGuard

from minimix.graph import Graph, Node
from minimix.operators import Conv, MixConv, Operator, Pointwise

Fuse = Callable[[Node, Node, int], Operator | None]
"""(producer, reader, which of the reader's inputs it is) -> the operator that does both."""


def is_bare(operator: Operator) -> TypeGuard[Conv | MixConv | Pointwise]:
    """Whether an operator ends with its own products and bias, so that more can be appended."""
    return (
        isinstance(operator, Conv | MixConv | Pointwise)
        and operator.activation is None
        and not getattr(operator, "residual", False)
        and not getattr(operator, "pool", False)
    )


def absorb(graph: Graph, fuse: Fuse) -> tuple[Graph, dict[str, str]]:
    """Merge every reader into its producer where ``fuse`` knows an operator for both.

    The producer must have no other reader and be no output, and the reader's other inputs must
    exist before the producer runs: they become the producer's last inputs.  The merged node keeps
    the producer's name.  Each producer absorbs one reader at most.

    Returns:
        The new graph, and absorbed name -> the name of the node that now stands for it.
    """
    position = {node.name: n for n, node in enumerate(graph)}
    merged: dict[str, Node] = {}
    absorbed: dict[str, str] = {}
    for reader in graph:
        for n, source in enumerate(reader.inputs):
            producer = graph[source]
            others = reader.inputs[:n] + reader.inputs[n + 1 :]
            if (
                graph.readers[source] != (reader.name,)
                or source in graph.outputs
                or source in merged
                or source in absorbed
                or any(position[other] >= position[source] for other in others)
            ):
                continue
            operator = fuse(producer, reader, n)
            if operator is not None:
                merged[source] = replace(
                    producer, operator=operator, inputs=producer.inputs + others
                )
                absorbed[reader.name] = source
                break
    nodes = [merged.get(node.name, node) for node in graph if node.name not in absorbed]
    renamed = tuple(
        replace(node, inputs=tuple(absorbed.get(source, source) for source in node.inputs))
        for node in nodes
    )
    outputs = tuple(absorbed.get(name, name) for name in graph.outputs)
    return Graph(graph.name, renamed, outputs), absorbed
