"""Activations, gates and unfused operators as kernels, at every vector width."""

from __future__ import annotations

import numpy as np
import pytest

from minimix import ops
from minimix.engine.kernels.builder import Kernel
from minimix.engine.kernels.elementwise import Activate, AddPlanes, MeanOfPlane, NormalizePlane
from minimix.engine.kernels.head import GateActivations, GateWeights
from tests.kernel_calls import EPS, Bench, Target, assert_sums_close

ACTIVATIONS = {name: Activate(name) for name in ("relu", "sigmoid", "swish")}
NORMS = [NormalizePlane(eps) for eps in (1e-3, 1e-5, 0.0)]
MEANS = [MeanOfPlane(pixels) for pixels in (1, 2, 49, 196)]
GATES = [GateWeights(vectors) for vectors in (1, 2, 3)]
OTHERS = (AddPlanes(), GateActivations())

LOWEST = -87.0
"""Below this, exp(-x) leaves the float range and the error bounds are absolute ones."""

PRIME = 997
"""Every so many float32 bit patterns are tried: 4.3 million of them."""


@pytest.fixture(scope="module", params=[16, 8, 4], ids="V{}".format)
def bench(request):
    kernels = [*ACTIVATIONS.values(), *NORMS, *MEANS, *GATES, *OTHERS]
    return Bench(request.param, kernels)


@pytest.fixture(scope="module")
def patterns():
    """A sample of all float32 bit patterns: denormals, infinities, NaNs of all kinds."""
    special = [0, 1, 0x007FFFFF, 0x00800000, 0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FC00000]
    special += [0x7FFFFFFF, *range(0x42AE0000, 0x42B40000, 9), *range(0x42FA0000, 0x42FE0000, 9)]
    bits = np.concatenate([np.arange(0, 2**32, PRIME, np.uint64), special]).astype(np.uint32)
    bits = np.concatenate([bits, np.array(special, np.uint32) | np.uint32(1 << 31)])
    return bits[: len(bits) // 16 * 16].view(np.float32)


def apply(bench, name, values):
    planes = bench.filled(values.reshape(-1, bench.width))
    out = Target(bench, len(planes))
    bench.call(ACTIVATIONS[name], planes, out.values, len(planes))
    return out.values.reshape(-1)


def in_double(values):
    # Signalling NaNs are invalid to convert, which is no news here.
    with np.errstate(invalid="ignore"):
        return values.astype(np.float64)


def exact_sigmoid(x):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def relative_bound(x):
    """What sigmoid and swish may be off, as a share of the exact value."""
    return np.where(x >= -20, 6e-7, 2e-6)


def check_bound(actual, exact, bound):
    """Check results against exact ones, number by number."""
    error = np.abs(in_double(actual) - exact)
    worst = int(np.argmax(error - bound))
    assert error[worst] <= bound[worst], (actual[worst], exact[worst], error[worst])


def test_relu_is_exact_for_every_number(bench, patterns):
    y = apply(bench, "relu", patterns)
    np.testing.assert_array_equal(y, np.where(np.isnan(patterns), np.nan, ops.relu(patterns)))


def test_sigmoid_keeps_its_error_bound_over_the_whole_float_range(bench, patterns):
    finite = patterns[~np.isnan(patterns)]
    y = apply(bench, "sigmoid", finite[: len(finite) // 16 * 16])
    x = in_double(finite[: len(y)])
    exact = exact_sigmoid(x)
    check_bound(y, exact, np.where(x >= LOWEST, relative_bound(x) * exact, 2e-38))


def test_swish_keeps_its_error_bound_over_the_whole_float_range(bench, patterns):
    finite = patterns[np.isfinite(patterns)]
    y = apply(bench, "swish", finite[: len(finite) // 16 * 16])
    x = in_double(finite[: len(y)])
    exact = x * exact_sigmoid(x)
    # A denormal result is rounded to the nearest denormal, 1.4e-45 apart.
    relative = relative_bound(x) * np.abs(exact)
    check_bound(y, exact, np.where(x >= LOWEST, relative + 2e-45, 2e-36))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_nan_stays_a_nan_and_no_number_becomes_one(bench, patterns, name):
    np.testing.assert_array_equal(np.isnan(apply(bench, name, patterns)), np.isnan(patterns))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_infinities_and_zeros_go_where_the_reference_sends_them(bench, name):
    values = np.resize(np.float32([np.inf, -np.inf, 0, -0.0]), 16)
    reference = {"relu": ops.relu, "sigmoid": ops.sigmoid, "swish": ops.swish}[name]
    np.testing.assert_allclose(apply(bench, name, values), reference(values), rtol=0, atol=2e-36)


@pytest.mark.parametrize("name", ["sigmoid", "swish"])
def test_activations_agree_with_the_reference_operators(bench, name):
    x = np.linspace(-20, 20, 16 * 500, dtype=np.float32)
    expected = {"sigmoid": ops.sigmoid, "swish": ops.swish}[name](x)
    np.testing.assert_allclose(apply(bench, name, x), expected, rtol=1e-6, atol=0)


def test_an_unknown_activation_is_refused_when_the_kernel_is_written():
    with pytest.raises(ValueError, match="tanh"):
        Activate("tanh").emit(Kernel("k", 4))


@pytest.mark.parametrize("pixels", [0, 1, 2, 33])
def test_planes_are_added_number_by_number(bench, pixels):
    rng = np.random.default_rng(pixels)
    a, b, out = bench.random(rng, pixels), bench.random(rng, pixels), Target(bench, pixels)
    bench.call(AddPlanes(), a, b, out.values, pixels)
    out.check_rest(slice(None))
    np.testing.assert_array_equal(out.values, a + b)


@pytest.mark.parametrize("kernel", NORMS, ids=lambda kernel: kernel.name)
def test_batch_norm_equals_the_reference_operator(bench, kernel):
    rng = np.random.default_rng(0)
    x, out = bench.random(rng, 21), Target(bench, 21)
    gamma, beta, mean, variance = (bench.random(rng, 1) for _ in range(4))
    variance[:] = np.abs(variance) + 0.5
    bench.call(kernel, x, gamma, beta, mean, variance, out.values, 21)
    out.check_rest(slice(None))
    expected = ops.batch_norm(x, gamma[0], beta[0], mean[0], variance[0], eps=kernel.eps)
    np.testing.assert_allclose(out.values, expected, rtol=0, atol=8 * EPS * 3)


@pytest.mark.parametrize("kernel", NORMS, ids=lambda kernel: kernel.name)
def test_batch_norm_leaves_lanes_without_a_channel_zero(bench, kernel):
    zero, out = bench.filled(np.zeros((5, bench.width), np.float32)), Target(bench, 5)
    bench.call(kernel, zero, *[zero] * 4, out.values, 5)
    np.testing.assert_array_equal(out.values, 0)


@pytest.mark.parametrize("kernel", MEANS, ids=lambda kernel: kernel.name)
def test_the_mean_over_pixels_equals_the_reference_operator(bench, kernel):
    x, out = bench.random(np.random.default_rng(0), kernel.pixels), Target(bench, 1)
    bench.call(kernel, x, out.values)
    out.check_rest(slice(None))
    expected = ops.global_average_pool(x[None, None])[0]
    assert_sums_close(out.values[0], expected, kernel.pixels)


@pytest.mark.parametrize("in_place", [False, True])
def test_gates_multiply_the_channels_of_a_plane(bench, in_place):
    rng = np.random.default_rng(0)
    x, gates, out = bench.random(rng, 30), bench.random(rng, 1), Target(bench, 30)
    expected = x * gates[0]
    bench.call(GateActivations(), x, gates, x if in_place else out.values, 30)
    np.testing.assert_array_equal(x if in_place else out.values, expected)
    out.check_rest(slice(0, 0 if in_place else 30))


@pytest.mark.parametrize("kernel", GATES, ids=lambda kernel: kernel.name)
def test_gates_multiply_the_rows_of_packed_weights(bench, kernel):
    rng, V = np.random.default_rng(0), bench.width
    # (offset of a channel's gate in bytes, steps of four channels), not in the order of channels.
    runs = np.array([(V * 4, V // 4), (0, 1), ((3 * V - 4) * 4, 1)], np.int64)
    channels = [*range(V, 2 * V), *range(4), *range(3 * V - 4, 3 * V)]
    weights = bench.random(rng, len(channels) * kernel.vectors)
    gates, out = bench.random(rng, 3), Target(bench, len(weights))
    bench.call(kernel, weights, runs, len(runs), gates, out.values)
    out.check_rest(slice(None))
    rows = weights.reshape(len(channels), -1) * gates.ravel()[channels, None]
    np.testing.assert_array_equal(out.values, rows.reshape(out.values.shape))
