"""One visual language: the colours and hatches of kernel sizes, and two maps for numbers.

The colours of kernels are told apart with any common colour blindness (Okabe & Ito, "Color
Universal Design", 2008); hatches and labels say the same once more.  Both maps are straight lines
in OKLab, so equal steps of a number are equal steps to the eye (Ottosson, "A perceptual color
space for image processing", 2020).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

KERNEL_COLOURS = {3: "#0072B2", 5: "#E69F00", 7: "#009E73", 9: "#CC79A7", 11: "#D55E00"}
"""Kernel size -> colour."""

KERNEL_HATCHES = {3: "", 5: "//", 7: "\\\\", 9: "xx", 11: ".."}
"""Kernel size -> hatch, in matplotlib's notation; 3 is plain."""

OTHER_COLOUR = "#6B7280"
"""Colour of everything that is no MixConv group of those sizes."""

# OKLab anchors: lightness rises evenly, hue goes from blue through green to yellow.
_SEQUENTIAL = ((0.20, 0.01, -0.10), (0.42, -0.06, -0.09), (0.66, -0.11, 0.02), (0.92, -0.03, 0.16))
_DIVERGING = ((0.45, -0.05, -0.12), (0.72, -0.03, -0.06), (0.96, 0.0, 0.0), (0.74, 0.08, 0.10),
              (0.52, 0.14, 0.10))  # fmt: skip

_TO_LMS = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def kernel_colour(kernel_size: int) -> str:
    """Kernel size -> its colour, ``#rrggbb``.

    >>> kernel_colour(5)
    '#E69F00'
    """
    return KERNEL_COLOURS.get(kernel_size, OTHER_COLOUR)


def _table(anchors: tuple[tuple[float, float, float], ...]) -> NDArray[np.uint8]:
    """OKLab anchors -> (256, 3) sRGB."""
    lab = np.array(anchors)
    places = np.linspace(0, len(lab) - 1, 256)
    line = np.stack([np.interp(places, range(len(lab)), axis) for axis in lab.T], axis=1)
    linear: NDArray[np.float64] = np.clip((line @ _TO_LMS.T) ** 3 @ _TO_RGB.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    levels: NDArray[np.float64] = np.rint(encoded * 255)
    return levels.astype(np.uint8)


@cache
def sequential() -> NDArray[np.uint8]:
    """(256, 3): from dark blue to light yellow, for activations.

    >>> sequential().shape
    (256, 3)
    """
    return _table(_SEQUENTIAL)


@cache
def diverging() -> NDArray[np.uint8]:
    """(256, 3): blue for negative, near white for zero, red for positive; weights, attributions."""
    return _table(_DIVERGING)


def coloured(
    values: NDArray[Any], low: float, high: float, *, signed: bool = False
) -> NDArray[np.uint8]:
    """(...) numbers -> (..., 3) colours between ``low`` and ``high``; NaN is the lowest.

    Args:
        values: what to show.
        low: the number of the first colour; with ``signed``, minus the larger of both magnitudes.
        high: the number of the last one.
        signed: use the diverging map, zero in its middle.

    >>> coloured(np.array([-1.0, 0.0]), -1, 1, signed=True)[1].tolist()
    [242, 241, 240]
    """
    if signed:
        high = max(abs(low), abs(high))
        low = -high
    span = high - low
    scaled = np.zeros(np.shape(values)) if span <= 0 else (np.asarray(values, float) - low) / span
    places = np.rint(np.clip(np.nan_to_num(scaled), 0, 1) * 255).astype(np.intp)
    colours: NDArray[np.uint8] = (diverging() if signed else sequential())[places]
    return colours
