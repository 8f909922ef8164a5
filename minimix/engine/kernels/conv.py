"""The compiled twins of ``minimix.ops.conv``: depthwise convolutions and the stem.

A row of outputs is cut into tiles whose sums stay in registers.  Kernel rows that fall outside of
the picture are skipped when the kernel runs, columns when it is written: nothing is padded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from minimix.engine.kernels.activations import activate
from minimix.engine.kernels.builder import FLOAT_BYTES, Integer, Kernel, Value, Variable


@dataclass(frozen=True)
class RowGeometry:
    """How a row of outputs lies over a row of inputs; all in pixels.

    Attributes:
        before: zeros in front of the row.
        tile: outputs per tile, at most.
    """

    size_in: int
    size_out: int
    kernel_size: int
    stride: int
    dilation: int
    before: int
    tile: int

    @property
    def tag(self) -> str:
        """A name for kernels: every attribute that changes the code is in it."""
        dilated = f"d{self.dilation}" if self.dilation > 1 else ""
        return (
            f"k{self.kernel_size}s{self.stride}{dilated}_w{self.size_in}to{self.size_out}"
            f"b{self.before}t{self.tile}"
        )

    def columns(self, first: int | None, count: int) -> dict[int, list[tuple[int, int]]]:
        """Input columns of a tile, relative to its first: column -> [(output, kernel column)].

        Columns outside of the picture are left out; with ``first=None`` none is outside.
        """
        found: dict[int, list[tuple[int, int]]] = {}
        for o in range(count):
            for dj in range(self.kernel_size):
                column = o * self.stride + dj * self.dilation
                absolute = None if first is None else first * self.stride - self.before + column
                if absolute is None or 0 <= absolute < self.size_in:
                    found.setdefault(column, []).append((o, dj))
        return dict(sorted(found.items()))

    def tiles(self) -> tuple[list[tuple[int, int]], tuple[int, int]]:
        """((first output, count) of the tiles at the edges, range of the tiles between).

        The tiles between touch no edge, so that one piece of code serves them all.
        """
        number = -(-self.size_out // self.tile)
        width = -(-self.size_out // number)
        starts = list(range(0, self.size_out, width))
        edges: list[tuple[int, int]] = []
        inner: list[tuple[int, int]] = []
        for start in starts:
            count = min(width, self.size_out - start)
            low = start * self.stride - self.before
            high = low + (count - 1) * self.stride + (self.kernel_size - 1) * self.dilation
            whole = count == width and low >= 0 and high < self.size_in
            (inner if whole else edges).append((start, count))
        if len(inner) < 2:
            return [(s, min(width, self.size_out - s)) for s in starts], (0, 0)
        return edges, (inner[0][0], inner[-1][0] + width)

    @property
    def width(self) -> int:
        """Outputs of a tile between the edges."""
        return -(-self.size_out // -(-self.size_out // self.tile))


def _for_each_tile(
    k: Kernel, row: RowGeometry, tile: Callable[[Integer, int | None, int], None]
) -> None:
    """Call ``tile(first output, the same if known while writing, count)`` over a row."""
    edges, (start, stop) = row.tiles()
    for first, count in edges:
        tile(first, first, count)
    if stop > start:
        with k.loop(start, stop, row.width) as between:
            tile(between, None, row.width)


def _kernel_rows(
    k: Kernel, row: RowGeometry, first_row: Integer, height: Value
) -> tuple[Integer, Integer]:
    """The range of kernel rows that fall into the picture, for a tile whose first is there."""
    above, below = k.sub(0, first_row), k.sub(height, first_row)
    if row.dilation > 1:
        above, below = (
            k.value(f"sdiv i64 {k.add(rows, row.dilation - 1)}, {row.dilation}")
            for rows in (k.largest(above, 0), k.largest(below, 0))
        )
    return k.largest(above, 0), k.smallest(below, row.kernel_size)


@dataclass(frozen=True)
class DepthwiseKernel:
    """One block of V channels of a depthwise convolution, some of its rows.

    Row: input plane, weights (K, K, V), bias, output plane, sums, first output row, last one + 1,
    input height, zeros above.

    Attributes:
        pool: store the sum over all outputs too, for squeeze-excite.
    """

    row: RowGeometry
    activation: str | None = None
    pool: bool = False

    @property
    def name(self) -> str:
        """The symbol: every attribute is in it."""
        return f"depthwise_{self.row.tag}_{self.activation or 'plain'}{'_p' if self.pool else ''}"

    def emit(self, k: Kernel) -> None:
        """Write the kernel."""
        row = self.row
        source, weights, bias, target, sums = (k.pointer(i) for i in range(5))
        first, last, height, above = (k.argument(i) for i in range(5, 9))
        outputs = k.variables(row.width)
        start = k.load(bias)
        total = k.variable(k.constant(0.0)) if self.pool else None
        with k.loop(first, last) as i:
            first_row = k.sub(k.mul(i, row.stride), above)
            low, high = _kernel_rows(k, row, first_row, height)

            def tile(o: Integer, known: int | None, count: int) -> None:
                for output in outputs[:count]:
                    output.set(start)
                left = k.mul(k.sub(k.mul(o, row.stride), row.before), k.vector_bytes)
                with k.loop(low, high) as di:
                    line = k.mul(
                        k.add(first_row, k.mul(di, row.dilation)), row.size_in * k.vector_bytes
                    )
                    values = k.at(source, k.add(line, left))
                    taps = k.at(weights, k.mul(di, row.kernel_size * k.vector_bytes))
                    self._taps(k, values, taps, row.columns(known, count), outputs)
                out = k.at(
                    target,
                    k.add(k.mul(i, row.size_out * k.vector_bytes), k.mul(o, k.vector_bytes)),
                )
                for n in range(count):
                    result = activate(k, outputs[n].get(), self.activation)
                    k.store(result, out, n * k.vector_bytes)
                    if total is not None:
                        total.set(k.arithmetic("fadd", total.get(), result))

            _for_each_tile(k, row, tile)
        if total is not None:
            k.store(total.get(), sums)

    def _taps(
        self,
        k: Kernel,
        values: Value,
        taps: Value,
        columns: dict[int, list[tuple[int, int]]],
        outputs: list[Variable],
    ) -> None:
        """One kernel row: every input is loaded once and serves all outputs that it reaches."""
        used = sorted({dj for pairs in columns.values() for _, dj in pairs})
        weight = {dj: k.load(taps, dj * k.vector_bytes) for dj in used}
        for column, pairs in columns.items():
            value = k.load(values, column * k.vector_bytes)
            for o, dj in pairs:
                outputs[o].set(k.fma(value, weight[dj], outputs[o].get()))


@dataclass(frozen=True)
class StemKernel:
    """A full convolution of a picture of few channels: (H, W, C) in, a block of V channels out.

    Row: picture, weights (K, K, C, V), bias, output plane, first output row, last one + 1, height,
    zeros above.
    """

    row: RowGeometry
    channels: int
    activation: str | None = None

    @property
    def name(self) -> str:
        """The symbol: every attribute is in it."""
        return f"stem_{self.row.tag}_c{self.channels}_{self.activation or 'plain'}"

    def emit(self, k: Kernel) -> None:
        """Write the kernel."""
        row, pixel_bytes = self.row, self.channels * FLOAT_BYTES
        source, weights, bias, target = (k.pointer(i) for i in range(4))
        first, last, height, above = (k.argument(i) for i in range(4, 8))
        outputs = k.variables(row.width)
        start = k.load(bias)
        with k.loop(first, last) as i:
            first_row = k.sub(k.mul(i, row.stride), above)
            low, high = _kernel_rows(k, row, first_row, height)

            def tile(o: Integer, known: int | None, count: int) -> None:
                for output in outputs[:count]:
                    output.set(start)
                left = k.mul(k.sub(k.mul(o, row.stride), row.before), pixel_bytes)
                with k.loop(low, high) as di:
                    line = k.mul(k.add(first_row, di), row.size_in * pixel_bytes)
                    values = k.at(source, k.add(line, left))
                    taps = k.at(
                        weights, k.mul(di, row.kernel_size * self.channels * k.vector_bytes)
                    )
                    self._taps(k, values, taps, row.columns(known, count), outputs)
                out = k.at(
                    target,
                    k.add(k.mul(i, row.size_out * k.vector_bytes), k.mul(o, k.vector_bytes)),
                )
                for n in range(count):
                    k.store(activate(k, outputs[n].get(), self.activation), out, n * k.vector_bytes)

            _for_each_tile(k, row, tile)

    def _taps(
        self,
        k: Kernel,
        values: Value,
        taps: Value,
        columns: dict[int, list[tuple[int, int]]],
        outputs: list[Variable],
    ) -> None:
        """One kernel row: the weights of one column and channel stay, the outputs take turns."""
        by_tap: dict[int, list[tuple[int, int]]] = {}
        for column, pairs in columns.items():
            for o, dj in pairs:
                by_tap.setdefault(dj, []).append((o, column))
        for dj, uses in sorted(by_tap.items()):
            for c in range(self.channels):
                weight = k.load(taps, (dj * self.channels + c) * k.vector_bytes)
                for o, column in uses:
                    value = k.splat(values, (column * self.channels + c) * FLOAT_BYTES)
                    outputs[o].set(k.fma(value, weight, outputs[o].get()))
