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
from minimix.operators import BatchNorm, Conv, MixConv, Pointwise
from minimix.params import Params, frozen


def _foldable(graph: Graph, node: Node) -> bool:
    """Whether ``node`` is a batch norm whose convolution has no other reader."""
    if not isinstance(node.operator, BatchNorm):
        return False
    source = graph[node.inputs[0]]
    return (
        isinstance(source.operator, Conv | MixConv | Pointwise)
        and graph.readers[source.name] == (node.name,)
        and source.name not in graph.outputs
    )


def _folded_params(graph: Graph, params: Params, norm: Node, conv: Node) -> dict[str, Array]:
    """The convolution's new weights and bias, worked out in float64."""
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

    Raises nothing of its own: a batch norm that cannot be folded stays where it is.
    """
    norms = {node.inputs[0]: node for node in graph if _foldable(graph, node)}
    absorbed = {node.name: source for source, node in norms.items()}
    nodes: list[Node] = []
    new_params: dict[str, Array] = {}
    for node in graph:
        if node.name in absorbed:
            continue
        inputs = tuple(absorbed.get(source, source) for source in node.inputs)
        if node.name in norms:
            node = replace(node, operator=replace(node.operator, bias=True))  # type: ignore[call-arg]
            new_params |= _folded_params(graph, params, norms[node.name], node)
        else:
            new_params |= {name: params[name] for name in graph.param_names[node.name]}
        nodes.append(replace(node, inputs=inputs))
    outputs = tuple(absorbed.get(name, name) for name in graph.outputs)
    return Graph(graph.name, tuple(nodes), outputs), frozen(new_params)
