"""A PyTorch module from our Graph: to train the embedded model, and to measure PyTorch with.

PyTorch is no dependency of minimix: whoever imports this has it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from minimix.geometry import pad_amounts
from minimix.graph import Graph, Node
from minimix.operators import (
    Activation,
    Add,
    BatchNorm,
    Conv,
    GlobalAveragePool,
    Linear,
    MixConv,
    Operator,
    Pointwise,
    Shape,
    SqueezeExcite,
)
from minimix.params import Params
from weights_tools.mappings.layouts import from_oihw, to_oihw

_BATCH_NORM_NAMES = {
    "gamma": "weight",
    "beta": "bias",
    "mean": "running_mean",
    "variance": "running_var",
}


class _Groups(nn.Module):
    """Convolutions on channel slices: MixConv and grouped 1x1."""

    def __init__(self, convolutions: list[nn.Conv2d], pads: list[tuple[int, int]] | None) -> None:
        super().__init__()
        self.groups = nn.ModuleList(convolutions)
        self.splits = [conv.in_channels for conv in convolutions]
        self.pads = pads

    def forward(self, x: Tensor) -> Tensor:
        outs = []
        slices = [x] if len(self.groups) == 1 else torch.split(x, self.splits, dim=1)
        for g, (conv, part) in enumerate(zip(self.groups, slices, strict=True)):
            if self.pads is not None:
                before, after = self.pads[g]
                part = F.pad(part, (before, after, before, after))
            outs.append(conv(part))
        return outs[0] if len(outs) == 1 else torch.cat(outs, dim=1)


class _SqueezeExcite(nn.Module):
    def __init__(self, channels: int, operator: SqueezeExcite) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, operator.reduced_channels, 1)
        self.expand = nn.Conv2d(operator.reduced_channels, channels, 1)
        self.activate = F.relu if operator.activation == "relu" else F.silu

    def forward(self, x: Tensor) -> Tensor:
        squeezed = self.activate(self.reduce(x.mean((2, 3), keepdim=True)))
        return x * torch.sigmoid(self.expand(squeezed))


def _mixconv(operator: MixConv, size: int, channels: int) -> nn.Module:
    groups = zip(
        operator.kernel_sizes, operator.dilations, operator.group_channels(channels), strict=True
    )
    convolutions, pads = [], []
    for K, dilation, C in groups:
        pads.append(pad_amounts(size, K, operator.stride, operator.padding, dilation))
        inner = pads[-1][0] if pads[-1][0] == pads[-1][1] else 0
        convolutions.append(
            nn.Conv2d(C, C, K, operator.stride, inner, dilation, C, bias=operator.bias)
        )
    uneven = any(before != after for before, after in pads)
    if uneven:
        for conv in convolutions:
            conv.padding = (0, 0)
    return _Groups(convolutions, pads if uneven else None)


def _module(operator: Operator, in_shape: Shape) -> nn.Module:
    channels = in_shape[-1]
    match operator:
        case Conv():
            pad = pad_amounts(in_shape[1], operator.kernel_size, operator.stride, operator.padding)
            conv = nn.Conv2d(
                channels,
                operator.out_channels,
                operator.kernel_size,
                operator.stride,
                pad[0] if pad[0] == pad[1] else 0,
                bias=operator.bias,
            )
            return _Groups([conv], None if pad[0] == pad[1] else [pad])
        case Pointwise():
            shapes = operator.group_shapes(channels)
            return _Groups([nn.Conv2d(i, o, 1, bias=operator.bias) for i, o in shapes], None)
        case MixConv():
            return _mixconv(operator, in_shape[1], channels)
        case BatchNorm():
            return nn.BatchNorm2d(channels, eps=operator.eps, momentum=0.02)
        case Activation():
            return nn.ReLU() if operator.function == "relu" else nn.SiLU()
        case SqueezeExcite():
            return _SqueezeExcite(channels, operator)
        case GlobalAveragePool():
            return nn.Identity()
        case Linear():
            return nn.Linear(channels, operator.out_features)
        case _:
            raise NotImplementedError(operator.kind)


class TorchNet(nn.Module):
    """Run a Graph in PyTorch: (N, 3, H, W) -> (N, classes) logits.

    Args:
        graph: any graph of the zoo.
        size: the input side, in pixels, that SAME padding is worked out for.
    """

    def __init__(self, graph: Graph, size: int) -> None:
        super().__init__()
        self.graph = graph
        specs = graph.infer(1, size, size)
        self.by_node = nn.ModuleDict(
            {
                _key(node): _module(node.operator, specs[node.inputs[0]].shape)
                for node in graph.nodes[1:]
                if not isinstance(node.operator, Add)
            }
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                if module.groups > 1:  # fan_out counts all groups; one input channel feeds one
                    module.weight.data.mul_(module.groups**0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits."""
        alive: dict[str, Tensor] = {"image": x}
        for node in self.graph.nodes[1:]:
            inputs = [alive[name] for name in node.inputs]
            if isinstance(node.operator, Add):
                result = inputs[0] + inputs[1]
            elif isinstance(node.operator, GlobalAveragePool):
                result = inputs[0].mean((2, 3))
            else:
                result = self.by_node[_key(node)](inputs[0])
            alive[node.name] = result
        return alive[self.graph.outputs[0]]

    def load_params(self, params: Params) -> None:
        """Take over a graph's parameters, by our names and in our layouts."""
        with torch.no_grad():
            for node in self.graph.nodes[1:]:
                for name in self.graph.param_names[node.name]:
                    array = np.array(params[name], np.float32)
                    self._set_param(node, name[len(node.name) + 1 :], array)

    def _set_param(self, node: Node, local: str, array: NDArray[np.float32]) -> None:
        module = self.by_node[_key(node)]
        if isinstance(module, _Groups) and local == "bias":
            pieces = torch.from_numpy(array).split([conv.out_channels for conv in module.groups])
            for conv, piece in zip(module.groups, pieces, strict=True):
                conv.bias.copy_(piece)
            return
        layout, owner = self._place(node, local)
        module.state_dict()[layout].copy_(torch.from_numpy(to_oihw(array, owner)))

    def canonical_params(self) -> dict[str, NDArray[np.float32]]:
        """Return the parameters under our names, in our layouts."""
        return {
            f"{node.name}.{local}": self._param(node, local)
            for node in self.graph.nodes[1:]
            for name in self.graph.param_names[node.name]
            for local in [name[len(node.name) + 1 :]]
        }

    def _param(self, node: Node, local: str) -> NDArray[np.float32]:
        module = self.by_node[_key(node)]
        if isinstance(module, _Groups) and local == "bias":
            biases = [conv.bias for conv in module.groups]
            return np.concatenate([b.detach().cpu().numpy() for b in biases])
        layout, owner = self._place(node, local)
        value: Tensor = module.state_dict()[layout]
        return from_oihw(value.detach().cpu().float().numpy(), owner)

    def _place(self, node: Node, local: str) -> tuple[str, Operator]:
        """(the name in the module's state, the operator whose layout the array has)."""
        operator = node.operator
        if isinstance(operator, BatchNorm):
            return _BATCH_NORM_NAMES[local], operator
        if isinstance(self.by_node[_key(node)], _Groups):
            return f"groups.{local}" if local[0].isdigit() else f"groups.0.{local}", operator
        if isinstance(operator, SqueezeExcite) and local.endswith("weight"):
            return local, Pointwise(operator.reduced_channels)
        # A bias has no layout.
        return local, Add() if local == "bias" else operator


def _key(node: Node) -> str:
    # ModuleDict forbids dots in its keys.
    return node.name.replace(".", "/")
