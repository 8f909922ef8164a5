"""Shapes, parameters and costs of operators, as integer functions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimix.errors import GraphError
from minimix.geometry import output_size, pad_amounts, receptive_extent, split_channels
from minimix.operators import (
    Activation,
    Add,
    BatchNorm,
    Conv,
    GlobalAveragePool,
    Input,
    Linear,
    MixConv,
    Operator,
    Pointwise,
    SqueezeExcite,
)
from minimix.ops import OPS, run_operator
from tests import naive
from tests.op_strategies import SEEDS, STRIDES
from tests.strategies import convolutions, operators

SIZES = st.integers(1, 60)


@given(st.integers(1, 12), st.integers(0, 500))
def test_channel_groups_add_up_and_only_the_first_is_larger(groups, more):
    channels = groups + more
    sizes = split_channels(channels, groups)
    assert len(sizes) == groups
    assert sum(sizes) == channels
    assert set(sizes[1:]) <= {channels // groups}
    assert 0 <= sizes[0] - channels // groups < groups


@pytest.mark.parametrize(("channels", "groups"), [(2, 3), (0, 1), (4, 0), (4, -1)])
def test_more_groups_than_channels_are_refused(channels, groups):
    with pytest.raises(GraphError, match=f"cannot split {channels} channels into {groups} groups"):
        split_channels(channels, groups)


@given(SIZES, st.integers(1, 11), STRIDES, st.integers(1, 4))
def test_same_padding_and_size_follow_tensorflow(size, K, stride, dilation):
    before, after = pad_amounts(size, K, stride, "same", dilation)
    assert (before, after) == naive.padding_of(size, K, stride, "same", dilation)
    assert 0 <= before <= after <= before + 1
    assert output_size(size, K, stride, "same", dilation) == -(-size // stride)


@given(SIZES, st.integers(0, 5), STRIDES, st.integers(1, 4))
def test_symmetric_padding_of_odd_kernels_is_half_the_extent(size, half, stride, dilation):
    K = 2 * half + 1
    assert pad_amounts(size, K, stride, "symmetric", dilation) == (dilation * half,) * 2
    starts = naive.window_starts(size, K, stride, "symmetric", dilation)
    assert output_size(size, K, stride, "symmetric", dilation) == len(starts)


@given(st.integers(1, 11), st.integers(1, 6))
def test_the_extent_of_a_kernel_counts_the_pixels_from_first_to_last_tap(K, dilation):
    assert receptive_extent(K, dilation) == naive.extent_of(K, dilation)
    assert receptive_extent(K, 1) == K


@st.composite
def operator_cases(draw):
    """(operator, shape of its input)."""
    channels = draw(st.integers(1, 9))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 9)), draw(st.integers(1, 9)), channels)
    linear = st.builds(Linear, st.integers(1, 7)).map(lambda op: (op, (shape[0], channels)))
    pool = st.just((GlobalAveragePool(), shape))
    return draw(operators(channels).map(lambda op: (op, shape)) | linear | pool)


def arrays_of(shapes, seed, dtype="float32"):
    rng = np.random.default_rng(seed)
    return [rng.uniform(0.5, 1, shape).astype(dtype) for shape in shapes]


@given(operator_cases(), SEEDS)
def test_the_inferred_shape_is_the_shape_that_is_computed(case, seed):
    operator, shape = case
    params = arrays_of(operator.param_shapes(shape).values(), seed)
    y = run_operator(operator, params, *arrays_of([shape], seed))
    assert y.shape == operator.output_shape(shape)
    assert y.dtype == np.float32


class Counted(float):
    """A number that counts how often any such number was multiplied."""

    multiplications = 0

    def __mul__(self, other):
        Counted.multiplications += 1
        return float(self) * float(other)

    __rmul__ = __mul__


def counted(array):
    """The same numbers, counting; an object array."""
    return np.vectorize(Counted, otypes=[object])(array)


NAIVE = {
    "conv": lambda op, x, w: naive.conv2d(x, w[0], stride=op.stride, padding=op.padding),
    "mixconv": lambda op, x, w: naive.mixconv(
        x, w, stride=op.stride, padding=op.padding, dilations=op.dilations
    ),
    "pointwise": lambda op, x, w: naive.pointwise(x, w),
    "squeeze_excite": lambda op, x, w: naive.squeeze_excite_gates(x, *w, activation=naive.relu),
    "linear": lambda op, x, w: naive.linear(x, *w),
}


@settings(deadline=None)
@given(operator_cases(), SEEDS)
def test_macs_are_the_multiplications_of_plain_loops(case, seed):
    operator, shape = case
    if operator.kind not in NAIVE:
        assert operator.macs(shape) == 0
        return
    params = operator.param_shapes(shape)
    if hasattr(operator, "bias"):
        params.pop("bias", None)
    # The weights count and the picture does not: each product is seen once, in padding too.
    (x,) = arrays_of([shape], seed)
    weights = [counted(array) for array in arrays_of(params.values(), seed)]
    Counted.multiplications = 0
    NAIVE[operator.kind](operator, x, weights)
    assert operator.macs(shape) == Counted.multiplications


@given(st.integers(1, 9).flatmap(lambda C: st.tuples(convolutions(C), st.just((2, 7, 8, C)))))
def test_a_bias_is_the_last_parameter_and_changes_neither_shape_nor_macs(case):
    operator, shape = case
    with_bias, without = (replace(operator, bias=bias) for bias in (True, False))
    *weights, bias = with_bias.param_shapes(shape).items()
    assert weights == list(without.param_shapes(shape).items())
    assert bias == ("bias", operator.output_shape(shape)[-1:])
    assert with_bias.output_shape(shape) == without.output_shape(shape)
    assert with_bias.macs(shape) == without.macs(shape)


def descendants(kind):
    """Every class below one."""
    return {kind for child in kind.__subclasses__() for kind in (child, *descendants(child))}


def test_every_operator_but_the_input_can_be_run():
    assert set(OPS) == descendants(Operator) - {Input}


@given(st.integers(1, 9).flatmap(operators))
def test_operators_are_values(operator):
    twin = type(operator)(**vars(operator))
    assert twin == operator
    assert hash(twin) == hash(operator)


def test_dilations_that_are_left_out_are_ones_and_equal_to_ones():
    assert MixConv((3, 5)) == MixConv((3, 5), dilations=(1, 1))
    assert MixConv((3, 5)).extents == (3, 5)
    assert MixConv((3, 3), dilations=(1, 2)).extents == (3, 5)


REFUSED = [
    (lambda: MixConv(()), r"kernel_sizes is empty; expected at least one"),
    (lambda: MixConv((3, 0)), r"kernel_size is 0; expected at least 1"),
    (lambda: MixConv((3,), stride=0), r"stride is 0; expected at least 1"),
    (lambda: MixConv((3,), dilations=(0,)), r"dilation is 0; expected at least 1"),
    (lambda: MixConv((3, 5), dilations=(1,)), r"1 dilations for 2 kernel sizes"),
    (lambda: MixConv((3, 4)), r"kernel sizes \(3, 4\) with symmetric padding: .* no centre"),
    (lambda: Conv(0, 3), r"out_channels is 0"),
    (lambda: Conv(8, -1), r"kernel_size is -1"),
    (lambda: Conv(8, 3, stride=0), r"stride is 0"),
    (lambda: Pointwise(8, groups=0), r"groups is 0"),
    (lambda: Pointwise(0), r"out_channels is 0"),
    (lambda: SqueezeExcite(0, "relu"), r"reduced_channels is 0"),
    (lambda: Linear(0), r"out_features is 0"),
    (lambda: Activation("gelu"), r"activation 'gelu'; known: relu, swish"),
    (lambda: Input(3, 32).output_shape((1, 31, 40, 3)), r"at least 32 px; found \(1, 31, 40, 3\)"),
    (lambda: Input(3, 32).output_shape((1, 40, 40, 4)), r"\(N, H, W, 3\) with N at least 1"),
    (lambda: Input(3).output_shape((0, 40, 40, 3)), r"N at least 1"),
    (lambda: Input(3).output_shape((40, 40, 3)), r"expected \(N, H, W, C\), found \(40, 40, 3\)"),
    (lambda: Add().output_shape((1, 2, 2, 3), (1, 2, 2, 4)), r"cannot add \(1, 2, 2, 3\)"),
    (lambda: Linear(5).output_shape((1, 2, 2, 3)), r"expected \(N, C\), found \(1, 2, 2, 3\)"),
    (lambda: GlobalAveragePool().output_shape((1, 3)), r"expected \(N, H, W, C\)"),
    (lambda: Pointwise(4, 3).output_shape((1, 2, 2, 2)), r"cannot split 2 channels into 3"),
    (lambda: Pointwise(2, 3).output_shape((1, 2, 2, 4)), r"cannot split 2 channels into 3"),
    (lambda: MixConv((3, 5, 7)).output_shape((1, 2, 2, 2)), r"cannot split 2 channels into 3"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_what_cannot_be_computed_is_refused(call, message):
    with pytest.raises(GraphError, match=message):
        call()


UNKNOWN_CHOICES = [
    (lambda: SqueezeExcite(4, "gelu"), r"gelu"),
    (lambda: MixConv((3,), padding="valid"), r"valid"),
    (lambda: Conv(8, 3, padding="valid"), r"valid"),
    (lambda: pad_amounts(9, 3, 1, "SAME"), r"SAME"),
]


@pytest.mark.parametrize(("call", "message"), UNKNOWN_CHOICES)
def test_an_unknown_choice_is_refused_where_it_is_written(call, message):
    with pytest.raises(GraphError, match=message):
        call()


def test_a_full_convolution_refuses_even_kernels_with_symmetric_padding_as_mixconv_does():
    with pytest.raises(GraphError, match="no centre"):
        Conv(8, 4, padding="symmetric")


def test_batch_norm_has_four_numbers_per_channel():
    shapes = BatchNorm(1e-3).param_shapes((1, 4, 4, 7))
    assert shapes == {name: (7,) for name in ("gamma", "beta", "mean", "variance")}
