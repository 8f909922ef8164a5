"""Depthwise and stem kernels against ``minimix.ops.conv``, at every vector width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimix import ops
from minimix.engine.kernels.conv import DepthwiseKernel, RowGeometry, StemKernel
from minimix.geometry import output_size, pad_amounts, receptive_extent
from tests.kernel_calls import EPS, Bench, Target, assert_sums_close


@dataclass(frozen=True)
class Case:
    """A convolution of pictures of one width; heights are free."""

    K: int
    stride: int = 1
    padding: str = "symmetric"
    dilation: int = 1
    W: int = 9
    tile: int = 14
    activation: str | None = None
    channels: int = 3  # of a stem's picture

    @property
    def row(self):
        before, _ = pad_amounts(self.W, self.K, self.stride, self.padding, self.dilation)
        Wo = output_size(self.W, self.K, self.stride, self.padding, self.dilation)
        return RowGeometry(self.W, Wo, self.K, self.stride, self.dilation, before, self.tile)

    def above(self, H):
        return pad_amounts(H, self.K, self.stride, self.padding, self.dilation)[0]

    def rows(self, H):
        return output_size(H, self.K, self.stride, self.padding, self.dilation)

    @property
    def heights(self):
        """One row, fewer than the kernel sees, about as many, and more."""
        extent = receptive_extent(self.K, self.dilation)
        return sorted({1, 2, max(1, extent // 2), extent, 2 * extent + 3})


# Every kernel size, stride and padding; widths smaller than the kernel and around tiles' edges.
DEPTHWISE = [
    *(Case(K, s, W=W) for K, W in zip(range(3, 16, 2), (1, 2, 5, 7, 14, 28, 40), strict=True)
      for s in (1, 2)),
    *(Case(K, s, "same", W=W) for K, W in zip(range(3, 16, 4), (14, 33, 3, 30), strict=True)
      for s in (1, 2)),
    *(Case(K, s, "same", W=W) for K, W in ((2, 1), (4, 15), (6, 29)) for s in (1, 2)),
    Case(1, W=3), Case(1, 2, W=8), Case(1, 2, "same", W=7), Case(3, 3, W=17),
    Case(3, 1, dilation=2, W=11), Case(5, 1, dilation=3, W=6), Case(3, 2, dilation=2, W=29),
    Case(4, 1, "same", 2, W=13), Case(3, 2, "same", 5, W=8), Case(2, 1, dilation=4, W=31),
    Case(5, W=29, tile=6), Case(7, 2, W=31, tile=6), Case(9, 1, "same", W=40, tile=6),
]  # fmt: skip
EDGES = [Case(3, 1 + W % 2, W=W, tile=6 if W % 3 else 14) for W in range(1, 41)]
ACTIVATED = [Case(3, W=9, activation=name) for name in ("relu", "swish")]
STEMS = [
    Case(3, 2, W=32), Case(3, 2, "same", W=32), Case(3, 2, W=33), Case(3, 2, W=29, tile=6),
    Case(3, 2, "same", W=1), Case(5, 1, W=3, channels=1), Case(2, 1, "same", W=17, channels=4),
    Case(1, 1, W=5, channels=2), Case(3, 1, W=30, channels=2, activation="relu"),
    Case(3, 2, W=16, activation="swish"),
]  # fmt: skip


def depthwise_kernel(case, pool=False):
    return DepthwiseKernel(case.row, case.activation, pool)


def stem_kernel(case):
    return StemKernel(case.row, case.channels, case.activation)


@pytest.fixture(scope="module", params=[16, 8, 4], ids="V{}".format)
def bench(request):
    plain = [depthwise_kernel(case) for case in (*DEPTHWISE, *EDGES, *ACTIVATED)]
    pooled = [depthwise_kernel(case, pool=True) for case in (*DEPTHWISE[::5], *ACTIVATED)]
    return Bench(request.param, [*plain, *pooled, *map(stem_kernel, STEMS)])


def activated(y, case):
    return ops.ACTIVATIONS[case.activation](y) if case.activation else y


def run_depthwise(bench, case, H, rows, rng, pool=False):
    """(what was computed, the same by the reference, sums or None)."""
    V, above = bench.width, case.above(H)
    x, weight = bench.random(rng, H * case.W), bench.random(rng, case.K**2)
    bias, sums = bench.random(rng, 1), Target(bench, 1)
    Wo, Ho = case.row.size_out, case.rows(H)
    out = Target(bench, Ho * Wo)
    kernel = depthwise_kernel(case, pool)
    bench.call(kernel, x, weight, bias, out.values, sums.values, *rows, H, above)
    out.check_rest(slice(rows[0] * Wo, rows[1] * Wo))
    sums.check_rest(slice(0, 1 if pool else 0))
    expected = ops.depthwise(
        x.reshape(1, H, case.W, V),
        weight.reshape(case.K, case.K, V),
        stride=case.stride,
        padding=case.padding,
        dilation=case.dilation,
    )
    assert expected.shape == (1, Ho, Wo, V)
    expected = activated(expected[0] + bias[0], case)[slice(*rows)]
    return out.values.reshape(Ho, Wo, V)[slice(*rows)], expected, sums.values[0]


@pytest.mark.parametrize("case", [*DEPTHWISE, *ACTIVATED], ids=str)
def test_depthwise_equals_the_reference_operator_at_every_height(bench, case):
    for H in case.heights:
        rng = np.random.default_rng(H)
        actual, expected, _ = run_depthwise(bench, case, H, (0, case.rows(H)), rng)
        assert_sums_close(actual, expected, case.K**2)


def test_depthwise_equals_the_reference_operator_at_every_width(bench):
    for case in EDGES:
        rng = np.random.default_rng(case.W)
        actual, expected, _ = run_depthwise(bench, case, 4, (0, case.rows(4)), rng)
        assert_sums_close(actual, expected, case.K**2)


@pytest.mark.parametrize("case", DEPTHWISE[::3], ids=str)
def test_rows_that_are_computed_apart_are_those_of_the_whole(bench, case):
    H = 2 * receptive_extent(case.K, case.dilation) + 1
    Ho = case.rows(H)
    whole, _, _ = run_depthwise(bench, case, H, (0, Ho), np.random.default_rng(1))
    for rows in ((0, 1), (0, Ho // 2), (Ho // 2, Ho), (Ho - 1, Ho)):
        part, _, _ = run_depthwise(bench, case, H, rows, np.random.default_rng(1))
        assert part.tobytes() == whole[slice(*rows)].tobytes()


@pytest.mark.parametrize("case", [*DEPTHWISE[::5], *ACTIVATED], ids=str)
def test_depthwise_leaves_the_sum_of_its_outputs_behind(bench, case):
    for H in case.heights:
        rng = np.random.default_rng(H)
        actual, expected, sums = run_depthwise(bench, case, H, (0, case.rows(H)), rng, pool=True)
        assert_sums_close(actual, expected, case.K**2)
        exact = actual.astype(np.float64)
        bound = EPS * exact[..., 0].size * np.abs(exact).sum(axis=(0, 1)).max()
        np.testing.assert_allclose(sums, exact.sum(axis=(0, 1)), rtol=0, atol=bound)


@pytest.mark.parametrize("case", STEMS, ids=str)
def test_the_stem_equals_the_reference_operator(bench, case):
    V, C, K = bench.width, case.channels, case.K
    for H in case.heights:
        rng = np.random.default_rng(H)
        # The picture lies as the caller brought it, not aligned to vectors; NaN around it.
        memory = np.full(H * case.W * C + 200, np.nan, np.float32)
        memory[101 : 101 + H * case.W * C] = rng.uniform(-1, 1, H * case.W * C)
        x = memory[101 : 101 + H * case.W * C]
        weight, bias = bench.random(rng, K * K * C), bench.random(rng, 1)
        Wo, Ho = case.row.size_out, case.rows(H)
        first = Ho // 3
        out = Target(bench, Ho * Wo)
        bench.call(stem_kernel(case), x, weight, bias, out.values, first, Ho, H, case.above(H))
        out.check_rest(slice(first * Wo, None))
        expected = ops.conv2d(
            x.reshape(1, H, case.W, C),
            weight.reshape(K, K, C, V),
            stride=case.stride,
            padding=case.padding,
        )
        expected = activated(expected[0] + bias[0], case)
        assert_sums_close(out.values.reshape(Ho, Wo, V)[first:], expected[first:], K * K * C)


@given(st.data())
def test_tiles_cover_a_row_once_and_those_between_touch_no_edge(data):
    row = RowGeometry(
        data.draw(st.integers(1, 80), "size_in"),
        data.draw(st.integers(1, 80), "size_out"),
        data.draw(st.integers(1, 15), "kernel_size"),
        data.draw(st.integers(1, 3), "stride"),
        data.draw(st.integers(1, 4), "dilation"),
        data.draw(st.integers(0, 20), "before"),
        data.draw(st.integers(1, 14), "tile"),
    )
    edges, (start, stop) = row.tiles()
    between = [(first, row.width) for first in range(start, stop, row.width)]
    covered = sorted(o for first, count in (*edges, *between) for o in range(first, first + count))
    assert covered == list(range(row.size_out))
    assert all(0 < count <= row.tile for _, count in edges)
    assert row.width <= row.tile
    for first, count in between:
        assert row.columns(first, count) == row.columns(None, count)
