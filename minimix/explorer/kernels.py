"""A convolution's groups and kernels as the document has them, and samples for the magnifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minimix.arrays import Array
from minimix.collapsed import Collapsed
from minimix.explorer.buffers import Buffers
from minimix.geometry import receptive_extent
from minimix.groups import Group
from minimix.operators import BatchNorm, Conv
from minimix.outputs import brief
from minimix.params import Params
from minimix.receptive import Field


def group_json(group: Group, kernels: dict[str, Any] | None) -> dict[str, Any]:
    """A group as the document has it."""
    return {
        "first": group.first,
        "channels": group.channels,
        "kernel_size": group.kernel_size,
        "dilation": group.dilation,
        "extent": receptive_extent(group.kernel_size, group.dilation),
        "pad": list(group.pad),
        "field": field_json(group.field),
        "kernels": kernels,
    }


def put_kernels(group: Group, buffers: Buffers, channels: Sequence[int]) -> dict[str, Any]:
    """Put the kernels of some of a group's output channels."""
    kernels = np.stack([group.kernel(channel) for channel in channels])
    norms = np.sqrt(np.square(kernels, dtype=np.float64).reshape(len(kernels), -1).sum(axis=1))
    return {
        "channels": list(channels),
        "norms": [brief(norm) for norm in norms],
        "weights": buffers.put("kernels", kernels),
    }


def field_json(field: Field) -> dict[str, int]:
    """A receptive field as the document has it."""
    return {"first": field.first, "last": field.last, "step": field.step, "size": field.size}


@dataclass(frozen=True)
class Sample:
    """An output channel for the magnifier: what the convolution read, its kernel, what it gave.

    Attributes:
        inputs: (H, W) per picture; empty if it reads the picture itself.
        outputs: (Ho, Wo) per picture, before batch norm.
        scale: of the batch norm that follows, as a factor; 1 without.
        shift: then added; 0 without.
    """

    group: int
    channel: int
    inputs: tuple[Array, ...]
    weight: Array
    bias: float
    outputs: tuple[Array, ...]
    scale: float
    shift: float

    @property
    def size_bytes(self) -> int:
        """Of its maps."""
        return sum(array.nbytes for array in (*self.inputs, *self.outputs))

    def put(self, buffers: Buffers) -> dict[str, Any]:
        """Put the maps and the kernel."""
        return {
            "group": self.group,
            "channel": self.channel,
            "reads": "map" if self.inputs else "picture",
            "input": [buffers.put("samples", array) for array in self.inputs],
            "weight": buffers.put("samples", self.weight),
            "bias": self.bias,
            "output": [buffers.put("samples", array) for array in self.outputs],
            "scale": self.scale,
            "shift": self.shift,
        }


def samples_of(
    node: Collapsed,
    groups: Sequence[Group],
    ranked: Sequence[Sequence[int]],
    count: int,
    params: Params,
    inputs: Sequence[Array],
    outputs: Sequence[Array],
) -> list[Sample]:
    """The liveliest channels of each group; ``inputs`` and ``outputs`` are (1, H, W, C) each."""
    is_full = isinstance(node.root.operator, Conv)
    bias = params.get(f"{node.name}.bias")
    scale, shift = _affine(node, params, outputs[0].shape[-1])
    return [
        Sample(
            n,
            channel,
            () if is_full else tuple(x[0, :, :, channel] for x in inputs),
            group.kernel(channel),
            0.0 if bias is None else float(bias[channel]),
            tuple(y[0, :, :, channel] for y in outputs),
            float(scale[channel]),
            float(shift[channel]),
        )
        for n, (group, channels) in enumerate(zip(groups, ranked, strict=True))
        for channel in channels[:count]
    ]


def _affine(node: Collapsed, params: Params, channels: int) -> tuple[Array, Array]:
    """Batch norm as one factor and one summand for each channel."""
    norm = node.norm
    if norm is None:
        return np.ones(channels), np.zeros(channels)
    assert isinstance(norm.operator, BatchNorm)
    gamma, beta, mean, variance = (
        params[f"{norm.name}.{local}"].astype(np.float64)
        for local in ("gamma", "beta", "mean", "variance")
    )
    scale = gamma / np.sqrt(variance + norm.operator.eps)
    return scale, beta - mean * scale
