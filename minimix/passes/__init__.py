"""Rewrites of a network that keep its meaning: ``(Graph, Params) -> (Graph, Params)``.

Each file holds one theorem and never changes what it is given.
"""

from __future__ import annotations

from collections.abc import Callable

from minimix.graph import Graph
from minimix.params import Params
from minimix.passes.fold_batchnorm import fold_batchnorm
from minimix.passes.fuse_activation import fuse_activation
from minimix.passes.fuse_pool import fuse_pool
from minimix.passes.fuse_residual import fuse_residual
from minimix.passes.fuse_squeeze_excite import fuse_squeeze_excite

__all__ = [
    "PASSES",
    "Pass",
    "fold_batchnorm",
    "fuse_activation",
    "fuse_pool",
    "fuse_residual",
    "fuse_squeeze_excite",
    "optimize",
]

Pass = Callable[[Graph, Params], tuple[Graph, Params]]

PASSES: tuple[Pass, ...] = (
    fold_batchnorm,
    fuse_activation,
    fuse_squeeze_excite,
    fuse_residual,
    fuse_pool,
)
"""All passes, in the order in which ``optimize`` applies them."""


def optimize(graph: Graph, params: Params) -> tuple[Graph, Params]:
    """Apply every pass in turn; the result computes the same logits with fewer nodes."""
    for rewrite in PASSES:
        graph, params = rewrite(graph, params)
    return graph, params
