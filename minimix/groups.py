"""The groups of a convolution: output channels that share a kernel size, with their kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minimix.arrays import Array
from minimix.collapsed import Collapsed
from minimix.geometry import pad_amounts
from minimix.graph import Graph
from minimix.operators import Conv, MixConv, Pointwise
from minimix.params import Params
from minimix.receptive import Field


@dataclass(frozen=True)
class Group:
    """Output channels that share a kernel size.

    Attributes:
        weight: (K, K, channels), of a full convolution (K, K, Cin, channels); None for 1x1.
    """

    first: int
    channels: int
    kernel_size: int
    dilation: int
    stride: int
    pad: tuple[int, int]
    field: Field
    weight: Array | None

    def kernel(self, channel: int) -> Array:
        """(K, K) of an output channel, (K, K, Cin) of a full convolution."""
        assert self.weight is not None
        return self.weight[..., channel - self.first]


def groups_of(
    node: Collapsed, graph: Graph, params: Params, in_side: int, fields: Sequence[Field]
) -> tuple[Group, ...]:
    """Groups of a convolution whose input has that many pixels along a side; none of others."""
    operator = node.root.operator
    weights = [params[name] for name in graph.param_names[node.name] if not name.endswith(".bias")]
    if isinstance(operator, Pointwise):
        sizes = [weight.shape[-1] for weight in weights]
        return tuple(
            Group(first, channels, 1, 1, 1, (0, 0), fields[0], None)
            for first, channels in zip(_firsts(sizes), sizes, strict=True)
        )
    if not isinstance(operator, Conv | MixConv):
        return ()
    dilations = operator.dilations if isinstance(operator, MixConv) else (1,)
    sizes = [weight.shape[-1] for weight in weights]
    return tuple(
        Group(
            first,
            weight.shape[-1],
            len(weight),
            dilation,
            operator.stride,
            pad_amounts(in_side, len(weight), operator.stride, operator.padding, dilation),
            field,
            weight,
        )
        for first, weight, dilation, field in zip(
            _firsts(sizes), weights, dilations, fields, strict=True
        )
    )


def _firsts(sizes: Sequence[int]) -> list[int]:
    return [sum(sizes[:n]) for n in range(len(sizes))]
