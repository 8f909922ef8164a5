"""What both families of backgrounds are painted with: colours, coordinates, finished canvases."""

from __future__ import annotations

import numpy as np
from PIL import Image

from weights_tools.pocket.glyphs import Floats, Picture

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def colours(rng: np.random.Generator, count: int) -> Floats:
    """(rng, n) -> (n, 3) in 0..1.  Random colours, from greys to vivid ones."""
    rgb = rng.random((count, 3), dtype=np.float32)
    vivid = rng.random((count, 1), dtype=np.float32)
    grey = rgb.mean(axis=1, keepdims=True)
    chosen: Floats = np.clip(grey + vivid * (rgb - grey) * np.float32(1.4), 0, 1)
    return chosen


def palette(rng: np.random.Generator, count: int) -> Floats:
    """(rng, n) -> (n, 3) in 0..1.  Colours that belong together, or as often, that do not."""
    if rng.random() < 0.5:
        return colours(rng, count)
    spread = rng.uniform(0.05, 0.25)
    shifts = rng.normal(0, spread, (count, 3))
    return np.clip(colours(rng, 1) + shifts, 0, 1).astype(np.float32)


def ink(colour: Floats) -> tuple[int, int, int]:
    """(3,) in 0..1 -> (red, green, blue) in 0..255, for Pillow's drawing functions."""
    red, green, blue = (int(round(float(value) * 255)) for value in colour)
    return red, green, blue


def grid(S: int) -> tuple[Floats, Floats]:
    """S -> x (1, S), y (S, 1).  Coordinates from -0.5 to 0.5; they broadcast to the picture."""
    line = ((np.arange(S, dtype=np.float32) + 0.5) / S - 0.5).astype(np.float32)
    return line[None, :], line[:, None]


def along(rng: np.random.Generator, S: int) -> Floats:
    """(rng, S) -> (S, S).  Distance along a random direction, in pictures."""
    x, y = grid(S)
    angle = rng.uniform(0, 2 * np.pi)
    return (np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y).astype(np.float32)


def ramp(values: Floats, stops: Floats) -> Floats:
    """(S, S) in 0..1, (n, 3) -> (S, S, 3).  Colours read off a line through n stops, in 256 steps.

    >>> ramp(np.float32([[0, 1]]), np.float32([[0, 0, 0], [1, 0.5, 0]])).tolist()
    [[[0.0, 0.0, 0.0], [1.0, 0.5, 0.0]]]
    """
    steps = np.linspace(0, 1, 256)
    knots = np.linspace(0, 1, len(stops))
    channels = [np.interp(steps, knots, stops[:, c]) for c in range(3)]
    table: Floats = np.stack(channels, axis=1).astype(np.float32)
    index = np.clip(values * 255 + 0.5, 0, 255).astype(np.intp)
    colour: Floats = table[index]
    return colour


def enlarge(small: Floats, S: int) -> Floats:
    """(h, w, 3) in 0..1 -> (S, S, 3) in 0..1.  Smooth enlargement of a coarse picture, bicubic."""
    image = Image.fromarray(to_picture(small))
    return np.asarray(image.resize((S, S), Image.Resampling.BICUBIC), np.float32) / np.float32(255)


def enlarge_field(small: Floats, S: int) -> Floats:
    """(h, w) -> (S, S).  Smooth enlargement of a coarse field of any range, bicubic."""
    image = Image.fromarray(small.astype(np.float32))
    return np.array(image.resize((S, S), Image.Resampling.BICUBIC), np.float32)


def to_picture(values: Floats) -> Picture:
    """(..., 3) in 0..1 -> (..., 3) uint8.  Values outside 0..1 are clipped."""
    return (np.clip(values, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def shrink(image: Image.Image, factor: int) -> Picture:
    """Image of (f S, f S) -> (S, S, 3) uint8.  Antialiases a picture that was drawn too large."""
    return np.asarray(image.reduce(factor).convert("RGB"))
