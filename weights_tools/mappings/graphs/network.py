"""A network's own graph (OpenVINO IR, ONNX) -> ours: the blocks are read off backwards, from the
logits to the picture.

Names mean nothing here, tools make them up; what the operations compute says everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from weights_tools.mappings.graphs.values import (
    Activated,
    Affine,
    Gated,
    Mean,
    Meaning,
    Picture,
    Slice,
    Sum,
)


@dataclass(frozen=True)
class SqueezeExcite:
    """The two 1x1 convolutions of a squeeze-excite, and the activation between them."""

    reduce: Affine
    function: str
    expand: Affine


@dataclass(frozen=True)
class FoundBlock:
    """One block, as its values show it."""

    expand: Activated | None
    mixconv: Activated
    se: SqueezeExcite | None
    project: Affine
    residual: bool


@dataclass(frozen=True)
class FoundNetwork:
    """A whole network, as its values show it."""

    picture: Picture
    stem: Activated
    blocks: tuple[FoundBlock, ...]
    head: Activated
    classifier: Affine


def read_network(logits: Meaning, made_by: Mapping[Meaning, str]) -> FoundNetwork:
    """Read the blocks off what a network gives back, backwards to the picture.

    Args:
        logits: what it gives back.
        made_by: meaning -> the operation that made it, in the order in which they were made.

    Raises:
        ValueError: the values are not those of a MixNet.
    """
    return _Backwards(made_by).network(logits)


class _Backwards:
    """Goes from a value to what it was made of, and says where that is no MixNet's."""

    def __init__(self, made_by: Mapping[Meaning, str]) -> None:
        self.made_by = made_by
        self.places = {value: place for place, value in enumerate(made_by)}

    def found(self, value: Meaning) -> str:
        return f"found {value.word}, made by {self.made_by.get(value, 'no operation of its own')}"

    def affine(self, value: Meaning, where: str) -> Affine:
        if not isinstance(value, Affine):
            raise ValueError(f"{where}: expected a convolution, {self.found(value)}")
        return value

    def activated(self, value: Meaning, where: str) -> Activated:
        if not isinstance(value, Activated):
            raise ValueError(
                f"{where}: expected a convolution and its activation, {self.found(value)}"
            )
        return value

    def read_by(self, affine: Affine, where: str) -> Meaning:
        """The one value that all convolutions of a stage read, each its own channels of it."""
        branches = affine.branches
        first = branches[0].of
        if len(branches) == 1:
            return first
        whole = first.of if isinstance(first, Slice) else None
        position = 0
        for branch in branches:
            piece = branch.of
            if not isinstance(piece, Slice) or piece.of is not whole or piece.begin != position:
                raise ValueError(
                    f"{where}: its {len(branches)} groups do not read consecutive channels of one "
                    f"value: from channel {position} on, {self.found(piece)}"
                )
            position = piece.end
        assert whole is not None  # the loop saw a slice of it
        return whole

    def network(self, logits: Meaning) -> FoundNetwork:
        classifier = self.affine(logits, "the output")
        pooled = self.read_by(classifier, "the classifier")
        if not isinstance(pooled, Mean):
            raise ValueError(
                f"the classifier: expected to read a mean over height and width, "
                f"{self.found(pooled)}"
            )
        head = self.activated(pooled.of, "the head, which is what the mean is taken of")
        blocks: list[FoundBlock] = []
        value = self.read_by(head.of, "the head")
        while not isinstance(value, Activated):
            place = f"block {len(blocks) + 1} from the end"
            block, value = self.block(value, place)
            blocks.append(block)
        picture = self.read_by(value.of, "the stem")
        if not isinstance(picture, Picture):
            raise ValueError(
                f"the stem, {len(blocks)} blocks before the head: expected to read the picture, "
                f"{self.found(picture)}"
            )
        return FoundNetwork(picture, value, tuple(blocks[::-1]), head, classifier)

    def block(self, value: Meaning, place: str) -> tuple[FoundBlock, Meaning]:
        """A block's output -> the block, and the value it reads."""
        if not isinstance(value, Sum):
            return self.main_path(self.affine(value, f"{place}, projection"), place, residual=False)
        # The projection is made of the block's input, so later than that.
        shortcut, main = sorted((value.left, value.right), key=self.places.__getitem__)
        block, read = self.main_path(
            self.affine(main, f"{place}, projection"), place, residual=True
        )
        if read is not shortcut:
            raise ValueError(
                f"{place}: the sum made by {self.made_by.get(value)} does not add the block's "
                f"input to its projection, but {shortcut.word}, made by "
                f"{self.made_by.get(shortcut)}"
            )
        return block, read

    def main_path(
        self, project: Affine, place: str, *, residual: bool
    ) -> tuple[FoundBlock, Meaning]:
        read = self.read_by(project, f"{place}, projection")
        gated = read if isinstance(read, Gated) else None
        mixconv = self.activated(gated.of if gated else read, f"{place}, MixConv")
        if not all(branch.depthwise for branch in mixconv.of.branches):
            raise ValueError(
                f"{place}, MixConv: made by {self.made_by.get(mixconv.of, 'a part of it')}, which "
                "is no depthwise convolution"
            )
        before = self.read_by(mixconv.of, f"{place}, MixConv")
        expand = before if isinstance(before, Activated) and _is_pointwise(before.of) else None
        start = self.read_by(expand.of, f"{place}, expansion") if expand else before
        se = self.squeeze_excite(gated, mixconv, place) if gated else None
        return FoundBlock(expand, mixconv, se, project, residual), start

    def squeeze_excite(self, gated: Gated, features: Activated, place: str) -> SqueezeExcite:
        where = f"{place}, squeeze-excite"
        between = self.activated(self.read_by(gated.gate, where), where)
        mean = self.read_by(between.of, where)
        if not isinstance(mean, Mean) or mean.of is not features:
            raise ValueError(
                f"{where}: expected to read the mean of the features that it gates, "
                f"{self.found(mean.of if isinstance(mean, Mean) else mean)}"
            )
        return SqueezeExcite(between.of, between.function, gated.gate)


def _is_pointwise(affine: Affine) -> bool:
    return all(branch.kernel_size == 1 and not branch.depthwise for branch in affine.branches)
