"""Kernels of nodes that no pass could fuse: one vector in, one vector out.

A fused network needs none of them; they serve whoever looks at every node.
"""

from __future__ import annotations

from dataclasses import dataclass

from minimix.engine.kernels.activations import activate
from minimix.engine.kernels.builder import Kernel


@dataclass(frozen=True)
class Activate:
    """An activation over a plane.  Row: plane, result, pixels."""

    activation: str

    @property
    def name(self) -> str:
        """The symbol."""
        return f"activate_{self.activation}"

    def emit(self, k: Kernel) -> None:
        """Write the kernel."""
        source, target = k.pointer(0), k.pointer(1)
        with k.loop(0, k.argument(2)) as pixel:
            offset = k.mul(pixel, k.vector_bytes)
            k.store(activate(k, k.load(source, offset), self.activation), target, offset)


@dataclass(frozen=True)
class AddPlanes:
    """The sum of two planes.  Row: one, the other, result, pixels."""

    name = "add_planes"

    def emit(self, k: Kernel) -> None:
        """Write the kernel."""
        a, b, target = k.pointer(0), k.pointer(1), k.pointer(2)
        with k.loop(0, k.argument(3)) as pixel:
            offset = k.mul(pixel, k.vector_bytes)
            k.store(k.arithmetic("fadd", k.load(a, offset), k.load(b, offset)), target, offset)


@dataclass(frozen=True)
class NormalizePlane:
    """Batch norm of V channels.  Row: plane, gamma, beta, mean, variance, result, pixels."""

    eps: float

    @property
    def name(self) -> str:
        """The symbol."""
        return f"normalize_{self.eps.hex().replace('.', '_').replace('-', 'm').replace('+', 'p')}"

    def emit(self, k: Kernel) -> None:
        """Write the kernel."""
        source, target = k.pointer(0), k.pointer(5)
        gamma, beta, mean, variance = (k.load(k.pointer(i)) for i in range(1, 5))
        shifted = k.arithmetic("fadd", variance, k.constant(self.eps))
        root = k.call(k.vector, f"llvm.sqrt.v{k.width}f32", (k.vector, shifted))
        zero = k.constant(0.0)
        # Padding lanes have neither gamma nor variance, and stay zero whatever eps is.
        scale = k.select("oeq", gamma, zero, zero, k.arithmetic("fdiv", gamma, root))
        with k.loop(0, k.argument(6)) as pixel:
            offset = k.mul(pixel, k.vector_bytes)
            centred = k.arithmetic("fsub", k.load(source, offset), mean)
            k.store(k.fma(centred, scale, beta), target, offset)


@dataclass(frozen=True)
class MeanOfPlane:
    """The mean over pixels of V channels.  Row: plane, result."""

    pixels: int

    @property
    def name(self) -> str:
        """The symbol."""
        return f"mean_{self.pixels}"

    def emit(self, k: Kernel) -> None:
        """Write the kernel."""
        source, total = k.pointer(0), k.variable(k.constant(0.0))
        with k.loop(0, self.pixels) as pixel:
            value = k.load(source, k.mul(pixel, k.vector_bytes))
            total.set(k.arithmetic("fadd", total.get(), value))
        k.store(k.arithmetic("fmul", total.get(), k.constant(1 / self.pixels)), k.pointer(1))
