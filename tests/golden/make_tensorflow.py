"""Record what TensorFlow computes for single operators; needs TensorFlow.

Run from the repository's root: python -m tests.golden.make_tensorflow

``tensorflow_ops.npz`` beside this script holds one output per case of ``tensorflow_cases.py``,
for the inputs that ``seeded.py`` draws, and ``versions``.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tests.golden.seeded import uniform
from tests.golden.tensorflow_cases import (
    BATCH_NORM_EPS,
    CHANNELS,
    CONVOLUTIONS,
    RESIZES,
    Convolution,
)


def convolve(case: Convolution) -> Any:
    """Run one convolution with TensorFlow's own SAME padding."""
    seed, K, s = zlib.crc32(case.name.encode()), case.kernel_size, case.stride
    x = uniform(seed, (2, case.height, case.width, CHANNELS), -1, 1)
    if case.kind == "depthwise":
        weight = uniform(seed + 1, (K, K, CHANNELS), -1, 1)[..., None]
        return tf.nn.depthwise_conv2d(x, weight, (1, s, s, 1), "SAME").numpy()
    weight = uniform(seed + 1, (K, K, CHANNELS, case.out_channels), -1, 1)
    return tf.nn.conv2d(x, weight, (1, s, s, 1), "SAME").numpy()


def normalise() -> Any:
    """Run batch norm on stored statistics."""
    x = uniform(1, (2, 3, 5, CHANNELS), -2, 2)
    gamma, variance = (uniform(seed, (CHANNELS,), 0.01, 1.5) for seed in (2, 5))
    beta, mean = (uniform(seed, (CHANNELS,), -1, 1) for seed in (3, 4))
    y, *_ = tf.compat.v1.nn.fused_batch_norm(
        x, gamma, beta, mean, variance, epsilon=BATCH_NORM_EPS, is_training=False
    )
    return y.numpy()


def resize(name: str) -> Any:
    """Run the bilinear resize of TensorFlow 1, corners not aligned, no half-pixel centres."""
    height, width, size = RESIZES[name]
    pixels = np.floor(uniform(zlib.crc32(name.encode()), (1, height, width, 3), 0, 256))
    return tf.compat.v1.image.resize_bilinear(pixels, (size, size)).numpy()[0]


def main() -> None:
    """Write the one file."""
    numbers = uniform(6, (4, 9), -30, 30)
    recording: dict[str, Any] = {name: convolve(case) for name, case in CONVOLUTIONS.items()}
    recording |= {name: resize(name) for name in RESIZES}
    recording |= {
        "batch_norm": normalise(),
        "swish": tf.nn.silu(numbers).numpy(),
        "softmax": tf.nn.softmax(numbers).numpy(),
        "versions": np.array(f"tensorflow {tf.__version__}"),
    }
    np.savez_compressed(Path(__file__).parent / "tensorflow_ops.npz", **recording)


if __name__ == "__main__":
    main()
