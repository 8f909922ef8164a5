"""Theorem: a residual addition can be done by the 1x1 convolution whose result it adds.

``conv(x) + y`` is elementwise in the result: the sum is stored in place of the product.
"""

from __future__ import annotations

from dataclasses import replace

from minimix.fused import FusedPointwise
from minimix.graph import Graph, Node
from minimix.operators import Add, Operator, Pointwise
from minimix.params import Params
from minimix.passes.rewrite import absorb


def _fuse(producer: Node, reader: Node, _: int) -> Operator | None:
    if not isinstance(reader.operator, Add) or not isinstance(producer.operator, Pointwise):
        return None
    operator = FusedPointwise.of(producer.operator)
    return None if operator.residual or operator.pool else replace(operator, residual=True)


def fuse_residual(graph: Graph, params: Params) -> tuple[Graph, Params]:
    """Add inside the 1x1 convolution that comes last among the two summands."""
    return absorb(graph, _fuse)[0], params
