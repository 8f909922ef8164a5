"""MindCV's names (``layers.3.convs.6.conv_reduce.weight``) -> ours (``blocks.3.se.reduce.weight``).

A block is a list of cells, ``convs``, in which activations are counted too: convolution, batch
norm, activation.  An expansion is cell 0 and moves what follows by three; squeeze-excite moves the
projection by one.  Several groups are numbered (``grouped_conv.0.weight``), a single one is not.
Source: MindCV, ``mindcv/models/mixnet.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from minimix.arrays import Array
from minimix.dialect import DIALECTS, PIPELINES
from weights_tools.mappings.layouts import from_oihw
from weights_tools.mappings.mapped import Mapped
from weights_tools.mappings.named import map_named
from weights_tools.mappings.naming import (
    MOVING_STATISTICS,
    BlockNames,
    LocalNames,
    Names,
    check_consecutive,
    names_by_block,
    numbered_groups,
)
from weights_tools.readers.checkpoint import Tensors

LOCAL = LocalNames(norm=MOVING_STATISTICS, dense={"weight": "weight", "bias": "bias"})
"""What MindCV calls the tensors within a layer."""

_WITHIN_BLOCK = re.compile(r"layers\.(0|[1-9]\d{0,3})\.convs\..+")
_CELL = re.compile(r"layers\.\d+\.convs\.(0|[1-9]\d?)\.(\w+)\b.*")
_STATE = (
    (re.compile(r"ema\..+"), "moving average of training; MindCV evaluates the weights beside it"),
    (
        re.compile(
            r"(moments|moment1|moment2|accum|accumulation|stat|mean_square|mean_grad"
            r"|adam_m|adam_v)\..+"
        ),
        "optimizer state",
    ),
    (
        re.compile(
            r"learning_rate|momentum|weight_decay|beta1_power|beta2_power|global_step|epoch_num"
            r"|step_num|loss_scale|scale_sense|updates|(current|last_overflow)_iterator_step"
        ),
        "counter or setting of training",
    ),
)
"""Names of what training keeps beside the weights, and why each is left out."""


def matches(tensors: Mapping[str, Array]) -> bool:
    """Whether the names are MindCV's."""
    kinds = {match[2] for match in map(_CELL.fullmatch, tensors) if match}
    return bool(kinds & {"grouped_conv", "mixed_depthwise_conv"})


def _ignored(tensors: Mapping[str, Array]) -> dict[str, str]:
    return {
        name: reason for name in tensors for pattern, reason in _STATE if pattern.fullmatch(name)
    }


def _block_names(path: str, within: list[str]) -> BlockNames:
    cells = [(int(match[1]), match[2]) for match in map(_CELL.fullmatch, within) if match]
    norms = {position for position, kind in cells if kind in MOVING_STATISTICS.values()}
    first = 3 if len(norms) > 2 else 0
    has_se = (first + 4, "grouped_conv") in cells or any(
        kind in ("conv_reduce", "conv_expand") for _, kind in cells
    )
    last = first + 4 if has_se else first + 3
    expand = numbered_groups(within, f"{path}.0.grouped_conv") if first else ()
    se = tuple(f"{path}.{first + 3}.conv_{layer}." for layer in ("reduce", "expand"))
    return BlockNames(
        expand=expand,
        mixconv=numbered_groups(within, f"{path}.{first}.mixed_depthwise_conv"),
        project=numbered_groups(within, f"{path}.{last}.grouped_conv"),
        norms=tuple(f"{path}.{n}." for n in ((1,) if first else ()) + (first + 1, last + 1)),
        se=se if has_se else (),
    )


def _names(tensors: Mapping[str, Array]) -> Names:
    names = {
        **LOCAL.stem("stem_conv.0.weight", "stem_conv.1."),
        **LOCAL.head("head_conv.0.weight", "head_conv.1."),
        **LOCAL.layer("classifier", "classifier."),
    }
    blocks = names_by_block(tensors, _WITHIN_BLOCK)
    for n in check_consecutive((n for (n,) in blocks), "layers."):
        names |= LOCAL.block(n, _block_names(f"layers.{n}.convs", blocks[n,]))
    return names


def map_mindcv(tensors: Tensors | Mapping[str, Array], *, expected: str | None = None) -> Mapped:
    """Map a MindCV checkpoint; the architecture is told from its shapes.

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
        ignored=_ignored(tensors),
        dialects=(DIALECTS["mindcv"],),
        pipeline=PIPELINES["mindcv"],
    )
