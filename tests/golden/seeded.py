"""Weights, pictures and sample positions that need not be stored: everyone draws the same ones.

Used by the makers, which run other frameworks on them, and by the tests.  Only uniform numbers of
NumPy's frozen legacy stream, ``RandomState.random_sample``, and exactly rounded arithmetic go in,
so every platform gets the same bits.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod, sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Shape = tuple[int, ...]

SAMPLES = 48
"""Values recorded per layer and picture."""


@dataclass(frozen=True)
class Case:
    """One narrow network, built by timm's own functions.

    Attributes:
        variant: ``s`` or ``m``: which of timm's generators.
        tensorflow: timm's ``tf_`` dialect: SAME padding, batch norm with eps 1e-3.
        head: channels of the last 1x1 convolution.
        height, width: of the pictures, in pixels.
    """

    name: str
    variant: str
    tensorflow: bool
    channel_multiplier: float
    depth_multiplier: float
    head: int
    classes: int
    height: int
    width: int

    @property
    def dialect(self) -> str:
        """The name of our dialect for it."""
        return "timm-tf" if self.tensorflow else "timm"

    @property
    def seed(self) -> int:
        """A number of its own for each case."""
        return zlib.crc32(self.name.encode())


CASES = {
    case.name: case
    for case in (
        Case("mixnet_s-96px", "s", False, 0.35, 1.0, 64, 11, 96, 96),
        Case("mixnet_s-odd", "s", False, 0.25, 1.0, 40, 7, 65, 97),
        Case("mixnet_m-33px", "m", False, 0.35, 1.0, 1536, 5, 33, 33),
        Case("mixnet_m-deep", "m", False, 0.25, 1.3, 48, 9, 64, 50),
        Case("tf_mixnet_s-96px", "s", True, 0.35, 1.0, 64, 11, 96, 96),
        Case("tf_mixnet_s-odd", "s", True, 0.25, 1.0, 40, 7, 65, 97),
        Case("tf_mixnet_m-odd", "m", True, 0.35, 1.0, 48, 5, 71, 65),
    )
}


def uniform(seed: int, shape: Shape, low: float, high: float) -> Floats:
    """(shape) float32, uniform in low..high, the same on every machine."""
    numbers = np.random.RandomState(seed).random_sample(shape)
    return np.asarray(low + (high - low) * numbers, np.float32)


def pictures(case: Case, count: int = 2) -> Floats:
    """(N, H, W, 3): coarse squares under fine noise, so that neighbours are alike, as in photos."""
    coarse = uniform(case.seed, (count, -(-case.height // 8), -(-case.width // 8), 3), -1.5, 1.5)
    squares = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, : case.height, : case.width]
    noise = uniform(case.seed + 1, (count, case.height, case.width, 3), -0.5, 0.5)
    return squares + noise


def sample_positions(case: Case, layer: str, size: int) -> NDArray[np.int64]:
    """(SAMPLES,): flat positions among a layer's ``size`` values per picture."""
    stream = np.random.RandomState(zlib.crc32(f"{case.name} {layer}".encode()))
    return np.asarray(stream.random_sample(SAMPLES) * size, np.int64)


def _limits(name: str, shape: Shape) -> tuple[float, float]:
    """Limits of a tensor's values: the variance of about one grows slowly from layer to layer."""
    if name.endswith("running_var"):
        return 0.5, 1.7
    if name.endswith("running_mean"):
        return -0.2, 0.2
    if len(shape) == 1:
        is_gamma = name.endswith(".weight")
        is_gate = name.endswith("conv_expand.bias")
        return (0.5, 1.5) if is_gamma else (0.0, 4.0) if is_gate else (-0.2, 0.2)
    # Uniform numbers in -b..b have the variance b * b / 3; an activation halves what it is given,
    # and everything but an expansion follows one.
    follows_activation = not name.endswith(("conv_pw.weight", "conv_head.weight"))
    bound = sqrt((6.0 if follows_activation else 3.0) / prod(shape[1:]))
    if name.startswith("classifier"):
        bound /= 4  # keeps logits within what trained networks give
    return -bound, bound


def state_dict(shapes: Mapping[str, Shape], seed: int) -> dict[str, NDArray[np.generic]]:
    """timm's names and shapes -> timm's tensors, in the order given, drawn in sorted order."""
    stream = np.random.RandomState(seed)
    drawn: dict[str, NDArray[np.generic]] = {}
    for name in sorted(shapes):
        if name.endswith("num_batches_tracked"):
            drawn[name] = np.array(1000)
            continue
        low, high = _limits(name, shapes[name])
        numbers = stream.random_sample(shapes[name])
        drawn[name] = np.asarray(low + (high - low) * numbers, np.float32)
    return {name: drawn[name] for name in shapes}
