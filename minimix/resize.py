"""Which pixels of a picture a network sees, and the two resizers that Pillow does not have.

Integers and NumPy only: ``plan_crop`` says where to cut, ``tensorflow_bilinear`` and
``opencv_cubic`` compute what those libraries compute.  Letters: ``H, W`` are the picture's height
and width, ``Ho, Wo`` those of the resized picture, ``h, w`` those of a window of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minimix.dialect import Pipeline
from minimix.errors import InputError

Box = tuple[int, int, int, int]
"""``(top, left, height, width)``, in pixels."""

Grey = npt.NDArray[np.uint8]
Real = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CropPlan:
    """Cut ``box`` out of the picture, resize it to ``resized``, cut ``window`` out of that.

    Attributes:
        box: the part of the picture that is resized.
        resized: ``(Ho, Wo)``, the size that ``box`` is resized to.
        window: the part of the resized box that the network sees.
    """

    box: Box
    resized: tuple[int, int]
    window: Box


def plan_crop(H: int, W: int, pipeline: Pipeline, max_pixels: int | None = None) -> CropPlan:
    """Height, width -> where to cut before and after resizing, in whole pixels.

    >>> from minimix.dialect import PIPELINES
    >>> plan_crop(333, 500, PIPELINES["timm"])
    CropPlan(box=(0, 0, 333, 500), resized=(256, 384), window=(16, 80, 224, 224))
    >>> plan_crop(333, 500, PIPELINES["tensorflow"]).box
    (21, 105, 291, 291)

    Raises:
        InputError: the picture is empty, or so thin that nothing of it would be left to resize or
            that the resized picture would have more than ``max_pixels``.

    Sources: torchvision's ``Resize`` and ``CenterCrop`` (timm), ``mnasnet``'s
    ``preprocessing.py`` (TensorFlow), MindSpore's ``resize_op.cc`` and ``center_crop_op.cc``
    (MindCV), the Open Model Zoo's ``accuracy-check.yml`` of mixnet-l.
    """
    if min(H, W) < 1:
        raise InputError(f"a picture of {W} x {H} pixels is empty. Check where it comes from")
    plan = _short_side(H, W, pipeline) if "short" in pipeline.crop else _center(H, W, pipeline)
    height, width = plan.resized
    if min(plan.box[2:]) < 1:
        problem = f"{pipeline.crop_fraction:g} of its short side is less than one pixel"
    elif max_pixels is not None and height * width > max_pixels:
        problem = f"resized it would be {width:,} x {height:,}, over the limit of {max_pixels:,}"
        if max(H, W) < 2 * min(H, W):  # the size that was asked for, not the shape
            raise InputError(f"{problem} pixels. Ask for a smaller size than {pipeline.size}")
    else:
        return plan
    raise InputError(
        f"a picture of {W:,} x {H:,} pixels is too thin for pipeline {pipeline.name}: {problem}. "
        f"Crop it to a less extreme shape first"
    )


def _short_side(H: int, W: int, pipeline: Pipeline) -> CropPlan:
    """Resize all of it, then cut the centre."""
    short, target, size = min(H, W), pipeline.short_side, pipeline.size
    Ho, Wo = target * H // short, target * W // short
    offset = _half_even if pipeline.crop == "short-side" else _half_down
    window = (offset(Ho - size), offset(Wo - size), size, size)
    return CropPlan((0, 0, H, W), (Ho, Wo), window)


def _center(H: int, W: int, pipeline: Pipeline) -> CropPlan:
    """Cut the centre, then resize all of that."""
    fraction, size = pipeline.crop_fraction, pipeline.size
    if pipeline.crop == "center-square":
        # The product in float32, as TensorFlow computes it, decides the last pixel.
        side = int(np.float32(fraction) * np.float32(min(H, W)))
        box = ((H - side + 1) // 2, (W - side + 1) // 2, side, side)
    else:
        h, w = int(fraction * H), int(fraction * W)
        box = (_half_even(H - h), _half_even(W - w), h, w)
    return CropPlan(box, (size, size), (0, 0, size, size))


def cut(pixels: Grey, box: Box) -> Grey:
    """(H, W, C), box -> (h, w, C).  A view, not a copy.

    >>> cut(np.arange(12, dtype=np.uint8).reshape(3, 4, 1), (1, 2, 2, 1))[..., 0].tolist()
    [[6], [10]]
    """
    top, left, height, width = box
    return pixels[top : top + height, left : left + width]


def _half_even(excess: int) -> int:
    return round(excess / 2)


def _half_down(excess: int) -> int:
    return excess // 2


def tensorflow_bilinear(pixels: Grey, resized: tuple[int, int], window: Box) -> Real:
    """(H, W, C) uint8 -> (h, w, C) float32.  TensorFlow's ``resize_bilinear`` of version 1.

    Output pixel i lies at ``i * H / Ho``: corners align at the top left, not centres, and shrinking
    does not average.  All in float32, interpolated along x, then along y; not rounded.

    >>> row = np.array([[[0], [100]]], np.uint8)
    >>> tensorflow_bilinear(row, (1, 4), (0, 0, 1, 4))[0, :, 0].tolist()
    [0.0, 50.0, 100.0, 100.0]

    Source: ``tensorflow/core/kernels/image/resize_bilinear_op.cc`` with ``LegacyScaler``.
    """
    top, left, h, w = window
    above, below, dy = _bilinear_taps(pixels.shape[0], resized[0], top, h)
    before, after, dx = _bilinear_taps(pixels.shape[1], resized[1], left, w)
    dx, dy = dx[:, None], dy[:, None, None]

    def along_x(rows: Grey) -> Real:
        start, end = rows[:, before].astype(np.float32), rows[:, after].astype(np.float32)
        return start + (end - start) * dx

    upper, lower = along_x(pixels[above]), along_x(pixels[below])
    return upper + (lower - upper) * dy


def _bilinear_taps(
    n_in: int, n_out: int, first: int, count: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Real]:
    """Lengths, window -> lower index, upper index and weight of the upper one, per output pixel."""
    position = np.arange(first, first + count, dtype=np.float32) * (
        np.float32(n_in) / np.float32(n_out)
    )
    lower = np.floor(position).astype(np.intp)
    weight = position - lower.astype(np.float32)
    return np.minimum(lower, n_in - 1), np.minimum(lower + 1, n_in - 1), weight


COEFFICIENT_BITS = 11
"""OpenCV's cubic weights of 8-bit pictures are integers in units of 2**-11."""


def opencv_cubic(pixels: Grey, resized: tuple[int, int], window: Box) -> Grey:
    """(H, W, C) uint8 -> (h, w, C) uint8.  OpenCV's ``INTER_CUBIC`` on 8-bit pictures.

    Four taps a side with Keys' kernel at A = -0.75, half-pixel centres, no antialias, the border
    pixel repeated.  Along x in 11-bit fixed point; along y the vectorised code multiplies in
    float32, from the last tap to the first, and rounds half to even: the order decides about one
    grey level in 100,000.  (OpenCV computes a row's last few elements in integers instead, which
    can differ by one level there; a centre crop seldom reaches them.)

    >>> row = np.array([[[0], [0], [200], [200]]], np.uint8)
    >>> opencv_cubic(row, (1, 8), (0, 0, 1, 8))[0, :, 0].tolist()
    [0, 0, 0, 45, 155, 221, 207, 200]

    Source: ``modules/imgproc/src/resize.cpp``: ``HResizeCubic``, ``VResizeCubicVec_32s8u``.
    """
    top, left, h, w = window
    rows, y_weights = _cubic_taps(pixels.shape[0], resized[0], top, h)
    columns, x_weights = _cubic_taps(pixels.shape[1], resized[1], left, w)
    first = int(rows.min())
    strip = pixels[first : int(rows.max()) + 1]
    along_x = np.zeros((strip.shape[0], w, strip.shape[2]), np.int32)
    for tap in range(4):
        along_x += strip[:, columns[:, tap]] * x_weights[:, tap, None]
    terms = along_x.astype(np.float32)
    # Both axes carry 2**11, so that one exact power of two takes both out again.
    scaled = y_weights.astype(np.float32) * np.float32(2.0 ** (-2 * COEFFICIENT_BITS))
    total = terms[rows[:, 3] - first] * scaled[:, 3, None, None]
    for tap in (2, 1, 0):
        total = terms[rows[:, tap] - first] * scaled[:, tap, None, None] + total
    return np.clip(np.rint(total), 0, 255).astype(np.uint8)


def _cubic_taps(
    n_in: int, n_out: int, first: int, count: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int32]]:
    """Lengths, window -> (count, 4) source indices and (count, 4) weights times 2**11."""
    step = 1.0 / (n_out / n_in)
    position = ((np.arange(first, first + count) + 0.5) * step - 0.5).astype(np.float32)
    base = np.floor(position).astype(np.intp)
    t = position - base.astype(np.float32)
    one = np.float32(1)
    weights = np.empty((count, 4), np.float32)
    weights[:, 0], weights[:, 1], weights[:, 2] = _outer(t + one), _inner(t), _inner(one - t)
    weights[:, 3] = one - weights[:, 0] - weights[:, 1] - weights[:, 2]
    fixed = np.rint(weights * np.float32(1 << COEFFICIENT_BITS)).astype(np.int32)
    return np.clip(base[:, None] + np.arange(-1, 3), 0, n_in - 1), fixed


_A = np.float32(-0.75)
"""The slope of Keys' kernel at distance 1; Pillow and TensorFlow use -0.5."""


def _inner(t: Real) -> Real:
    """Keys' kernel for distances 0..1, in float32 by Horner's rule."""
    two, three, one = np.float32(2), np.float32(3), np.float32(1)
    return ((_A + two) * t - (_A + three)) * t * t + one


def _outer(t: Real) -> Real:
    """Keys' kernel for distances 1..2, in float32 by Horner's rule."""
    five, eight, four = np.float32(5), np.float32(8), np.float32(4)
    return ((_A * t - five * _A) * t + eight * _A) * t - four * _A
