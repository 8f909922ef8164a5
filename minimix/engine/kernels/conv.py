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


Columns = dict[int, list[tuple[int, int]]]
"""Input columns of a tile -> [(output, kernel column)]."""


@dataclass(frozen=True)
class _Rows:
    """What the kernels of this file share: rows of outputs, tile by tile.

    Attributes:
        source: the input, whose pixels are ``pixel_bytes`` apart.
        weights: the taps, of which ``tap_bytes`` belong to a kernel row.
        rows: first output row, last one + 1.
        height: of the input, with ``above`` zeros on top.
    """

    row: RowGeometry
    source: Value
    pixel_bytes: int
    weights: Value
    tap_bytes: int
    bias: Value
    target: Value
    rows: tuple[Value, Value]
    height: Value
    above: Value

    def emit(
        self,
        k: Kernel,
        add_taps: Callable[[Value, Value, Columns, list[Variable]], None],
        activation: str | None,
        total: Variable | None = None,
    ) -> None:
        """Write the loops.

        ``add_taps(input row, kernel row, columns, sums)`` adds the products of one kernel row.
        All that is stored is added to ``total``, if there is one: tile by tile, for a few sums of
        many lose less to rounding than many single numbers.
        """
        row = self.row
        outputs, start = k.variables(row.width), k.load(self.bias)
        with k.loop(*self.rows) as i:
            first_row = k.sub(k.mul(i, row.stride), self.above)
            low, high = _kernel_rows(k, row, first_row, self.height)

            def tile(o: Integer, known: int | None, count: int) -> None:
                for output in outputs[:count]:
                    output.set(start)
                left = k.mul(k.sub(k.mul(o, row.stride), row.before), self.pixel_bytes)
                with k.loop(low, high) as di:
                    input_row = k.add(first_row, k.mul(di, row.dilation))
                    line = k.mul(input_row, row.size_in * self.pixel_bytes)
                    values = k.at(self.source, k.add(line, left))
                    taps = k.at(self.weights, k.mul(di, self.tap_bytes))
                    add_taps(values, taps, row.columns(known, count), outputs)
                line = k.mul(i, row.size_out * k.vector_bytes)
                out = k.at(self.target, k.add(line, k.mul(o, k.vector_bytes)))
                results = [activate(k, output.get(), activation) for output in outputs[:count]]
                for n, result in enumerate(results):
                    k.store(result, out, n * k.vector_bytes)
                if total is not None:
                    total.set(k.arithmetic("fadd", total.get(), k.sum_of(results)))

            _for_each_tile(k, row, tile)


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
        source, weights, bias, target, sums = (k.pointer(i) for i in range(5))
        first, last, height, above = (k.argument(i) for i in range(5, 9))
        total = k.variable(k.constant(0.0)) if self.pool else None

        def add_taps(values: Value, taps: Value, columns: Columns, outputs: list[Variable]) -> None:
            # Every input is loaded once and serves all outputs that it reaches.
            used = sorted({dj for pairs in columns.values() for _, dj in pairs})
            weight = {dj: k.load(taps, dj * k.vector_bytes) for dj in used}
            for column, pairs in columns.items():
                value = k.load(values, column * k.vector_bytes)
                for o, dj in pairs:
                    outputs[o].set(k.fma(value, weight[dj], outputs[o].get()))

        _Rows(
            row=self.row,
            source=source,
            pixel_bytes=k.vector_bytes,
            weights=weights,
            tap_bytes=self.row.kernel_size * k.vector_bytes,
            bias=bias,
            target=target,
            rows=(first, last),
            height=height,
            above=above,
        ).emit(k, add_taps, self.activation, total)
        if total is not None:
            k.store(total.get(), sums)


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
        source, weights, bias, target = (k.pointer(i) for i in range(4))
        first, last, height, above = (k.argument(i) for i in range(4, 8))

        def add_taps(values: Value, taps: Value, columns: Columns, outputs: list[Variable]) -> None:
            # The weights of one column and channel stay, the outputs take turns.
            by_tap: Columns = {}
            for column, pairs in columns.items():
                for o, dj in pairs:
                    by_tap.setdefault(dj, []).append((o, column))
            for dj, uses in sorted(by_tap.items()):
                for c in range(self.channels):
                    weight = k.load(taps, (dj * self.channels + c) * k.vector_bytes)
                    for o, column in uses:
                        value = k.splat(values, (column * self.channels + c) * FLOAT_BYTES)
                        outputs[o].set(k.fma(value, weight, outputs[o].get()))

        _Rows(
            row=self.row,
            source=source,
            pixel_bytes=self.channels * FLOAT_BYTES,
            weights=weights,
            tap_bytes=self.row.kernel_size * self.channels * k.vector_bytes,
            bias=bias,
            target=target,
            rows=(first, last),
            height=height,
            above=above,
        ).emit(k, add_taps, self.activation)
