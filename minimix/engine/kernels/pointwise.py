"""The compiled twin of ``minimix.ops.pointwise``: matrix products over channels, in register tiles.

Activations lie as (blocks, pixels, V): V channels of one pixel are one vector.  A tile of
``pixels`` x ``vectors`` sums stays in registers while all input channels stream past: one splat of
an input value serves ``vectors`` products, one weight vector serves ``pixels`` of them.
Weights are packed as (input channel, vectors, V), in the order in which they are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from minimix.engine.kernels.activations import activate
from minimix.engine.kernels.builder import FLOAT_BYTES, ROW_BYTES, Kernel, Value, Variable

UNROLL = 4
"""Input channels per step: runs of channels are multiples of it."""

_PREFETCH_VECTOR_BYTES = 4096


@dataclass(frozen=True)
class PointwiseKernel:
    """A tile of the product, and what is done to it before it is stored.

    Row: input, runs, run count, weights, bias, output, output block stride in bytes, residual,
    tile count, address to prefetch from.  A run is (offset of the channel's first pixel in bytes,
    steps of ``UNROLL`` channels).

    Attributes:
        pixels: of a tile.
        vectors: of V output channels each, of a tile.
        residual: whether something is added at the end.
        joins: the product has no bias, and is added to a sum that is stored; then comes the rest.
        pool: in place of the pixels, store their sum divided by this; 0 stores the pixels.
        partial: the pooled sum is not complete: it is not divided yet.
        more: a pooled sum continues one that is stored.
        prefetch: cache lines asked for per step, for the weights that come next.
    """

    pixels: int
    vectors: int
    activation: str | None = None
    residual: bool = False
    joins: bool = False
    pool: int = 0
    partial: bool = False
    more: bool = False
    prefetch: int = 0

    @property
    def name(self) -> str:
        """The symbol: every attribute is in it."""
        pooled = f"p{self.pool}{'s' * self.partial}{'m' * self.more}" if self.pool else ""
        ends = "r" * self.residual + "j" * self.joins + pooled
        return (
            f"pointwise_{self.pixels}x{self.vectors}_{self.activation or 'plain'}"
            f"{'_' + ends if ends else ''}{f'_f{self.prefetch}' if self.prefetch else ''}"
        )

    def emit(self, k: Kernel) -> None:
        """Write the kernel."""
        source, runs, weights, bias, target, residual = (k.pointer(i) for i in (0, 1, 3, 4, 5, 7))
        run_count, block_stride, tiles = k.argument(2), k.argument(6), k.argument(8)
        ahead = k.variable(k.pointer(9), "ptr") if self.prefetch else None
        sums = [k.variables(self.vectors) for _ in range(self.pixels)]
        pooled = [k.variable(k.constant(0.0)) for _ in range(self.vectors)] if self.pool else []
        with k.loop(0, tiles) as tile:
            tile_offset = k.mul(tile, self.pixels * k.vector_bytes)
            for n in range(self.vectors):
                start = k.constant(0.0) if self.joins else k.load(bias, n * k.vector_bytes)
                for m in range(self.pixels):
                    sums[m][n].set(start)
            weight = k.variable(weights, "ptr")
            with k.loop(0, run_count) as r:
                run = k.at(runs, k.mul(r, 2 * ROW_BYTES))
                offset = k.value(f"load i64, ptr {run}, align 8")
                steps = k.value(f"load i64, ptr {k.at(run, ROW_BYTES)}, align 8")
                channels = k.at(source, k.add(tile_offset, offset))
                with k.loop(0, steps) as step:
                    values = k.at(channels, k.mul(step, UNROLL * FLOAT_BYTES))
                    if ahead is not None:
                        line = ahead.get()
                        for n in range(self.prefetch):
                            k.prefetch(line, 64 * n)
                        ahead.set(k.at(line, 64 * self.prefetch))
                    self._products(k, values, weight.get(), sums)
                    weight.set(k.at(weight.get(), UNROLL * self.vectors * k.vector_bytes))
            for n in range(self.vectors):
                shift = k.add(tile_offset, k.mul(block_stride, n))
                column = [sums[m][n] for m in range(self.pixels)]
                results = self._results(k, column, k.at(target, shift), k.at(residual, shift))
                if self.pool:
                    pooled[n].set(k.arithmetic("fadd", pooled[n].get(), k.sum_of(results)))
                else:
                    for m, result in enumerate(results):
                        k.store(result, k.at(target, shift), m * k.vector_bytes)
        for n, total in enumerate(pooled):
            where = k.at(target, k.mul(block_stride, n))
            result = total.get()
            if self.more:
                result = k.arithmetic("fadd", k.load(where), result)
            if not self.partial:
                result = k.arithmetic("fmul", result, k.constant(1 / self.pool))
            k.store(result, where)

    def _results(
        self, k: Kernel, sums: list[Variable], joined: Value, added: Value
    ) -> Iterator[Value]:
        """What becomes of one output vector's sums, pixel by pixel."""
        for m, variable in enumerate(sums):
            total = variable.get()
            if self.joins:
                total = k.arithmetic("fadd", k.load(joined, m * k.vector_bytes), total)
            result = activate(k, total, self.activation)
            if self.residual:
                result = k.arithmetic("fadd", result, k.load(added, m * k.vector_bytes))
            yield result

    def _products(self, k: Kernel, values: str, weight: str, sums: list[list[Variable]]) -> None:
        """Four input channels: load their weights, multiply, add."""
        if self.pixels == 1:
            # One pixel reads every weight once: memory is what it waits for.
            for n in range(UNROLL * self.vectors):
                k.prefetch(weight, n * k.vector_bytes + _PREFETCH_VECTOR_BYTES, 3)
        for channel in range(UNROLL):
            rows = [
                k.load(weight, (channel * self.vectors + n) * k.vector_bytes)
                for n in range(self.vectors)
            ]
            for m in range(self.pixels):
                x = k.splat(values, m * k.vector_bytes + channel * FLOAT_BYTES)
                for n, row in enumerate(rows):
                    sums[m][n].set(k.fma(x, row, sums[m][n].get()))
