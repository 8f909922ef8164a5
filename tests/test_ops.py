"""The reference operators against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minimix import ops
from minimix.errors import GraphError
from tests import naive
from tests.op_strategies import (
    DTYPES,
    SEEDS,
    ConvCase,
    MixConvCase,
    assert_close,
    conv_cases,
    mixconv_cases,
    pictures,
    pointwise_cases,
    squeeze_excite_weights,
    uniform,
)

slow_oracle = settings(max_examples=60, deadline=None)
ACTIVATIONS = st.sampled_from(["relu", "swish"])


def ones(*shape, dtype="float32"):
    return np.ones(shape, dtype)


@slow_oracle
@given(mixconv_cases())
@example(MixConvCase(ones(1, 1, 1, 1), (ones(11, 11, 1),), 3, "same", (3,)))
@example(MixConvCase(ones(1, 2, 1, 2), (ones(2, 2, 1), ones(4, 4, 1)), 2, "same", (1, 1)))
def test_mixconv_equals_plain_loops(case):
    y = ops.mixconv(case.x, case.weights, **case.attributes)
    assert_close(y, naive.mixconv(case.x, case.weights, **case.attributes), case.terms, y.dtype)
    assert y.dtype == case.x.dtype


@slow_oracle
@given(mixconv_cases(max_groups=1))
def test_depthwise_equals_plain_loops(case):
    (weight,), (dilation,) = case.weights, case.dilations
    attributes = {"stride": case.stride, "padding": case.padding, "dilation": dilation}
    y = ops.depthwise(case.x, weight, **attributes)
    assert_close(y, naive.depthwise(case.x, weight, **attributes), case.terms, case.x.dtype)


@slow_oracle
@given(conv_cases())
@example(ConvCase(ones(1, 1, 1, 1), ones(5, 5, 1, 1), 3, "same"))
def test_conv2d_equals_plain_loops(case):
    y = ops.conv2d(case.x, case.weight, **case.attributes)
    expected = naive.conv2d(case.x, case.weight, **case.attributes)
    assert_close(y, expected, case.terms, case.x.dtype)


@slow_oracle
@given(pointwise_cases())
def test_pointwise_equals_plain_loops(case):
    y = ops.pointwise(case.x, case.weights)
    assert_close(y, naive.pointwise(case.x, case.weights), case.terms, case.x.dtype)


@given(pictures(), SEEDS, st.sampled_from([1e-5, 1e-3]))
def test_batch_norm_equals_plain_loops(x, seed, eps):
    rng, C = np.random.default_rng(seed), x.shape[-1]
    gamma, beta, mean = (uniform(rng, (C,), x.dtype) for _ in range(3))
    variance = rng.uniform(0.25, 4, C).astype(x.dtype)
    y = ops.batch_norm(x, gamma, beta, mean, variance, eps=eps)
    # 1 / sqrt(0.25) doubles every rounding error.
    assert_close(y, naive.batch_norm(x, gamma, beta, mean, variance, eps=eps), 4, x.dtype)


@given(pictures(), st.floats(0.01, 20), st.sampled_from(["relu", "sigmoid", "swish"]))
def test_activations_equal_their_formulas(x, scale, name):
    x = x * x.dtype.type(scale)
    assert_close(getattr(ops, name)(x), getattr(naive, name)(x), int(scale) + 1, x.dtype)


@given(pictures())
def test_global_average_pool_equals_plain_loops(x):
    assert_close(ops.global_average_pool(x), naive.global_average_pool(x), 4, x.dtype)


@given(pictures(), st.integers(1, 4), ACTIVATIONS, SEEDS)
def test_squeeze_excite_and_its_gates_equal_plain_loops(x, reduced, name, seed):
    weights = squeeze_excite_weights(np.random.default_rng(seed), x.shape[-1], reduced, x.dtype)
    for function in ("squeeze_excite_gates", "squeeze_excite"):
        y = getattr(ops, function)(x, *weights, activation=ops.ACTIVATIONS[name])
        expected = getattr(naive, function)(x, *weights, activation=getattr(naive, name))
        assert_close(y, expected, x.shape[-1] + reduced, x.dtype)


@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), DTYPES, SEEDS)
def test_linear_and_softmax_equal_plain_loops(N, Cin, Cout, dtype, seed):
    rng = np.random.default_rng(seed)
    x, weight, bias = (uniform(rng, shape, dtype) for shape in ((N, Cin), (Cin, Cout), (Cout,)))
    y = ops.linear(x, weight, bias)
    assert_close(y, naive.linear(x, weight, bias), Cin + 1, dtype)
    assert_close(ops.softmax(y), naive.softmax(y), Cout, dtype)


CONVOLUTION_ERRORS = [
    (lambda x: ops.conv2d(x, ones(3, 3, 4, 2)), r"conv2d: weights for 4 channels, .* has 3"),
    (lambda x: ops.depthwise(x, ones(3, 3, 4)), r"depthwise: weights for 4 channels, .* has 3"),
    (
        lambda x: ops.depthwise(x, ones(4, 4, 3)),
        r"depthwise: .* no centre",
    ),
    (lambda x: ops.mixconv(x, [ones(3, 3, 1), ones(5, 5, 1)]), r"mixconv: groups of \[1, 1\]"),
    (lambda x: ops.mixconv(x, [ones(3, 3, 3)], dilations=(1, 2)), r"2 dilations for 1 groups"),
    (lambda x: ops.mixconv(x, []), r"mixconv: groups of \[\] channels, the picture has 3"),
    (lambda x: ops.pointwise(x, [ones(2, 2), ones(2, 2)]), r"pointwise: groups of \[2, 2\]"),
]


@pytest.mark.parametrize(("call", "message"), CONVOLUTION_ERRORS)
def test_weights_that_do_not_fit_the_picture_are_refused(call, message):
    with pytest.raises(GraphError, match=message):
        call(ones(1, 4, 4, 3))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: ops.depthwise(x, ones(3, 5, 2)),
        lambda x: ops.mixconv(x, [ones(5, 3, 1), ones(3, 3, 1)]),
        lambda x: ops.conv2d(x, ones(3, 5, 2, 1)),
    ],
)
def test_a_kernel_that_is_not_square_is_refused(call):
    with pytest.raises(GraphError, match=r"square|3x5|5x3|\(3, 5|\(5, 3"):
        call(ones(1, 6, 6, 2))


@pytest.mark.parametrize(
    ("operator", "call"),
    [
        ("depthwise", lambda x, **how: ops.depthwise(x, ones(3, 3, 2), **how)),
        ("conv2d", lambda x, **how: ops.conv2d(x, ones(3, 3, 2, 1), **how)),
    ],
)
@pytest.mark.parametrize(
    ("x", "how", "message"),
    [
        (ones(6, 6, 2), {}, r"expected floating point \(N, H, W, C\), found float32 \(6, 6, 2\)"),
        (ones(1, 6, 6, 2, dtype="uint8"), {}, r"found uint8 \(1, 6, 6, 2\)"),
        (ones(1, 6, 6, 2), {"stride": 0}, "stride 0, dilation 1; expected 1 or more"),
    ],
)
def test_what_is_no_picture_and_a_stride_of_nothing_are_refused(operator, call, x, how, message):
    with pytest.raises(GraphError, match=f"^{operator}: .*{message}"):
        call(x, **how)


def test_a_dilation_of_nothing_is_refused():
    with pytest.raises(GraphError, match="^depthwise: stride 1, dilation 0; expected 1 or more"):
        ops.depthwise(ones(1, 6, 6, 2), ones(3, 3, 2), dilation=0)


def test_a_picture_is_padded_for_a_stride_and_dilation_of_one_around_its_middle():
    x = ones(1, 4, 5, 2)
    np.testing.assert_array_equal(ops.pad2d(x, 5), np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0))))
    same = ops.pad2d(x, 3, padding="same")
    np.testing.assert_array_equal(same, np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))))


def test_a_picture_that_needs_no_zeros_is_not_copied():
    x = ones(1, 4, 5, 2)
    assert ops.pad2d(x, 1) is x


@pytest.mark.parametrize("padding", ["valid", "SAME", ""])
def test_an_unknown_padding_is_refused(padding):
    with pytest.raises(GraphError, match="same, symmetric"):
        ops.depthwise(ones(1, 6, 6, 2), ones(3, 3, 2), padding=padding)


def test_an_even_kernel_with_symmetric_padding_is_refused_by_the_full_convolution_too():
    with pytest.raises(GraphError, match="no centre"):
        ops.conv2d(ones(1, 6, 6, 2), ones(2, 2, 2, 1))
