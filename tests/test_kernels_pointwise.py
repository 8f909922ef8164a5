"""Pointwise tiles against ``minimix.ops.pointwise``, at every vector width."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from minimix import ops
from minimix.engine.kernels.pointwise import UNROLL, PointwiseKernel
from tests.kernel_calls import Bench, Target, assert_sums_close

# The shapes that planners choose, those of one pixel, and the smallest.
SHAPES = ((7, 3), (4, 3), (9, 2), (1, 1), (1, 3), (1, 8), (2, 1), (5, 3), (3, 2))
PLAIN = [PointwiseKernel(pixels, vectors) for pixels, vectors in SHAPES]
FINISHED = [
    PointwiseKernel(7, 3, "relu"),
    PointwiseKernel(4, 2, "swish", residual=True),
    PointwiseKernel(7, 1, residual=True, prefetch=1),
    PointwiseKernel(1, 2, "sigmoid"),
    PointwiseKernel(4, 3, prefetch=2),
    PointwiseKernel(7, 3, joins=True),
    PointwiseKernel(1, 8, "swish", joins=True),
    PointwiseKernel(4, 2, "relu", residual=True, joins=True, prefetch=1),
]
POOLS = [
    PointwiseKernel(pixels, 2, activation, pool=pool, partial=partial, more=more)
    for activation in (None, "relu")
    for pixels, pool, partial, more in (
        (7, 49, False, False),
        (5, 17, True, False),
        (2, 17, False, True),
        (4, 13, True, True),
    )
]
ADDED_AND_POOLED = PointwiseKernel(4, 1, "relu", residual=True, pool=8)


@dataclass(frozen=True)
class Channels:
    """Which lanes of which blocks are read, in runs of ``UNROLL``: (block, first lane, steps)."""

    blocks: int
    runs: tuple[tuple[int, int, int], ...]

    @property
    def lanes(self):
        return [
            (block, lane + c) for block, lane, steps in self.runs for c in range(steps * UNROLL)
        ]


def channels_of(width):
    """All lanes of two blocks, and runs that leave lanes, and a block, out."""
    whole = Channels(2, tuple((block, 0, width // UNROLL) for block in range(2)))
    last = width - UNROLL
    gaps = Channels(4, ((0, last, 1), (1, 0, 1), (3, 0, width // UNROLL), (3, last, 1)))
    return whole, gaps


@pytest.fixture(scope="module", params=[16, 8, 4], ids="V{}".format)
def bench(request):
    return Bench(request.param, [*PLAIN, *FINISHED, *POOLS, ADDED_AND_POOLED])


class Product:
    """Random operands of a kernel, and what the reference makes of them."""

    def __init__(self, bench, kernel, channels, tiles):
        rng = np.random.default_rng(tiles)
        V = bench.width
        self.bench, self.kernel, self.tiles = bench, kernel, tiles
        self.pixels = tiles * kernel.pixels
        self.gap = 2  # vectors between two blocks, which stay untouched
        plane = self.pixels + self.gap
        self.source = bench.random(rng, channels.blocks * plane)
        self.stride_bytes = plane * bench.vector_bytes
        self.weight = bench.random(rng, len(channels.lanes) * kernel.vectors)
        self.bias = bench.random(rng, kernel.vectors)
        self.residual = bench.random(rng, kernel.vectors * plane)
        self.stored = bench.random(rng, kernel.vectors * plane).reshape(kernel.vectors, plane, V)
        self.runs = np.array(
            [(block * self.stride_bytes + lane * 4, steps) for block, lane, steps in channels.runs],
            np.int64,
        )
        blocks = self.source.reshape(channels.blocks, plane, V)
        x = np.stack([blocks[b, : self.pixels, lane] for b, lane in channels.lanes], axis=-1)
        self.terms = len(channels.lanes)
        weight = self.weight.reshape(self.terms, -1)
        product = ops.pointwise(x[None, None], [weight])[0, 0]
        if kernel.joins:
            product = product + self.stored[:, : self.pixels].swapaxes(0, 1).reshape(
                self.pixels, -1
            )
            self.bias[:] = np.nan  # it was added to what is stored
        else:
            product = product + self.bias.ravel()
        functions = ops.ACTIVATIONS | {"sigmoid": ops.sigmoid}
        y = functions[kernel.activation](product) if kernel.activation else product
        # (pixels, vectors * V) -> (vectors, pixels, V), as it is stored.
        self.expected = y.reshape(self.pixels, -1, V).swapaxes(0, 1)
        if kernel.residual:
            added = self.residual.reshape(kernel.vectors, plane, V)
            self.expected = self.expected + added[:, : self.pixels]

    def run(self, target, stride_bytes):
        self.bench.call(
            self.kernel,
            self.source,
            self.runs,
            len(self.runs),
            self.weight,
            self.bias,
            target,
            stride_bytes,
            self.residual if self.kernel.residual else 0,
            self.tiles,
            self.weight,
        )


@pytest.mark.parametrize("gaps", [False, True], ids=["dense", "gaps"])
@pytest.mark.parametrize("kernel", [*PLAIN, *FINISHED], ids=lambda kernel: kernel.name)
def test_tiles_equal_the_reference_operator(bench, kernel, gaps):
    for tiles in (1, 2, 5):
        product = Product(bench, kernel, channels_of(bench.width)[gaps], tiles)
        plane = product.pixels + product.gap
        out = Target(bench, kernel.vectors * plane)
        blocks = out.values.reshape(kernel.vectors, plane, bench.width)
        if kernel.joins:
            blocks[:, : product.pixels] = product.stored[:, : product.pixels]
        product.run(out.values, product.stride_bytes)
        assert_sums_close(blocks[:, : product.pixels], product.expected, product.terms)
        assert (blocks[:, product.pixels :] == Target.MARK).all()
        blocks[:, product.pixels :] = 0
        out.check_rest(slice(None))


@pytest.mark.parametrize("kernel", [*POOLS, ADDED_AND_POOLED], ids=lambda kernel: kernel.name)
def test_a_pooled_product_is_the_sum_over_pixels_or_their_mean(bench, kernel):
    for tiles in (1, 3):
        product = Product(bench, kernel, channels_of(bench.width)[0], tiles)
        out = Target(bench, kernel.vectors)
        before = np.random.default_rng(9).uniform(-1, 1, out.values.shape).astype(np.float32)
        if kernel.more:
            out.values[:] = before
        product.run(out.values, bench.vector_bytes)
        out.check_rest(slice(None))
        expected = product.expected.astype(np.float64).sum(axis=1)
        expected += before if kernel.more else 0
        expected /= 1 if kernel.partial else kernel.pool
        assert_sums_close(out.values, expected, product.terms * product.pixels)


def test_a_sum_in_two_parts_is_the_mean_over_all_pixels(bench):
    first, last = POOLS[1], POOLS[2]
    product = Product(bench, replace(first, pool=0, partial=False), channels_of(bench.width)[0], 4)
    whole, rest = divmod(17, first.pixels)
    out, row = Target(bench, 2), (product.runs, len(product.runs), product.weight, product.bias)
    step = bench.vector_bytes
    bench.call(first, product.source, *row, out.values, step, 0, whole, product.weight)
    moved = product.source[whole * first.pixels :]
    assert rest == last.pixels
    bench.call(last, moved, *row, out.values, step, 0, 1, product.weight)
    assert_sums_close(out.values, product.expected[:, :17].mean(axis=1), product.terms)


def test_an_infinite_or_missing_number_stays_with_its_pixel(bench):
    kernel = PLAIN[0]
    product = Product(bench, kernel, channels_of(bench.width)[0], 2)
    for value in (np.nan, np.inf):
        product.source[3, 0] = value
        out = Target(bench, kernel.vectors * (product.pixels + product.gap))
        product.run(out.values, product.stride_bytes)
        blocks = out.values.reshape(kernel.vectors, -1, bench.width)[:, : product.pixels]
        assert not np.isfinite(blocks[:, 3]).any()
        assert np.isfinite(np.delete(blocks, 3, axis=1)).all()


def test_no_input_channels_leave_the_bias(bench):
    kernel = PLAIN[1]
    product = Product(bench, kernel, channels_of(bench.width)[0], 1)
    product.runs = np.zeros((0, 2), np.int64)
    out = Target(bench, kernel.vectors * (product.pixels + product.gap))
    product.run(out.values, product.stride_bytes)
    blocks = out.values.reshape(kernel.vectors, -1, bench.width)[:, : product.pixels]
    np.testing.assert_array_equal(blocks, np.broadcast_to(product.bias[:, None], blocks.shape))


def test_kernels_that_differ_have_different_names():
    kernels = [*PLAIN, *FINISHED, *POOLS, ADDED_AND_POOLED]
    assert len({kernel.name for kernel in kernels}) == len(kernels)
