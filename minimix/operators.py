"""What each operator is: its attributes, and as integer functions its shapes, parameters and cost.

No arrays here.  ``minimix.ops`` computes what these classes describe.
Shapes are ``(N, H, W, C)`` for pictures and feature maps, ``(N, C)`` after pooling.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal, get_args

from minimix.dialect import Padding
from minimix.errors import GraphError
from minimix.geometry import check_extents, output_size, receptive_extent, split_channels

Shape = tuple[int, ...]
ActivationName = Literal["relu", "swish"]


def _four(shape: Shape) -> tuple[int, int, int, int]:
    if len(shape) != 4:
        raise GraphError(f"expected (N, H, W, C), found {shape}")
    N, H, W, C = shape
    return N, H, W, C


def _check_positive(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise GraphError(f"{name} is {size}; expected at least 1")


def _check_activation(name: str | None) -> None:
    if name is not None and name not in get_args(ActivationName):
        raise GraphError(f"activation {name!r}; known: {', '.join(get_args(ActivationName))}")


@dataclass(frozen=True)
class Operator:
    """Base of the operators: by default one input, same shape out, no parameters, no MACs."""

    kind: ClassVar[str] = "operator"

    @property
    def arity(self) -> int:
        """How many inputs it reads."""
        return 1

    def output_shape(self, *shapes: Shape) -> Shape:
        """Shape of the result, given the shapes of the inputs."""
        return shapes[0]

    def param_shapes(self, in_shape: Shape) -> dict[str, Shape]:
        """Shape of each parameter by its local name, given the first input's shape."""
        return {}

    def macs(self, in_shape: Shape) -> int:
        """Multiply-adds of the operator on that input; the batch counts."""
        return 0


@dataclass(frozen=True)
class Input(Operator):
    """The picture, (N, H, W, channels), with at least ``smallest`` pixels on each side."""

    channels: int = 3
    smallest: int = 1
    kind: ClassVar[str] = "input"

    @property
    def arity(self) -> int:
        return 0

    def output_shape(self, *shapes: Shape) -> Shape:
        """Check the shape that the caller brings."""
        N, H, W, C = _four(shapes[0])
        if C != self.channels or min(H, W) < self.smallest or N < 1:
            raise GraphError(
                f"expected (N, H, W, {self.channels}) with N at least 1, H and W at least "
                f"{self.smallest} px; found {shapes[0]}"
            )
        return shapes[0]


@dataclass(frozen=True)
class Conv(Operator):
    """A full 2-D convolution: (N, H, W, C) -> (N, Ho, Wo, out_channels)."""

    out_channels: int
    kernel_size: int
    stride: int = 1
    padding: Padding = "symmetric"
    bias: bool = False
    activation: ActivationName | None = None
    kind: ClassVar[str] = "conv"

    def __post_init__(self) -> None:
        _check_positive(
            out_channels=self.out_channels, kernel_size=self.kernel_size, stride=self.stride
        )
        check_extents((self.kernel_size,), (self.kernel_size,), self.padding)
        _check_activation(self.activation)

    def output_shape(self, *shapes: Shape) -> Shape:
        N, H, W, _ = _four(shapes[0])
        Ho, Wo = (output_size(n, self.kernel_size, self.stride, self.padding) for n in (H, W))
        _check_positive(output_height=Ho, output_width=Wo)
        return N, Ho, Wo, self.out_channels

    def param_shapes(self, in_shape: Shape) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {
            "weight": (self.kernel_size, self.kernel_size, in_shape[-1], self.out_channels)
        }
        return shapes | ({"bias": (self.out_channels,)} if self.bias else {})

    def macs(self, in_shape: Shape) -> int:
        return prod(self.output_shape(in_shape)) * self.kernel_size**2 * in_shape[-1]


@dataclass(frozen=True)
class Pointwise(Operator):
    """A 1x1 convolution, in channel groups that do not mix: (N, H, W, C) -> (N, H, W, out)."""

    out_channels: int
    groups: int = 1
    bias: bool = False
    activation: ActivationName | None = None
    kind: ClassVar[str] = "pointwise"

    def __post_init__(self) -> None:
        _check_positive(out_channels=self.out_channels, groups=self.groups)
        _check_activation(self.activation)

    def group_shapes(self, in_channels: int) -> tuple[tuple[int, int], ...]:
        """(Cin, Cout) of each group."""
        ins = split_channels(in_channels, self.groups)
        return tuple(zip(ins, split_channels(self.out_channels, self.groups), strict=True))

    def output_shape(self, *shapes: Shape) -> Shape:
        N, H, W, C = _four(shapes[0])
        self.group_shapes(C)
        return N, H, W, self.out_channels

    def param_shapes(self, in_shape: Shape) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {
            f"{g}.weight": shape for g, shape in enumerate(self.group_shapes(in_shape[-1]))
        }
        return shapes | ({"bias": (self.out_channels,)} if self.bias else {})

    def macs(self, in_shape: Shape) -> int:
        return prod(in_shape[:-1]) * sum(prod(s) for s in self.group_shapes(in_shape[-1]))


@dataclass(frozen=True)
class MixConv(Operator):
    """Depthwise convolutions of several kernel sizes, each on its own slice of the channels.

    ``kernel_sizes`` are those of the weights; with ``dilations`` a group sees
    ``dilation * (kernel_size - 1) + 1`` pixels.  Source: Tan & Le 2019, section 3.
    """

    kernel_sizes: tuple[int, ...]
    stride: int = 1
    padding: Padding = "symmetric"
    dilations: tuple[int, ...] = ()
    bias: bool = False
    activation: ActivationName | None = None
    kind: ClassVar[str] = "mixconv"

    def __post_init__(self) -> None:
        if not self.kernel_sizes:
            raise GraphError("kernel_sizes is empty; expected at least one, such as (3, 5)")
        if not self.dilations:
            object.__setattr__(self, "dilations", (1,) * len(self.kernel_sizes))
        if len(self.dilations) != len(self.kernel_sizes):
            raise GraphError(
                f"{len(self.dilations)} dilations for {len(self.kernel_sizes)} kernel sizes; "
                "expected one each"
            )
        smallest = min(self.kernel_sizes)
        _check_positive(kernel_size=smallest, dilation=min(self.dilations), stride=self.stride)
        check_extents(self.kernel_sizes, self.extents, self.padding)
        _check_activation(self.activation)

    @property
    def extents(self) -> tuple[int, ...]:
        """Pixels that each group sees along one side, dilation included."""
        return tuple(
            receptive_extent(k, d) for k, d in zip(self.kernel_sizes, self.dilations, strict=True)
        )

    def group_channels(self, channels: int) -> tuple[int, ...]:
        """Channels of each group."""
        return split_channels(channels, len(self.kernel_sizes))

    def output_shape(self, *shapes: Shape) -> Shape:
        N, H, W, C = _four(shapes[0])
        self.group_channels(C)
        Ho, Wo = (output_size(n, self.extents[0], self.stride, self.padding) for n in (H, W))
        return N, Ho, Wo, C

    def param_shapes(self, in_shape: Shape) -> dict[str, Shape]:
        channels = self.group_channels(in_shape[-1])
        shapes: dict[str, Shape] = {
            f"{g}.weight": (K, K, C)
            for g, (K, C) in enumerate(zip(self.kernel_sizes, channels, strict=True))
        }
        return shapes | ({"bias": (in_shape[-1],)} if self.bias else {})

    def macs(self, in_shape: Shape) -> int:
        N, Ho, Wo, C = self.output_shape(in_shape)
        taps = zip(self.kernel_sizes, self.group_channels(C), strict=True)
        return N * Ho * Wo * sum(K * K * channels for K, channels in taps)


@dataclass(frozen=True)
class BatchNorm(Operator):
    """Normalise each channel with stored statistics, then scale and shift."""

    eps: float
    kind: ClassVar[str] = "batch_norm"

    def param_shapes(self, in_shape: Shape) -> dict[str, Shape]:
        return {name: (in_shape[-1],) for name in ("gamma", "beta", "mean", "variance")}


@dataclass(frozen=True)
class Activation(Operator):
    """relu: max(x, 0); swish: x * sigmoid(x)."""

    function: ActivationName
    kind: ClassVar[str] = "activation"

    def __post_init__(self) -> None:
        _check_activation(self.function)


@dataclass(frozen=True)
class SqueezeExcite(Operator):
    """Scale each channel by a gate computed from all channel means (Hu et al. 2018)."""

    reduced_channels: int
    activation: ActivationName
    kind: ClassVar[str] = "squeeze_excite"

    def __post_init__(self) -> None:
        _check_positive(reduced_channels=self.reduced_channels)
        _check_activation(self.activation)

    def param_shapes(self, in_shape: Shape) -> dict[str, Shape]:
        C, R = in_shape[-1], self.reduced_channels
        return {
            "reduce.weight": (C, R),
            "reduce.bias": (R,),
            "expand.weight": (R, C),
            "expand.bias": (C,),
        }

    def macs(self, in_shape: Shape) -> int:
        return 2 * in_shape[0] * in_shape[-1] * self.reduced_channels


@dataclass(frozen=True)
class Add(Operator):
    """The residual connection: two tensors of one shape, added."""

    kind: ClassVar[str] = "add"

    @property
    def arity(self) -> int:
        return 2

    def output_shape(self, *shapes: Shape) -> Shape:
        if shapes[0] != shapes[1]:
            raise GraphError(f"cannot add {shapes[0]} and {shapes[1]}; expected one shape")
        return shapes[0]


@dataclass(frozen=True)
class GlobalAveragePool(Operator):
    """The mean over all pixels: (N, H, W, C) -> (N, C)."""

    kind: ClassVar[str] = "pool"

    def output_shape(self, *shapes: Shape) -> Shape:
        N, _, _, C = _four(shapes[0])
        return N, C


@dataclass(frozen=True)
class Linear(Operator):
    """A matrix product and a bias: (N, C) -> (N, out_features)."""

    out_features: int
    kind: ClassVar[str] = "linear"

    def __post_init__(self) -> None:
        _check_positive(out_features=self.out_features)

    def output_shape(self, *shapes: Shape) -> Shape:
        if len(shapes[0]) != 2:
            raise GraphError(f"expected (N, C), found {shapes[0]}")
        return shapes[0][0], self.out_features

    def param_shapes(self, in_shape: Shape) -> dict[str, Shape]:
        return {"weight": (in_shape[-1], self.out_features), "bias": (self.out_features,)}

    def macs(self, in_shape: Shape) -> int:
        return prod(in_shape) * self.out_features
