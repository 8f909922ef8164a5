"""The compiled twins of ``minimix.ops.head`` that are no matrix products: applying gates.

Squeeze-excite's own two products are pointwise kernels on one pixel.  Its gates are multiplied
into whichever is smaller: the activations, or the weights that read them next.
"""

from __future__ import annotations

from dataclasses import dataclass

from minimix.engine.kernels.builder import FLOAT_BYTES, ROW_BYTES, Kernel
from minimix.engine.kernels.pointwise import UNROLL


@dataclass(frozen=True)
class GateActivations:
    """A plane times the gates of its V channels.  Row: plane, gates, result, pixels."""

    name = "gate_activations"

    def emit(self, k: Kernel) -> None:
        """Write the kernel."""
        source, target, gates = k.pointer(0), k.pointer(2), k.load(k.pointer(1))
        with k.loop(0, k.argument(3)) as pixel:
            offset = k.mul(pixel, k.vector_bytes)
            k.store(k.arithmetic("fmul", k.load(source, offset), gates), target, offset)


@dataclass(frozen=True)
class GateWeights:
    """Packed weights times the gates of their input channels.

    Row: weights, runs, run count, gates, result.  A run is (offset of the first channel's gate in
    bytes, steps of ``UNROLL`` channels).

    Attributes:
        vectors: output vectors per input channel.
    """

    vectors: int

    @property
    def name(self) -> str:
        """The symbol."""
        return f"gate_weights_{self.vectors}"

    def emit(self, k: Kernel) -> None:
        """Write the kernel."""
        runs, gates, run_count = k.pointer(1), k.pointer(3), k.argument(2)
        source, target = k.variable(k.pointer(0), "ptr"), k.variable(k.pointer(4), "ptr")
        with k.loop(0, run_count) as r:
            run = k.at(runs, k.mul(r, 2 * ROW_BYTES))
            offset = k.value(f"load i64, ptr {run}, align 8")
            steps = k.value(f"load i64, ptr {k.at(run, ROW_BYTES)}, align 8")
            with k.loop(0, k.mul(steps, UNROLL)) as channel:
                gate = k.splat(gates, k.add(offset, k.mul(channel, FLOAT_BYTES)))
                for n in range(self.vectors):
                    row = k.load(source.get(), n * k.vector_bytes)
                    k.store(k.arithmetic("fmul", row, gate), target.get(), n * k.vector_bytes)
                source.set(k.at(source.get(), self.vectors * k.vector_bytes))
                target.set(k.at(target.get(), self.vectors * k.vector_bytes))
