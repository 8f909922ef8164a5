"""Laws that the reference operators keep, whatever the loops say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minimix import ops
from tests import naive
from tests.op_strategies import (
    ODD_KERNELS,
    PADDINGS,
    SEEDS,
    assert_close,
    conv_cases,
    mixconv_cases,
    pictures,
    pointwise_cases,
    squeeze_excite_weights,
    uniform,
)

EXTREMES = np.array([-1e30, -1000, -100, -0.0, 0, 100, 1000, 1e30], np.float32)
FLOATS = hnp.arrays(np.float32, st.integers(1, 20), elements=st.floats(-50, 50, width=32))


@given(mixconv_cases())
def test_mixconv_equals_depthwise_on_each_channel_slice(case):
    y = ops.mixconv(case.x, case.weights, **case.attributes)
    for part, weight, dilation in zip(case.slices, case.weights, case.dilations, strict=True):
        expected = ops.depthwise(
            case.x[..., part],
            weight,
            stride=case.stride,
            padding=case.padding,
            dilation=dilation,
        )
        np.testing.assert_array_equal(y[..., part], expected)


@given(mixconv_cases(max_groups=1))
def test_mixconv_with_one_group_is_depthwise(case):
    y = ops.depthwise(
        case.x,
        case.weights[0],
        stride=case.stride,
        padding=case.padding,
        dilation=case.dilations[0],
    )
    np.testing.assert_array_equal(ops.mixconv(case.x, case.weights, **case.attributes), y)


@given(mixconv_cases(max_groups=3, paddings=st.just("same")))
def test_dilations_that_are_left_out_are_one(case):
    attributes = {"stride": case.stride, "padding": "same"}
    y = ops.mixconv(case.x, case.weights, **attributes)
    with_ones = ops.mixconv(case.x, case.weights, dilations=[1] * len(case.weights), **attributes)
    np.testing.assert_array_equal(y, with_ones)


@given(mixconv_cases(max_groups=1))
def test_a_dilated_kernel_is_the_larger_kernel_with_zeros_between_its_taps(case):
    (weight,), (dilation,) = case.weights, case.dilations
    extent = naive.extent_of(len(weight), dilation)
    spread = np.zeros((extent, extent, weight.shape[2]), weight.dtype)
    spread[::dilation, ::dilation] = weight
    attributes = {"stride": case.stride, "padding": case.padding}
    y = ops.depthwise(case.x, weight, dilation=dilation, **attributes)
    assert_close(y, ops.depthwise(case.x, spread, **attributes), case.terms, case.x.dtype)


def linear_maps():
    """(a picture, a function of pictures that is linear, products per sum)."""
    mixed = mixconv_cases().map(
        lambda c: (c.x, lambda x: ops.mixconv(x, c.weights, **c.attributes), c.terms)
    )
    full = conv_cases().map(
        lambda c: (c.x, lambda x: ops.conv2d(x, c.weight, **c.attributes), c.terms)
    )
    pointwise = pointwise_cases().map(
        lambda c: (c.x, lambda x: ops.pointwise(x, c.weights), c.terms)
    )
    return mixed | full | pointwise


@given(linear_maps(), SEEDS)
def test_convolutions_are_linear_in_the_picture(case, seed):
    x, convolve, terms = case
    rng = np.random.default_rng(seed)
    other, (a, b) = uniform(rng, x.shape, x.dtype), rng.uniform(-1, 1, 2).astype(x.dtype)
    assert_close(
        convolve(a * x + b * other), a * convolve(x) + b * convolve(other), 4 * terms, x.dtype
    )


@given(linear_maps())
def test_a_batch_gives_what_its_pictures_give_one_by_one(case):
    x, convolve, terms = case
    singles = np.concatenate([convolve(x[n : n + 1]) for n in range(len(x))])
    assert_close(convolve(x), singles, terms, x.dtype)


@given(linear_maps())
def test_a_picture_need_not_be_contiguous(case):
    x, convolve, terms = case
    strided = np.repeat(x, 2, axis=2)[:, :, ::2]
    channels_first = np.ascontiguousarray(x.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    for view in (strided, channels_first):
        assert_close(convolve(view), convolve(x), terms, x.dtype)


@st.composite
def shifted_crops(draw):
    """(mixconv case, two crops of one picture that are ``shift`` output pixels apart, shift)."""
    case = draw(mixconv_cases(max_groups=3))
    shift = draw(st.integers(0, 3))
    extent = max(
        naive.extent_of(len(w), d) for w, d in zip(case.weights, case.dilations, strict=True)
    )
    # Large enough that some output sees no padding in either crop.
    side = extent + (shift + 2) * case.stride
    rng = np.random.default_rng(draw(SEEDS))
    scene = uniform(rng, (1, side + shift * case.stride, side, case.x.shape[-1]), case.x.dtype)
    return case, scene[:, :side], scene[:, shift * case.stride :], shift


@given(shifted_crops())
def test_away_from_borders_a_shifted_picture_gives_a_shifted_result(crops):
    case, crop, shifted_crop, shift = crops
    y = ops.mixconv(crop, case.weights, **case.attributes)
    shifted = ops.mixconv(shifted_crop, case.weights, **case.attributes)
    side = crop.shape[1]
    for part, weight, dilation in zip(case.slices, case.weights, case.dilations, strict=True):
        K = len(weight)
        starts = naive.window_starts(side, K, case.stride, case.padding, dilation)
        last = side - naive.extent_of(K, dilation)
        clear = [i for i, start in enumerate(starts) if 0 <= start <= last]
        both = [i for i in clear if i + shift in clear]
        assert both
        moved = [i + shift for i in both]
        np.testing.assert_array_equal(shifted[:, both][..., part], y[:, moved][..., part])


@given(pictures(), ODD_KERNELS, st.integers(1, 3), PADDINGS)
def test_a_kernel_with_a_single_one_in_its_middle_moves_nothing(x, K, dilation, padding):
    delta = np.zeros((K, K, x.shape[-1]), x.dtype)
    delta[K // 2, K // 2] = 1
    y = ops.depthwise(x, delta, padding=padding, dilation=dilation)
    np.testing.assert_array_equal(y, x)


@given(pictures(), st.sampled_from([2, 4, 6, 8, 10]))
def test_an_even_kernel_with_same_padding_has_its_middle_before_the_half(x, K):
    delta = np.zeros((K, K, x.shape[-1]), x.dtype)
    delta[K // 2 - 1, K // 2 - 1] = 1
    np.testing.assert_array_equal(ops.depthwise(x, delta, padding="same"), x)


@given(pictures(), SEEDS)
def test_a_1x1_depthwise_scales_every_channel(x, seed):
    scale = uniform(np.random.default_rng(seed), (1, 1, x.shape[-1]), x.dtype)
    np.testing.assert_array_equal(ops.depthwise(x, scale), x * scale[0, 0])


@given(pointwise_cases(max_groups=1))
def test_a_pointwise_with_one_group_is_a_matrix_product_and_a_1x1_convolution(case):
    (weight,) = case.weights
    y = ops.pointwise(case.x, [weight])
    assert_close(y, case.x @ weight, case.terms, case.x.dtype)
    assert_close(y, ops.conv2d(case.x, weight[None, None]), case.terms, case.x.dtype)


@given(mixconv_cases(max_groups=3, paddings=st.just("symmetric")))
def test_a_strided_symmetric_convolution_is_every_nth_pixel_of_the_unstrided_one(case):
    y = ops.mixconv(case.x, case.weights, **case.attributes)
    everywhere = ops.mixconv(case.x, case.weights, **(case.attributes | {"stride": 1}))
    np.testing.assert_array_equal(y, everywhere[:, :: case.stride, :: case.stride])


@given(FLOATS)
def test_sigmoid_of_minus_x_is_one_minus_sigmoid_of_x(x):
    np.testing.assert_allclose(ops.sigmoid(-x), 1 - ops.sigmoid(x), rtol=0, atol=2e-7)


@given(FLOATS)
def test_sigmoid_is_monotone_and_stays_in_0_to_1(x):
    y = ops.sigmoid(np.sort(x))
    assert (np.diff(y) >= -1e-7).all()
    assert ((y >= 0) & (y <= 1)).all()


@given(FLOATS)
def test_swish_lies_between_relu_and_relu_less_0_279(x):
    gap = ops.relu(x) - ops.swish(x)
    assert (gap >= -4e-6).all()
    assert (gap <= 0.2785).all()


def test_activations_of_huge_numbers_are_their_limits_without_a_warning():
    np.testing.assert_array_equal(ops.relu(EXTREMES), np.maximum(EXTREMES, 0))
    np.testing.assert_allclose(ops.sigmoid(EXTREMES), [0, 0, 0, 0.5, 0.5, 1, 1, 1], atol=1e-40)
    np.testing.assert_allclose(ops.swish(EXTREMES), np.maximum(EXTREMES, 0), atol=1e-40)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations_of_infinities_are_their_limits_without_a_warning(dtype):
    infinities = np.array([-np.inf, np.inf], dtype)
    np.testing.assert_array_equal(ops.sigmoid(infinities), [0, 1])
    np.testing.assert_array_equal(ops.relu(infinities), [0, np.inf])
    np.testing.assert_array_equal(ops.swish(infinities), [0, np.inf])


@pytest.mark.parametrize("name", ["relu", "sigmoid", "swish"])
def test_a_nan_stays_a_nan_and_touches_no_neighbour(name):
    y = getattr(ops, name)(np.array([0.0, np.nan, 1.0], np.float32))
    assert np.isnan(y).tolist() == [False, True, False]
    assert y.dtype == np.float32


@given(st.integers(1, 3), st.integers(1, 9), st.floats(-1e4, 1e4, width=32), SEEDS)
def test_softmax_sums_to_one_and_ignores_a_common_shift(N, classes, shift, seed):
    logits = 10 * uniform(np.random.default_rng(seed), (N, classes), "float64")
    p = ops.softmax(logits)
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=1e-12)
    np.testing.assert_allclose(ops.softmax(logits + shift), p, rtol=1e-9)
    np.testing.assert_array_equal(p.argmax(axis=-1), logits.argmax(axis=-1))


def test_softmax_of_extremes_is_finite():
    p = ops.softmax(np.array([[-1e30, 0, 1e30], [-np.inf, 0, 0]], np.float32))
    np.testing.assert_array_equal(p, [[0, 0, 1], [0, 0.5, 0.5]])


@given(pictures())
def test_squeeze_excite_with_zero_weights_halves_the_picture(x):
    rng = np.random.default_rng(0)
    weights = [np.zeros_like(w) for w in squeeze_excite_weights(rng, x.shape[-1], 2, x.dtype)]
    y = ops.squeeze_excite(x, *weights, activation=ops.swish)
    np.testing.assert_array_equal(y, x / 2)


@given(pictures(), SEEDS)
def test_squeeze_excite_multiplies_by_its_gates(x, seed):
    weights = squeeze_excite_weights(np.random.default_rng(seed), x.shape[-1], 3, x.dtype)
    gates = ops.squeeze_excite_gates(x, *weights, activation=ops.relu)
    assert gates.shape == (len(x), x.shape[-1])
    assert ((gates > 0) & (gates < 1)).all()
    y = ops.squeeze_excite(x, *weights, activation=ops.relu)
    np.testing.assert_array_equal(y, x * gates[:, None, None])


@given(pictures())
def test_batch_norm_with_its_own_statistics_has_mean_beta_and_deviation_gamma(x):
    x = x.astype(np.float64)
    C = x.shape[-1]
    gamma, beta = np.full(C, 2.0), np.full(C, -3.0)
    mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2)) + 1e-2
    y = ops.batch_norm(x, gamma, beta, mean, variance, eps=0.0)
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), beta, atol=1e-10)
    expected = 2.0 * np.sqrt((variance - 1e-2) / variance)
    np.testing.assert_allclose(y.std(axis=(0, 1, 2)), expected, atol=1e-10)


@given(pictures(), st.integers(1, 3), st.integers(1, 5), PADDINGS)
def test_pad2d_surrounds_the_picture_with_zeros_and_nothing_else(x, stride, K, padding):
    K = K if padding == "same" else 2 * K - 1
    rows, columns = (naive.padding_of(n, K, stride, padding) for n in x.shape[1:3])
    padded = ops.pad2d(x, K, stride, padding)
    expected = np.pad(x, ((0, 0), rows, columns, (0, 0)))
    np.testing.assert_array_equal(padded, expected)
