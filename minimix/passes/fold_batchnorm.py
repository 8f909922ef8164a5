"""Theorem: a convolution followed by batch norm is one convolution with a bias.

With ``scale = gamma / sqrt(variance + eps)``, for every output channel

    batch_norm(conv(x, weight) + bias) = conv(x, weight * scale) + beta + (bias - mean) * scale

because a convolution is linear in its weights.  It holds where nothing else reads the
convolution's own result.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from minimix.arrays import Array
from minimix.graph import Graph, Node
from minimix.operators import BatchNorm, Operator
from minimix.params import Params, frozen
from minimix.passes.rewrite import absorb, is_bare


def _fuse(producer: Node, reader: Node, _: int) -> Operator | None:
    if not isinstance(reader.operator, BatchNorm) or not is_bare(producer.operator):
        return None
    return replace(producer.operator, bias=True)


def _folded_params(graph: Graph, params: Params, norm: Node, conv: Node) -> dict[str, Array]:
    """Return the convolution's new weights and bias, worked out in float64."""
    assert isinstance(norm.operator, BatchNorm)
    gamma, beta, mean, variance = (
        params[name].astype(np.float64) for name in graph.param_names[norm.name]
    )
    scale = gamma / np.sqrt(variance + norm.operator.eps)
    folded: dict[str, Array] = {}
    bias, first = np.zeros_like(mean), 0
    for name in graph.param_names[conv.name]:
        if name.endswith(".bias"):
            bias = params[name].astype(np.float64)
            continue
        channels = params[name].shape[-1]  # of this group
        folded[name] = (params[name] * scale[first : first + channels]).astype(np.float32)
        first += channels
    folded[f"{conv.name}.bias"] = (beta + (bias - mean) * scale).astype(np.float32)
    return folded


def fold_batchnorm(graph: Graph, params: Params) -> tuple[Graph, Params]:
    """Fold every batch norm that directly follows a convolution; the logits stay.

    A batch norm that cannot be folded stays where it is.
    """
    folded, absorbed = absorb(graph, _fuse)
    if not absorbed:
        return graph, params
    new_params = {
        name: params[name]
        for node in graph
        if node.name not in absorbed
        for name in graph.param_names[node.name]
    }
    for norm, conv in absorbed.items():
        new_params |= _folded_params(graph, params, graph[norm], graph[conv])
    # A batch norm behind the one that is gone may now follow the convolution.
    return fold_batchnorm(folded, frozen(new_params))
