"""Operators that only passes make: what several nodes did, in one.

``minimix.ops`` computes them by calling the plain operators one after another, so that a fused
graph means what it says on every engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from minimix.operators import GlobalAveragePool, Pointwise, Shape, SqueezeExcite


@dataclass(frozen=True)
class Gates(SqueezeExcite):
    """The gates of a squeeze-excite, not yet applied: (N, H, W, C) -> (N, C)."""

    kind: ClassVar[str] = "gates"

    def output_shape(self, *shapes: Shape) -> Shape:
        """(N, C)."""
        return GlobalAveragePool().output_shape(*shapes)


@dataclass(frozen=True)
class FusedPointwise(Pointwise):
    """A 1x1 convolution with what came before and after it.

    Its inputs are the feature map, then the gates if ``gated``, then what is added if
    ``residual``.  In this order: gates, product and bias, activation, addition, mean over pixels.
    """

    gated: bool = False
    residual: bool = False
    pool: bool = False
    kind: ClassVar[str] = "pointwise"

    @property
    def arity(self) -> int:
        """One to three."""
        return 1 + self.gated + self.residual

    def output_shape(self, *shapes: Shape) -> Shape:
        """(N, H, W, out_channels), or (N, out_channels) if pooled."""
        shape = super().output_shape(shapes[0])
        return GlobalAveragePool().output_shape(shape) if self.pool else shape

    @classmethod
    def of(cls, operator: Pointwise) -> FusedPointwise:
        """Return the operator as a fused one that does nothing more."""
        if isinstance(operator, FusedPointwise):
            return operator
        return cls(operator.out_channels, operator.groups, operator.bias, operator.activation)
