"""Networks of any width under the names and in the layouts of MindCV and TensorFlow.

Written from what the origins' code does, layer by layer in its order of construction, and not
from the mappings, which must find the way back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import count
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from minimix.zoo import Architecture, architecture
from tests.golden.recordings import timm_tensors
from tests.golden.seeded import CASES
from tests.test_mapping_timm import SHAPES
from weights_tools.mappings.mapped import Mapped
from weights_tools.mappings.timm import map_timm

Array = NDArray[Any]
Params = dict[str, Array]

AVERAGE = "/ExponentialMovingAverage"
_MOVING = {
    "gamma": "gamma",
    "beta": "beta",
    "mean": "moving_mean",
    "variance": "moving_variance",
}


@st.composite
def narrow_architectures(draw: Any) -> Architecture:
    """A family's blocks, each of some other width, with few classes."""
    widths = st.integers(2, 9)
    arch = architecture(draw(st.sampled_from(["mixnet-s", "mixnet-m", "mixnet-xl"])))
    channels = stem = draw(widths)
    blocks = []
    for block in arch.blocks:
        # A residual needs its input's width; the others may change it.
        out = channels if block.has_residual else draw(widths)
        blocks.append(replace(block, in_channels=channels, out_channels=out))
        channels = out
    return replace(
        arch,
        stem_channels=stem,
        head_channels=draw(widths),
        num_classes=draw(widths),
        blocks=tuple(blocks),
    )


@cache
def narrow_network() -> tuple[Architecture, Params]:
    """A narrow mixnet-s with 7 classes: its architecture and parameters."""
    mapped = map_timm(timm_tensors(CASES["mixnet_s-odd"]))
    return mapped.architecture, mapped.params


def assert_mapped_back(mapped: Mapped, arch: Architecture, params: Params) -> None:
    """Check that a mapping found the network, bit for bit."""
    assert mapped.params.keys() == params.keys()
    for name, array in params.items():
        assert mapped.params[name].dtype == array.dtype, name
        np.testing.assert_array_equal(mapped.params[name], array, strict=True, err_msg=name)
    # What the widths leave open: another ratio may give the same squeeze-excite.
    ratios = [block.se_ratio for block in arch.blocks]
    found = [
        replace(block, se_ratio=ratio)
        for block, ratio in zip(mapped.architecture.blocks, ratios, strict=True)
    ]
    assert replace(mapped.architecture, name=arch.name, blocks=tuple(found)) == arch


def damages(tensors: Params) -> list[tuple[str, str]]:
    """(tensor's name, name of a change in ``SHAPES`` that gives it another shape, or none)."""
    changed = [
        (name, change, SHAPES[change](tensors[name])) for name in tensors for change in SHAPES
    ]
    return [
        (name, change)
        for name, change, array in changed
        if array is None or array.shape != tensors[name].shape
    ]


def damaged(tensors: Params, name: str, change: str) -> Params:
    """The same tensors, but for one that is changed, or not there."""
    array = SHAPES[change](tensors[name])
    others = {other: t for other, t in tensors.items() if other != name}
    return others if array is None else {**others, name: array}


def _parts(arch: Architecture, n: int) -> list[tuple[str, int]]:
    """The convolutions of a block, and in how many groups."""
    block = arch.blocks[n]
    expand = [("expand", block.expand_groups)] if block.expansion != 1 else []
    return [*expand, ("mixconv", len(block.kernel_sizes)), ("project", block.project_groups)]


# --- MindCV -----------------------------------------------------------------------------------


def _oihw(weight: Array, is_depthwise: bool) -> Array:
    if is_depthwise:
        weight = np.moveaxis(weight, 2, 0)[:, np.newaxis]
    elif weight.ndim == 4:
        weight = np.moveaxis(weight, (3, 2), (0, 1))
    elif weight.ndim == 2:
        weight = np.moveaxis(weight, 1, 0)[:, :, np.newaxis, np.newaxis]
    return np.ascontiguousarray(weight)


def mindcv_tensors(arch: Architecture, params: Params) -> Params:
    """Our parameters -> MindCV's, in the order in which it saves them."""
    tensors: Params = {}

    def norm(path: str, node: str) -> None:
        for ours in ("mean", "variance", "gamma", "beta"):
            tensors[f"{path}.{_MOVING[ours]}"] = params[f"{node}.{ours}"]

    tensors["stem_conv.0.weight"] = _oihw(params["stem.conv.weight"], False)
    norm("stem_conv.1", "stem.conv_bn")
    for n in range(len(arch.blocks)):
        cells = count()
        for part, groups in _parts(arch, n):
            node = f"blocks.{n}.{part}"
            if part == "project" and f"blocks.{n}.se.reduce.bias" in params:
                path = f"layers.{n}.convs.{next(cells)}"
                for layer in ("reduce", "expand"):
                    for local in ("weight", "bias"):
                        tensors[f"{path}.conv_{layer}.{local}"] = _oihw(
                            params[f"blocks.{n}.se.{layer}.{local}"], False
                        )
            kind = "mixed_depthwise_conv" if part == "mixconv" else "grouped_conv"
            path = f"layers.{n}.convs.{next(cells)}.{kind}"
            for g in range(groups):
                name = f"{path}.weight" if groups == 1 else f"{path}.{g}.weight"
                tensors[name] = _oihw(params[f"{node}.{g}.weight"], part == "mixconv")
            norm(f"layers.{n}.convs.{next(cells)}", f"{node}_bn")
            next(cells)  # the activation
    tensors["head_conv.0.weight"] = _oihw(params["head.conv.0.weight"], False)
    norm("head_conv.1", "head.conv_bn")
    tensors["classifier.weight"] = np.ascontiguousarray(params["classifier.weight"].T)
    tensors["classifier.bias"] = params["classifier.bias"]
    return tensors


# --- TensorFlow -------------------------------------------------------------------------------


def tensorflow_tensors(
    arch: Architecture,
    params: Params,
    prefix: str = "mixnet-s/",
    conv2d: Iterator[int] | None = None,
    depthwise_conv2d: Iterator[int] | None = None,
) -> Params:
    """Our parameters -> TensorFlow's, sorted by name as a bundle sorts them.

    ``conv2d`` and ``depthwise_conv2d`` number the layers, from 0 if they are not given.
    """
    tensors: Params = {}
    numbers = {"conv2d": conv2d or count(), "depthwise_conv2d": depthwise_conv2d or count()}

    def numbered(kind: str, number: int) -> str:
        return f"{kind}_{number}" if number else kind

    def put(scope: str, kind: str, local: str, value: Array) -> str:
        layer = numbered(kind, next(numbers[kind]))
        tensors[f"{prefix}mixnet_model/{scope}/{layer}/{local}"] = np.ascontiguousarray(value)
        return f"{prefix}mixnet_model/{scope}/{layer}"

    def norm(scope: str, n: int, node: str) -> None:
        for ours, theirs in _MOVING.items():
            name = f"{prefix}{scope}/{numbered('batch_normalization', n)}/{theirs}"
            tensors[name] = params[f"{node}.{ours}"]

    for n in range(len(arch.blocks)):
        scope = f"blocks_{n}"
        for position, (part, groups) in enumerate(_parts(arch, n)):
            node = f"blocks.{n}.{part}"
            if part == "project" and f"blocks.{n}.se.reduce.bias" in params:
                for layer in ("reduce", "expand"):
                    weight = params[f"blocks.{n}.se.{layer}.weight"]
                    path = put(f"{scope}/se", "conv2d", "kernel", weight[np.newaxis, np.newaxis])
                    tensors[f"{path}/bias"] = params[f"blocks.{n}.se.{layer}.bias"]
            for g in range(groups):
                weight = params[f"{node}.{g}.weight"]
                if part == "mixconv":
                    put(scope, "depthwise_conv2d", "depthwise_kernel", weight[..., np.newaxis])
                else:
                    put(scope, "conv2d", "kernel", weight[np.newaxis, np.newaxis])
            norm(scope, position, f"{node}_bn")
    put("stem", "conv2d", "kernel", params["stem.conv.weight"])
    norm("stem", 0, "stem.conv_bn")
    put("head", "conv2d", "kernel", params["head.conv.0.weight"][np.newaxis, np.newaxis])
    norm("head", 0, "head.conv_bn")
    tensors[f"{prefix}mixnet_model/head/dense/kernel"] = params["classifier.weight"]
    tensors[f"{prefix}mixnet_model/head/dense/bias"] = params["classifier.bias"]
    return {name: tensors[name] for name in sorted(tensors)}


def with_averages(variables: Params) -> Params:
    """Variables as averages, beside raw ones that differ, in the order of a bundle."""
    both = {name + AVERAGE: array for name, array in variables.items()}
    both |= {name: array + np.float32(1) for name, array in variables.items()}
    return {name: both[name] for name in sorted(both)}
