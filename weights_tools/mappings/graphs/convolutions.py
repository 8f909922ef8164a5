"""Convolutions and padding, of OpenVINO and ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from minimix.dialect import LARGEST_SIZE
from weights_tools.mappings.graphs.channels import MAX_BRANCHES, sliced
from weights_tools.mappings.graphs.combine import stepped
from weights_tools.mappings.graphs.reading import Call
from weights_tools.mappings.graphs.shapes import reshaped
from weights_tools.mappings.graphs.values import (
    Affine,
    Branch,
    Constant,
    Features,
    Padded,
    Pads,
    Shape,
    Value,
    word,
)
from weights_tools.readers.checkpoint import Array, shown

_ZERO = (0, 0, 0, 0)


def convolution(
    features: Features, weight: Constant, groups: int, stride: int, pads: Pads | None
) -> Features:
    """(N, Cin, H, W), (Cout, Cin / groups, K, K) -> one branch, or one for each group.

    Raises:
        ValueError: the shapes do not fit together, or are those of no MixNet.
    """
    array = weight.array
    if array.ndim != 4 or 0 in array.shape or array.dtype.kind != "f":
        raise ValueError(f"a weight of shape {array.shape} and type {array.dtype.name}")
    if array.shape[2] != array.shape[3]:
        raise ValueError(f"a kernel of {array.shape[2]} x {array.shape[3]}, expected a square")
    if len(features.shape) != 4 or features.axis != 1:
        raise ValueError(
            f"a convolution of {word(features)} of shape {features.shape}, whose channels are on "
            f"axis {features.axis}"
        )
    if array.shape[1] * groups != features.channels or array.shape[0] % groups:
        raise ValueError(
            f"a weight of shape {array.shape} in {groups} groups for {features.channels} channels"
        )
    shape = (features.shape[0], array.shape[0], *_space(features, array.shape[2], stride, pads))
    if isinstance(features.of, Padded):
        inner = features.of
        size = features.shape[2] - inner.pads[0] - inner.pads[2]
        if pads is None or any(pads):
            raise ValueError("a convolution that pads what is padded already")
        features, pads = replace(features, of=inner.of), inner.pads
    else:
        size = features.shape[2]
    branches = tuple(
        Branch(part.of, piece, depthwise, stride, pads, size, weight.names)
        for part, piece, depthwise in _groups(features, array, groups)
    )
    return Features(Affine(branches), shape, 1)


def _groups(features: Features, weight: Array, groups: int) -> list[tuple[Features, Array, bool]]:
    """What each branch reads, its weight, and whether it is depthwise."""
    K = weight.shape[2]
    if groups == features.channels == weight.shape[0] and (groups > 1 or K > 1):
        return [(features, weight, True)]
    if groups > MAX_BRANCHES:
        raise ValueError(f"{groups} groups, of which none is depthwise")
    size = weight.shape[1]
    return [
        (sliced(features, g * size, (g + 1) * size), piece, False)
        for g, piece in enumerate(np.split(weight, groups))
    ]


def _space(features: Features, kernel_size: int, stride: int, pads: Pads | None) -> Shape:
    """Height and width after a convolution."""
    height, width = features.shape[2:]
    if pads is None:
        return -(-height // stride), -(-width // stride)
    space = tuple(
        (size + before + after - kernel_size) // stride + 1
        for size, before, after in ((height, pads[0], pads[2]), (width, pads[1], pads[3]))
    )
    if min(space) < 1:
        raise ValueError(f"a {kernel_size} x {kernel_size} kernel on {height} x {width} pixels")
    return space


def _stride(strides: Sequence[int], dilations: Sequence[int]) -> int:
    if len(strides) != 2 or strides[0] != strides[1] or strides[0] < 1:
        raise ValueError(f"strides {tuple(strides)[:8]}, expected two that are equal")
    if any(dilation != 1 for dilation in dilations):
        raise ValueError(f"dilations {tuple(dilations)[:8]}, but no released MixNet is dilated")
    return strides[0]


def _pads(auto: str, begin: Sequence[int], end: Sequence[int]) -> Pads | None:
    # With automatic padding the given numbers mean nothing, whatever they are.
    match auto.lower():
        case "same_upper":
            return None
        case "valid":
            return _ZERO
        case "explicit" | "notset" if len(begin) == len(end) == 2:
            return _checked((*begin, *end))
    raise ValueError(f"padding {shown(auto)} of {tuple(begin)[:8]} and {tuple(end)[:8]}")


def _checked(pads: Sequence[int]) -> Pads:
    top, left, bottom, right = pads
    if not 0 <= min(pads) <= max(pads) <= LARGEST_SIZE:
        raise ValueError(f"padding of {tuple(pads)} pixels")
    return top, left, bottom, right


def openvino_convolution(call: Call) -> list[Value]:
    """Convolution: features, weight; GroupConvolution's weight has an axis of groups before."""
    weight, groups = call.constant(1, "the weight"), 1
    if call.operation.kind == "GroupConvolution":
        if weight.array.ndim != 5 or 0 in weight.array.shape:
            raise ValueError(f"a weight of shape {weight.array.shape}, expected the groups first")
        groups, out_channels, *inner = weight.array.shape
        weight = reshaped(weight, (groups * out_channels, *inner))
    pads = _pads(
        call.text("auto_pad", "explicit"),
        call.integers("pads_begin", (0, 0)),
        call.integers("pads_end", (0, 0)),
    )
    stride = _stride(call.integers("strides"), call.integers("dilations", (1, 1)))
    return [convolution(call.features(), weight, groups, stride, pads)]


def onnx_convolution(call: Call) -> list[Value]:
    """Conv: features, weight, and a bias or none."""
    groups, numbers = call.integer("group", 1), call.integers("pads", _ZERO)
    if groups < 1:
        raise ValueError(f"{groups} groups")
    pads = _pads(call.text("auto_pad", "NOTSET"), numbers[:2], numbers[2:])
    stride = _stride(call.integers("strides", (1, 1)), call.integers("dilations", (1, 1)))
    made = convolution(call.features(), call.constant(1, "the weight"), groups, stride, pads)
    if call.has(2):
        bias = call.constant(2, "the bias")
        if bias.array.shape != (made.channels,):
            raise ValueError(f"a bias of shape {bias.array.shape} for {made.channels} channels")
        made = stepped(made, "add", Constant(bias.array.reshape(-1, 1, 1), bias.names))
    return [made]


def openvino_pad(call: Call) -> list[Value]:
    """Pad: features, begin and end of each axis, and what fills."""
    begin, end = call.numbers(1, "the padding"), call.numbers(2, "the padding")
    return _padded(call, begin, end, call.text("pad_mode", "constant"), 3)


def onnx_pad(call: Call) -> list[Value]:
    """Pad: features, begins then ends of all axes (an attribute before opset 11), what fills."""
    numbers = call.numbers_of(1, "pads") or ()
    half = len(numbers) // 2
    if call.has(3):
        raise ValueError("pads some axes only; expected numbers for all four")
    if call.real("value", 0.0):
        raise ValueError("pads with something else than zeros")
    return _padded(call, numbers[:half], numbers[half:], call.text("mode", "constant"), 2)


def _padded(
    call: Call, begin: Sequence[int], end: Sequence[int], mode: str, filling: int
) -> list[Value]:
    if mode != "constant" or (call.has(filling) and not _is_zero(call, filling)):
        raise ValueError("pads with something else than zeros")
    features = call.features()
    space = [axis for axis in range(len(features.shape)) if axis not in (0, features.axis)]
    if len(features.shape) != 4 or len(begin) != 4 or len(end) != 4:
        raise ValueError(f"pads shape {features.shape} by {tuple(begin[:8])} and {tuple(end[:8])}")
    if any(begin[axis] or end[axis] for axis in (0, features.axis)):
        raise ValueError(f"pads the batch or the channels: {tuple(begin)} and {tuple(end)}")
    pads = _checked([side[axis] for side in (begin, end) for axis in space])
    if not any(pads):
        return [features]
    shape = [size + begin[axis] + end[axis] for axis, size in enumerate(features.shape)]
    return [Features(Padded(features.of, pads), tuple(shape), features.axis)]


def _is_zero(call: Call, position: int) -> bool:
    array = call.constant(position, "what fills").array
    return array.size == 1 and not np.any(array)
