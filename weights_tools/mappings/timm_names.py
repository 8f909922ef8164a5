"""Our names -> timm's, for files that timm is to load: what ``mappings.timm`` reads, backwards."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from minimix.errors import UsageError
from minimix.zoo import FAMILIES, Architecture, BlockSpec, architecture, parse_block
from minimix.zoo.mixnet import scale_repeats
from weights_tools.mappings.naming import BlockNames, Names
from weights_tools.mappings.timm import named_block, network_names


def timm_names(arch: Architecture) -> Names:
    """Architecture -> timm's name of each of our parameters, batch norm not folded.

    >>> timm_names(architecture("mixnet-s"))["blocks.3.mixconv.1.weight"]
    'blocks.2.0.conv_dw.1.weight'

    Raises:
        UsageError: the blocks are of no network that timm has.
    """
    paths = _block_paths(arch)
    return network_names(map(_block_names, paths, arch.blocks))


def _block_names(path: str, block: BlockSpec) -> BlockNames:
    is_expanded = block.expansion != 1
    counts = {
        f"{path}.conv_pw": block.expand_groups if is_expanded else block.project_groups,
        f"{path}.conv_dw": len(block.kernel_sizes),
        f"{path}.conv_pwl": block.project_groups,
    }
    return named_block(
        path,
        partial(_group_names, counts),
        is_expanded=is_expanded,
        has_se=block.se_ratio > 0,
    )


def _group_names(counts: Mapping[str, int], layer: str) -> tuple[str, ...]:
    """Names of a convolution's weights: several groups are numbered, a single one is not."""
    if counts[layer] == 1:
        return (f"{layer}.weight",)
    return tuple(f"{layer}.{g}.weight" for g in range(counts[layer]))


def _block_paths(arch: Architecture) -> list[str]:
    """timm's paths of the blocks: its stages are those of the family that has such blocks."""
    structures = [_structure(block) for block in arch.blocks]
    for name, family in FAMILIES.items():
        if [_structure(block) for block in architecture(name).blocks] != structures:
            continue
        stages = [tuple(parse_block(line).repeats for line in lines) for lines in family.stages]
        counts = [sum(scale_repeats(repeats, family.depth_multiplier)) for repeats in stages]
        return [f"blocks.{stage}.{n}" for stage, count in enumerate(counts) for n in range(count)]
    raise UsageError(
        f"{arch.name}: timm has no network of these {len(arch.blocks)} blocks; it has those of "
        f"{', '.join(FAMILIES)}, in any width"
    )


def _structure(block: BlockSpec) -> tuple[object, ...]:
    """What a block shares with the wider and the narrower forms of it."""
    groups, flags = (block.expand_groups, block.project_groups), (block.skip, block.dilated)
    has_se = block.se_ratio > 0
    return block.kernel_sizes, groups, block.expansion, block.stride, block.swish, has_se, flags
