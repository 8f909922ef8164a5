"""Which architecture is this?  Told from tensor shapes, whatever their names were.

Strides, activations and skips leave no tensors behind, so what the tensors do show (kernel
sizes, groups, expansion, squeeze-excite) must agree with a family of the zoo block by block;
widths and the number of classes may be anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

from minimix.errors import WeightsError
from minimix.zoo import FAMILIES, Architecture, BlockSpec, architecture


@dataclass(frozen=True)
class ObservedBlock:
    """What the tensors of one block show.

    Attributes:
        se_channels: reduced channels inside squeeze-excite, 0 without it.
    """

    kernel_sizes: tuple[int, ...]
    expand_groups: int
    project_groups: int
    expansion: int
    in_channels: int
    out_channels: int
    se_channels: int


_WIDTHS: dict[str, Callable[[BlockSpec], int]] = {
    "channels in": lambda block: block.in_channels,
    "channels out": lambda block: block.out_channels,
    "channels inside squeeze-excite": lambda block: max(1, int(block.in_channels * block.se_ratio)),
}
_STRUCTURE = ("kernel_sizes", "expand_groups", "project_groups", "expansion")


def _differences(observed: ObservedBlock, block: BlockSpec) -> list[str]:
    found = [
        f"{name} {getattr(observed, name)}, expected {getattr(block, name)}"
        for name in _STRUCTURE
        if getattr(observed, name) != getattr(block, name)
    ]
    if bool(observed.se_channels) != bool(block.se_ratio):
        found.append(f"squeeze-excite {'present' if observed.se_channels else 'absent'}")
    elif observed.se_channels > observed.in_channels:
        found.append(
            f"squeeze-excite reduces {observed.in_channels} channels to {observed.se_channels}"
        )
    return found


def _compare(blocks: Sequence[ObservedBlock], family: Architecture) -> list[str]:
    """What keeps these blocks from being that family; empty when nothing does."""
    if len(blocks) != len(family.blocks):
        return [f"{len(blocks)} blocks, expected {len(family.blocks)}"]
    return [
        f"blocks.{n}: {difference}"
        for n, (observed, block) in enumerate(zip(blocks, family.blocks, strict=True))
        for difference in _differences(observed, block)
    ]


def _se_ratio(observed: ObservedBlock, expected: float) -> float:
    """A ratio that gives the observed width: the family's own if it does, else a new one."""
    if not observed.se_channels:
        return 0.0
    if max(1, int(observed.in_channels * expected)) == observed.se_channels:
        return expected
    return min(1.0, round((observed.se_channels + 0.5) / observed.in_channels, 6))


def _with_widths(observed: ObservedBlock, block: BlockSpec) -> BlockSpec:
    return replace(
        block,
        in_channels=observed.in_channels,
        out_channels=observed.out_channels,
        se_ratio=_se_ratio(observed, block.se_ratio),
    )


def recognise(
    blocks: Sequence[ObservedBlock],
    *,
    stem_channels: int,
    head_channels: int,
    num_classes: int,
    expected: str | None = None,
) -> Architecture:
    """Return the architecture of these blocks.

    A family whose widths differ from the released ones gets ``-custom`` behind its name.

    Args:
        expected: a family's name that the result must have.

    Raises:
        WeightsError: no family has this structure; the message says how the nearest differs.
    """
    families = {name: architecture(name, num_classes=num_classes) for name in FAMILIES}
    differences = {name: _compare(blocks, family) for name, family in families.items()}
    matching = [name for name, found in differences.items() if not found]
    if expected is not None and expected in differences and expected not in matching:
        raise WeightsError(f"not {expected}: {'; '.join(differences[expected][:4])}")
    if not matching:
        nearest = min(
            differences,
            key=lambda name: (len(families[name].blocks) != len(blocks), len(differences[name])),
        )
        raise WeightsError(
            f"no MixNet that minimix knows; nearest is {nearest}: "
            f"{'; '.join(differences[nearest][:4])}"
        )
    observed = replace(
        families[matching[0]],
        stem_channels=stem_channels,
        head_channels=head_channels,
        blocks=tuple(
            _with_widths(seen, block)
            for seen, block in zip(blocks, families[matching[0]].blocks, strict=True)
        ),
    )
    exact = [name for name in matching if replace(observed, name=name) == families[name]]
    name = exact[0] if exact else f"{matching[0]}-custom"
    if expected is not None and name != expected:
        raise WeightsError(f"expected {expected}, found {name}: {_first_width(observed, expected)}")
    return replace(observed, name=name)


def _first_width(observed: Architecture, expected: str) -> str:
    """The first width that differs between what was found and a family."""
    if expected not in FAMILIES:
        return f"known: {', '.join(FAMILIES)}"
    family = architecture(expected, num_classes=observed.num_classes)
    for field in fields(Architecture):
        ours, theirs = getattr(observed, field.name), getattr(family, field.name)
        if field.name.endswith("_channels") and ours != theirs:
            return f"{field.name} {ours}, expected {theirs}"
    for n, (ours, theirs) in enumerate(zip(observed.blocks, family.blocks, strict=True)):
        for what, width in _WIDTHS.items():
            if width(ours) != width(theirs):
                return f"blocks.{n}: {width(ours)} {what}, expected {width(theirs)}"
    return "the same widths under another name"
