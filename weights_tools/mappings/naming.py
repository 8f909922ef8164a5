"""Our name of each parameter -> the source's, for checkpoints with one tensor per parameter.

What the origins share: a network is a stem, blocks, a head and a classifier; a block has up to
three convolutions in groups, each with its batch norm, and may have squeeze-excite.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from minimix.errors import WeightsError

Names = dict[str, str]

MOVING_STATISTICS = {
    "gamma": "gamma",
    "beta": "beta",
    "mean": "moving_mean",
    "variance": "moving_variance",
}
"""Our local name of a batch norm's tensors -> TensorFlow's and MindSpore's."""


@dataclass(frozen=True)
class BlockNames:
    """The source's names of one block's parts.

    Attributes:
        expand, mixconv, project: weights, one per group; no ``expand`` where nothing expands.
        norms: what precedes the local names of each convolution's batch norm, in their order.
        se: what precedes the local names of squeeze-excite's two layers; empty without it.
    """

    expand: tuple[str, ...]
    mixconv: tuple[str, ...]
    project: tuple[str, ...]
    norms: tuple[str, ...]
    se: tuple[str, ...] = ()


@dataclass(frozen=True)
class LocalNames:
    """How an origin calls the tensors within a layer: our local name -> its own.

    Attributes:
        norm: of a batch norm: ``gamma``, ``beta``, ``mean``, ``variance``.
        dense: of a layer with a ``weight`` and a ``bias``.
    """

    norm: Mapping[str, str]
    dense: Mapping[str, str]

    def stem(self, weight: str, norm: str) -> Names:
        """Names of the stem: its convolution's weight, and what precedes its batch norm's."""
        return {"stem.conv.weight": weight, **_prefixed("stem.conv_bn", norm, self.norm)}

    def head(self, weight: str, norm: str) -> Names:
        """Names of the head, likewise."""
        return {"head.conv.0.weight": weight, **_prefixed("head.conv_bn", norm, self.norm)}

    def layer(self, node: str, prefix: str) -> Names:
        """Names of a layer with a weight and a bias; ``prefix`` precedes the source's."""
        return _prefixed(node, prefix, self.dense)

    def block(self, n: int, block: BlockNames) -> Names:
        """Names of block ``n``."""
        node, names = f"blocks.{n}", Names()
        groups = {"expand": block.expand, "mixconv": block.mixconv, "project": block.project}
        used = {part: sources for part, sources in groups.items() if sources}
        for (part, sources), norm in zip(used.items(), block.norms, strict=True):
            names |= {f"{node}.{part}.{g}.weight": name for g, name in enumerate(sources)}
            names |= _prefixed(f"{node}.{part}_bn", norm, self.norm)
        if block.se:
            for layer, prefix in zip(("reduce", "expand"), block.se, strict=True):
                names |= self.layer(f"{node}.se.{layer}", prefix)
        return names


def _prefixed(node: str, prefix: str, local_names: Mapping[str, str]) -> Names:
    return {f"{node}.{ours}": f"{prefix}{theirs}" for ours, theirs in local_names.items()}


def names_by_block(
    names: Iterable[str], pattern: re.Pattern[str]
) -> dict[tuple[int, ...], list[str]]:
    r"""Names within blocks, by the block's numbers, which are the pattern's groups; in order.

    >>> names_by_block(["b.1.w", "b.0.w", "x"], re.compile(r"b\.(\d)\..+"))
    {(0,): ['b.0.w'], (1,): ['b.1.w']}
    """
    found: dict[tuple[int, ...], list[str]] = {}
    for name in names:
        match = pattern.fullmatch(name)
        if match:
            found.setdefault(tuple(map(int, match.groups())), []).append(name)
    return dict(sorted(found.items()))


def numbered_groups(tensors: Iterable[str], path: str) -> tuple[str, ...]:
    """Names of a convolution's weights, group by group: a single one is not numbered.

    >>> numbered_groups(["dw.0.weight", "dw.1.weight"], "dw"), numbered_groups([], "pw")
    (('dw.0.weight', 'dw.1.weight'), ('pw.weight',))

    Raises:
        WeightsError: the numbers have a gap.
    """
    pattern = re.compile(rf"{re.escape(path)}\.(0|[1-9]\d?)\.weight")
    matches = [pattern.fullmatch(name) for name in tensors]
    found = {int(match[1]) for match in matches if match}
    if not found:
        return (f"{path}.weight",)
    for g in range(max(found)):
        if g not in found:
            raise WeightsError(
                f"{path}.{g}.weight: missing, but {path}.{max(found)}.weight is there"
            )
    return tuple(f"{path}.{g}.weight" for g in range(len(found)))


def group_after(name: str) -> str:
    """Name of a numbered group's weight -> that of the next one's, or nothing for other names.

    >>> group_after("dw.1.weight"), group_after("dw.weight")
    ('dw.2.weight', '')
    """
    match = re.fullmatch(r"(.+\.)(\d{1,2})\.weight", name)
    return f"{match[1]}{int(match[2]) + 1}.weight" if match else ""


def check_consecutive(numbers: Iterable[int], what: str) -> range:
    """Numbers of the blocks that have tensors -> the same in order, known to start at 0, gapless.

    Raises:
        WeightsError: a number is missing; ``what`` stands before it in the file's names.
    """
    found = set(numbers)
    for n in range(max(found, default=0) + 1):
        if n not in found:
            raise WeightsError(
                f"{what}{n}: missing; "
                + (f"there are tensors of {what}{max(found)}" if found else "no block is there")
            )
    return range(len(found))
