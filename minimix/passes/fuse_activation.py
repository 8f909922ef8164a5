"""Theorem: an activation after a convolution can be applied before the result is stored.

``activation(conv(x))`` is elementwise in the result, so the fused node computes the same numbers.
"""

from __future__ import annotations

from dataclasses import replace

from minimix.graph import Graph, Node
from minimix.operators import Activation, Operator
from minimix.params import Params
from minimix.passes.rewrite import absorb, is_bare


def _fuse(producer: Node, reader: Node, _: int) -> Operator | None:
    if not isinstance(reader.operator, Activation) or not is_bare(producer.operator):
        return None
    return replace(producer.operator, activation=reader.operator.function)


def fuse_activation(graph: Graph, params: Params) -> tuple[Graph, Params]:
    """Apply every activation inside the convolution that it follows."""
    return absorb(graph, _fuse)[0], params
