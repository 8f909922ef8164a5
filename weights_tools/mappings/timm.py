"""timm's names (``blocks.2.0.conv_dw.1.weight``) -> ours (``blocks.3.mixconv.1.weight``).

timm counts blocks within stages, we count flat.  A block without expansion has ``conv_dw``, then
``conv_pw``; all others ``conv_pw``, ``conv_dw``, ``conv_pwl``; batch norms are numbered along.
Several groups are numbered (``conv_pw.0.weight``), a single one is not (``conv_pw.weight``).
Source: timm, ``_efficientnet_blocks.py``, ``mixed_conv2d.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import starmap

from minimix.arrays import Array
from minimix.dialect import DIALECTS, PIPELINES
from weights_tools.mappings.layouts import from_oihw
from weights_tools.mappings.mapped import Mapped
from weights_tools.mappings.named import map_named
from weights_tools.mappings.naming import (
    BlockNames,
    LocalNames,
    Names,
    names_by_block,
    numbered_groups,
)
from weights_tools.readers.checkpoint import Tensors

LOCAL = LocalNames(
    norm={
        "gamma": "weight",
        "beta": "bias",
        "mean": "running_mean",
        "variance": "running_var",
    },
    dense={"weight": "weight", "bias": "bias"},
)
"""What timm calls the tensors within a layer."""

_WITHIN_BLOCK = re.compile(r"blocks\.(0|[1-9]\d{0,3})\.(0|[1-9]\d{0,3})\..+")


def matches(tensors: Mapping[str, Array]) -> bool:
    """Whether the names are timm's."""
    return "conv_stem.weight" in tensors and "blocks.0.0.conv_dw.weight" in tensors


def _block_names(numbers: tuple[int, ...], within: list[str]) -> BlockNames:
    """Names of one block; ``numbers`` are its stage, and its place there."""
    path = ".".join(["blocks", *map(str, numbers)])
    return named_block(
        path,
        lambda layer: numbered_groups(within, layer),
        is_expanded=any(name.startswith((f"{path}.conv_pwl.", f"{path}.bn3.")) for name in within),
        has_se=any(name.startswith(f"{path}.se.") for name in within),
    )


def named_block(
    path: str, groups: Callable[[str], tuple[str, ...]], *, is_expanded: bool, has_se: bool
) -> BlockNames:
    """timm's names of one block; ``groups`` gives those of a convolution's weights."""
    convolutions = ["conv_pw", "conv_dw", "conv_pwl"] if is_expanded else ["conv_dw", "conv_pw"]
    weights = [groups(f"{path}.{name}") for name in convolutions]
    return BlockNames(
        expand=weights[0] if is_expanded else (),
        mixconv=weights[-2],
        project=weights[-1],
        norms=tuple(f"{path}.bn{n}." for n in range(1, len(weights) + 1)),
        se=(f"{path}.se.conv_reduce.", f"{path}.se.conv_expand.") if has_se else (),
    )


def network_names(blocks: Iterable[BlockNames]) -> Names:
    """Our name of every parameter -> timm's, given the names of the blocks in order."""
    names = {
        **LOCAL.stem("conv_stem.weight", "bn1."),
        **LOCAL.head("conv_head.weight", "bn2."),
        **LOCAL.layer("classifier", "classifier."),
    }
    for n, block in enumerate(blocks):
        names |= LOCAL.block(n, block)
    return names


def _names(tensors: Mapping[str, Array]) -> Names:
    return network_names(starmap(_block_names, names_by_block(tensors, _WITHIN_BLOCK).items()))


def map_timm(tensors: Tensors | Mapping[str, Array], *, expected: str | None = None) -> Mapped:
    """Map a timm state dict; the architecture is told from its shapes.

    Args:
        expected: the architecture that it must turn out to be.

    Raises:
        WeightsError: a tensor is missing, left over or misshapen, or no family fits.
    """
    return map_named(
        tensors,
        _names(tensors),
        to_ours=from_oihw,
        expected=expected,
        ignored={
            name: "batch counter of training"
            for name in tensors
            if name.endswith("num_batches_tracked")
        },
        # Both timm families have the same parameters: the tensors do not tell which it is.
        dialects=(DIALECTS["timm"], DIALECTS["timm-tf"]),
        pipeline=PIPELINES["timm"],
    )
