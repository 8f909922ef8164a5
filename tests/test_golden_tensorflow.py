"""Operators against what TensorFlow recorded: SAME padding, batch norm, and its old resize."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from minimix import ops
from minimix.resize import tensorflow_bilinear
from tests.golden.seeded import uniform
from tests.golden.tensorflow_cases import (
    BATCH_NORM_EPS,
    CHANNELS,
    CONVOLUTIONS,
    RESIZES,
    Convolution,
)

Array = NDArray[Any]
ROUNDING = 2e-6
"""Largest difference of sums of at most 121 products, as a share of the largest result."""


@pytest.fixture(scope="module")
def recorded() -> dict[str, Array]:
    with np.load(Path(__file__).parent / "golden" / "tensorflow_ops.npz") as stored:
        return dict(stored)


def assert_close(ours: Array, expected: Array) -> None:
    assert ours.shape == expected.shape and ours.dtype == expected.dtype == np.float32
    assert np.abs(ours - expected).max() <= ROUNDING * np.abs(expected).max()


@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_same_padding_is_tensorflows(case: Convolution, recorded: dict[str, Array]) -> None:
    seed, K = zlib.crc32(case.name.encode()), case.kernel_size
    x = uniform(seed, (2, case.height, case.width, CHANNELS), -1, 1)
    if case.kind == "depthwise":
        weight = uniform(seed + 1, (K, K, CHANNELS), -1, 1)
        ours = ops.depthwise(x, weight, stride=case.stride, padding="same")
    else:
        weight = uniform(seed + 1, (K, K, CHANNELS, case.out_channels), -1, 1)
        ours = ops.conv2d(x, weight, stride=case.stride, padding="same")
    assert_close(ours, recorded[case.name])


def test_batch_norm_is_tensorflows(recorded: dict[str, Array]) -> None:
    x = uniform(1, (2, 3, 5, CHANNELS), -2, 2)
    gamma, variance = (uniform(seed, (CHANNELS,), 0.01, 1.5) for seed in (2, 5))
    beta, mean = (uniform(seed, (CHANNELS,), -1, 1) for seed in (3, 4))
    ours = ops.batch_norm(x, gamma, beta, mean, variance, eps=BATCH_NORM_EPS)
    assert_close(ours, recorded["batch_norm"])


@pytest.mark.parametrize("name", ["swish", "softmax"])
def test_activations_are_tensorflows(name: str, recorded: dict[str, Array]) -> None:
    assert_close(getattr(ops, name)(uniform(6, (4, 9), -30, 30)), recorded[name])


@pytest.mark.parametrize("name", RESIZES)
def test_the_old_bilinear_resize_equals_tensorflows_bit_by_bit(
    name: str, recorded: dict[str, Array]
) -> None:
    height, width, size = RESIZES[name]
    pixels = np.floor(uniform(zlib.crc32(name.encode()), (height, width, 3), 0, 256))
    ours = tensorflow_bilinear(pixels.astype(np.uint8), (size, size), (0, 0, size, size))
    np.testing.assert_array_equal(ours, recorded[name])
