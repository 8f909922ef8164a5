"""Cases of single operators: small pictures, awkward kernels.  Built valid, nothing is filtered.

Shared by the tests of the reference operators and of whatever must agree with them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

SEEDS = st.integers(0, 2**32 - 1)
DTYPES = st.sampled_from([np.dtype("float32"), np.dtype("float64")])
PADDINGS = st.sampled_from(["same", "symmetric"])
STRIDES = st.integers(1, 3)
BATCHES = st.integers(1, 3)
SIDES = st.integers(1, 7)
ODD_KERNELS = st.sampled_from([1, 3, 5, 7, 9, 11])
ALL_KERNELS = st.integers(1, 11)


def uniform(rng, shape, dtype="float32"):
    """A read-only array of numbers in -1..1: whoever writes to its input is found out."""
    array = rng.uniform(-1, 1, shape).astype(dtype)
    array.flags.writeable = False
    return array


def assert_close(actual, expected, terms, dtype):
    """Check sums of ``terms`` products of numbers in -1..1, rounded in ``dtype``."""
    assert actual.dtype == dtype
    assert actual.shape == expected.shape
    np.testing.assert_allclose(
        actual, expected, rtol=0, atol=4 * float(np.finfo(dtype).eps) * max(terms, 1)
    )


@dataclass(frozen=True)
class MixConvCase:
    """A picture, one (K, K, Cg) weight per group, and the convolution's attributes."""

    x: np.ndarray
    weights: tuple[np.ndarray, ...]
    stride: int
    padding: str
    dilations: tuple[int, ...]

    @property
    def attributes(self):
        """Keyword arguments of ``mixconv``."""
        return {"stride": self.stride, "padding": self.padding, "dilations": self.dilations}

    @property
    def terms(self):
        """Products in the longest sum."""
        return max(weight.shape[0] ** 2 for weight in self.weights)

    @property
    def slices(self):
        """The channels of each group."""
        ends = np.cumsum([weight.shape[2] for weight in self.weights]).tolist()
        return [slice(a, b) for a, b in zip([0, *ends], ends, strict=False)]


@st.composite
def mixconv_cases(draw, max_groups=5, strides=STRIDES, paddings=PADDINGS):
    """One to five groups of kernels 1..11, even ones where the padding allows them."""
    rng = np.random.default_rng(draw(SEEDS))
    dtype, stride, padding = draw(DTYPES), draw(strides), draw(paddings)
    dilations = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=max_groups)))
    weights = []
    for dilation in dilations:
        # An even kernel has a middle only when its dilation is even.
        has_middle = padding == "same" or dilation == 2
        K = draw(ALL_KERNELS if has_middle else ODD_KERNELS)
        weights.append(uniform(rng, (K, K, draw(st.integers(1, 3))), dtype))
    channels = sum(weight.shape[2] for weight in weights)
    x = uniform(rng, (draw(BATCHES), draw(SIDES), draw(SIDES), channels), dtype)
    return MixConvCase(x, tuple(weights), stride, padding, dilations)


@dataclass(frozen=True)
class ConvCase:
    """A picture, a (K, K, Cin, Cout) weight, and the convolution's attributes."""

    x: np.ndarray
    weight: np.ndarray
    stride: int
    padding: str

    @property
    def attributes(self):
        """Keyword arguments of ``conv2d``."""
        return {"stride": self.stride, "padding": self.padding}

    @property
    def terms(self):
        """Products in each sum."""
        return self.weight[..., 0].size


@st.composite
def conv_cases(draw, strides=STRIDES):
    """Full convolutions with kernels up to 5, even ones with SAME padding."""
    rng = np.random.default_rng(draw(SEEDS))
    dtype, padding = draw(DTYPES), draw(PADDINGS)
    K = draw(st.integers(1, 5) if padding == "same" else st.sampled_from([1, 3, 5]))
    Cin, Cout = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    x = uniform(rng, (draw(BATCHES), draw(SIDES), draw(SIDES), Cin), dtype)
    return ConvCase(x, uniform(rng, (K, K, Cin, Cout), dtype), draw(strides), padding)


@dataclass(frozen=True)
class PointwiseCase:
    """A picture and one (Cin_g, Cout_g) weight per group."""

    x: np.ndarray
    weights: tuple[np.ndarray, ...]

    @property
    def terms(self):
        """Products in the longest sum."""
        return max(len(weight) for weight in self.weights)


@st.composite
def pointwise_cases(draw, max_groups=4):
    """Grouped 1x1 convolutions whose groups differ in width."""
    rng, dtype = np.random.default_rng(draw(SEEDS)), draw(DTYPES)
    widths = st.tuples(st.integers(1, 5), st.integers(1, 5))
    shapes = draw(st.lists(widths, min_size=1, max_size=max_groups))
    shape = (draw(BATCHES), draw(SIDES), draw(SIDES), sum(Cin for Cin, _ in shapes))
    weights = tuple(uniform(rng, shape, dtype) for shape in shapes)
    return PointwiseCase(uniform(rng, shape, dtype), weights)


@st.composite
def pictures(draw, channels=None):
    """(N, H, W, C) numbers in -1..1."""
    rng = np.random.default_rng(draw(SEEDS))
    C = draw(st.integers(1, 6)) if channels is None else channels
    return uniform(rng, (draw(BATCHES), draw(SIDES), draw(SIDES), C), draw(DTYPES))


def squeeze_excite_weights(rng, channels, reduced, dtype):
    """(C, R), (R,), (R, C), (C,) in the order that squeeze-excite takes them."""
    shapes = [(channels, reduced), (reduced,), (reduced, channels), (channels,)]
    return [uniform(rng, shape, dtype) for shape in shapes]
