"""Checkpoints with one tensor per parameter, by name -> the architecture, and its parameters.

What several tensors state together, such as the width of a batch norm, is taken as most of them
state it: the one tensor that is wrong is then found where it is filled, and named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from minimix.arrays import Array
from minimix.dialect import Dialect, Pipeline
from minimix.errors import WeightsError
from minimix.geometry import split_channels
from minimix.operators import Linear, MixConv, Operator, Pointwise, Shape, SqueezeExcite
from minimix.zoo import Architecture
from weights_tools.mappings.mapped import Mapped, fill
from weights_tools.mappings.naming import MOVING_STATISTICS, group_after
from weights_tools.recognise import ObservedBlock, recognise

Tensors = Mapping[str, Array]
ToOurs = Callable[[Array, Operator], Array]

# Of an operator, layouts ask only for its class.
_POINTWISE, _MIXCONV, _LINEAR = Pointwise(1), MixConv((1,)), Linear(1)
_SQUEEZE_EXCITE = SqueezeExcite(1, "relu")
_MATRIX, _SQUARE = "a 1x1 convolution", "a depthwise convolution with a square kernel"


def map_named(
    tensors: Tensors,
    names: Mapping[str, str],
    *,
    to_ours: ToOurs,
    expected: str | None,
    ignored: dict[str, str],
    dialects: tuple[Dialect, ...],
    pipeline: Pipeline,
) -> Mapped:
    """Tell the architecture from the shapes, then fill each of its parameters.

    Args:
        names: our name of every parameter -> the source's.
        to_ours: source array and our operator -> the array in our layout.
        expected: the architecture that it must turn out to be.
        ignored: source names that are knowingly left out -> why.

    Raises:
        WeightsError: a tensor is missing, left over or misshapen, or no family fits.
    """
    return fill(
        _Observer(names, tensors, to_ours).architecture(expected),
        tensors,
        source_name=lambda node, local: names[f"{node.name}.{local}"],
        to_ours=to_ours,
        ignored=ignored,
        dialects=dialects,
        pipeline=pipeline,
    )


def stated_width(tensors: Tensors, names: Iterable[str]) -> int:
    """Names of the tensors of one batch norm -> its channels, as most of them state it.

    >>> import numpy as np
    >>> a, b = np.ones(3), np.ones(4)
    >>> stated_width({"gamma": a, "beta": a, "mean": b, "variance": a}, ["gamma", "mean", "beta"])
    3

    Raises:
        WeightsError: none of them is there; the first is named.
    """
    names = list(names)
    return _most_stated((tensors[name].shape for name in names if name in tensors), names[0])


def _most_stated(shapes: Iterable[Shape], name: str) -> int:
    """The first size that most of the shapes have; ``name`` is for the message where there is none.

    Raises:
        WeightsError: no shape has a size above zero.
    """
    sizes = Counter(shape[0] for shape in shapes if shape and shape[0])
    if not sizes:
        raise WeightsError(f"{name}: missing, or has no values")
    return sizes.most_common(1)[0][0]


@dataclass(frozen=True)
class _Observer:
    """Looks at shapes: under which names, where, and how they become ours."""

    names: Mapping[str, str]
    tensors: Tensors
    to_ours: ToOurs

    def architecture(self, expected: str | None) -> Architecture:
        """The architecture that the shapes show."""
        channels = stem_channels = self.norm_width("stem.conv")
        blocks: list[ObservedBlock] = []
        while f"blocks.{len(blocks)}.mixconv.0.weight" in self.names:
            blocks.append(self.block(len(blocks), channels))
            channels = blocks[-1].out_channels
        return recognise(
            blocks,
            stem_channels=stem_channels,
            head_channels=self.norm_width("head.conv"),
            num_classes=self.num_classes(),
            expected=expected,
        )

    def block(self, n: int, entering: int) -> ObservedBlock:
        """What the tensors of block ``n`` show, given the channels of the one before."""
        node = f"blocks.{n}"
        middle, out = self.norm_width(f"{node}.mixconv"), self.norm_width(f"{node}.project")
        is_expanded = f"{node}.expand.0.weight" in self.names
        return ObservedBlock(
            kernel_sizes=self.kernel_sizes(f"{node}.mixconv", middle),
            expand_groups=self.count_groups(f"{node}.expand", middle) if is_expanded else 1,
            project_groups=self.count_groups(f"{node}.project", out),
            expansion=middle // entering if is_expanded else 1,
            in_channels=entering,
            out_channels=out,
            se_channels=self.se_channels(f"{node}.se"),
        )

    def shape(self, name: str, operator: Operator) -> Shape:
        """Our shape of one of our parameters; none where its tensor is missing."""
        array = self.tensors.get(self.names[name])
        return () if array is None else self.to_ours(array, operator).shape

    def weight_shape(self, name: str, operator: Operator, rank: int, what: str) -> Shape:
        """Our shape of a weight that must be there, with so many axes, none of them empty."""
        source, shape = self.names[name], self.shape(name, operator)
        if source not in self.tensors:
            raise WeightsError(f"{source}: missing; our {name} is made of it")
        # All but the output channels must be one size: that of a kernel, or input channels alone.
        if len(shape) != rank or 0 in shape or len(set(shape[:-1])) > 1:
            raise WeightsError(
                f"{source}: expected the weight of {what}, found {self.tensors[source].shape}"
            )
        return shape

    def norm_width(self, convolution: str) -> int:
        """Channels of the batch norm behind a convolution."""
        names = (self.names[f"{convolution}_bn.{local}"] for local in MOVING_STATISTICS)
        return stated_width(self.tensors, names)

    def se_channels(self, node: str) -> int:
        """Reduced channels of a squeeze-excite, 0 without it."""
        if f"{node}.reduce.weight" not in self.names:
            return 0
        shapes = [
            self.shape(f"{node}.reduce.weight", _SQUEEZE_EXCITE)[1:2],
            self.shape(f"{node}.reduce.bias", _SQUEEZE_EXCITE),
            self.shape(f"{node}.expand.weight", _SQUEEZE_EXCITE),
        ]
        return _most_stated(shapes, self.names[f"{node}.reduce.weight"])

    def num_classes(self) -> int:
        """Classes, which weight and bias must state alike: there is no third to tell who errs."""
        what = "a linear layer, a matrix"
        classes = self.weight_shape("classifier.weight", _LINEAR, 2, what)[1]
        bias = self.names["classifier.bias"]
        if bias in self.tensors and self.tensors[bias].shape != (classes,):
            raise WeightsError(
                f"{bias}: found {self.tensors[bias].shape}, but {self.names['classifier.weight']} "
                f"is of {classes} classes"
            )
        return classes

    def weight_names(self, node: str) -> list[str]:
        """Our names of the weights of a convolution's groups."""
        found: list[str] = []
        while (name := f"{node}.{len(found)}.weight") in self.names:
            found.append(name)
        return found

    def count_groups(self, node: str, channels: int) -> int:
        """Groups of a 1x1 convolution to ``channels``."""
        names = self.weight_names(node)
        shapes = [self.weight_shape(name, _POINTWISE, 2, _MATRIX) for name in names]
        self.check_complete(names, [Cout for _, Cout in shapes], channels)
        return len(shapes)

    def kernel_sizes(self, node: str, channels: int) -> tuple[int, ...]:
        """Kernel sizes of the groups of a depthwise convolution of ``channels``."""
        names = self.weight_names(node)
        shapes = [self.weight_shape(name, _MIXCONV, 3, _SQUARE) for name in names]
        self.check_complete(names, [C for *_, C in shapes], channels)
        return tuple(K for K, *_ in shapes)

    def check_complete(self, names: list[str], widths: list[int], channels: int) -> None:
        """Refuse groups that are as wide as if one more followed or preceded them.

        Other faults show when the weights are filled.
        """
        groups = len(names) + 1
        if groups <= channels and tuple(widths) in (
            split_channels(channels, groups)[:-1],
            split_channels(channels, groups)[1:],
        ):
            found = [self.names[name] for name in names]
            after = group_after(found[-1])
            raise WeightsError(
                f"{f'{after}:' if after else 'a weight is'} missing beside {', '.join(found)}, "
                f"which have {sum(widths)} of the {channels} channels that are normalised"
            )
