"""Theorem: the mean over all pixels can be taken while a 1x1 convolution makes them.

``mean(conv(x))`` needs one running sum per channel and never the feature map itself.
"""

from __future__ import annotations

from dataclasses import replace

from minimix.fused import FusedPointwise
from minimix.graph import Graph, Node
from minimix.operators import GlobalAveragePool, Operator, Pointwise
from minimix.params import Params
from minimix.passes.rewrite import absorb


def _fuse(producer: Node, reader: Node, _: int) -> Operator | None:
    if not isinstance(reader.operator, GlobalAveragePool):
        return None
    if not isinstance(producer.operator, Pointwise):
        return None
    return replace(FusedPointwise.of(producer.operator), pool=True)


def fuse_pool(graph: Graph, params: Params) -> tuple[Graph, Params]:
    """Pool inside the 1x1 convolution that makes the feature map."""
    return absorb(graph, _fuse)[0], params
