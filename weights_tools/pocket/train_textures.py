"""The backgrounds that mixnet-pocket is trained on: (rng, S) -> (S, S, 3) uint8 each."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from weights_tools.pocket.classes import DISTRACTORS
from weights_tools.pocket.glyphs import Picture, View, compose, load_glyph, warp
from weights_tools.pocket.paint import (
    along,
    colours,
    enlarge,
    grid,
    ink,
    palette,
    ramp,
    shrink,
    to_picture,
)

OVERSAMPLING = 2  # drawn shapes have hard edges; twice the size, then reduced


def flat(rng: np.random.Generator, S: int) -> Picture:
    """One colour everywhere."""
    return np.broadcast_to(to_picture(colours(rng, 1)), (S, S, 3)).copy()


def gradient(rng: np.random.Generator, S: int) -> Picture:
    """Two to four colours along a line or around a point."""
    stops = palette(rng, int(rng.integers(2, 5)))
    if rng.random() < 0.5:
        return to_picture(ramp(along(rng, S) * np.float32(0.8) + np.float32(0.5), stops))
    x, y = grid(S)
    across, down = rng.uniform(-0.6, 0.6, 2).astype(np.float32)
    radius = np.sqrt((x - across) ** 2 + (y - down) ** 2)
    return to_picture(ramp(radius / np.float32(rng.uniform(0.5, 1.1)), stops))


def stripes(rng: np.random.Generator, S: int) -> Picture:
    """Parallel stripes of two colours, from hard to soft edges."""
    position = along(rng, S) * np.float32(rng.uniform(2, 14)) + np.float32(rng.random())
    triangle = np.abs(position % 1 - np.float32(0.5)) * 2
    share, softness = rng.uniform(0.25, 0.75), rng.uniform(0.1, 0.8)
    return to_picture(ramp((triangle - np.float32(share)) / np.float32(softness), palette(rng, 2)))


def blurred_noise(rng: np.random.Generator, S: int) -> Picture:
    """Independent coarse pixels, smoothly enlarged."""
    cells = int(rng.integers(2, 24))
    base, contrast = colours(rng, 1)[0], np.float32(rng.uniform(0.1, 0.6))
    noise = rng.standard_normal((cells, cells, 3), dtype=np.float32)
    return to_picture(enlarge(base + contrast * noise, S))


def plasma(rng: np.random.Generator, S: int) -> Picture:
    """Noise of a power-law spectrum: octaves of coarse noise, the finer the fainter."""
    fall = np.float32(rng.uniform(0.45, 0.85))
    chroma = np.float32(rng.uniform(0, 1))
    total = np.zeros((S, S, 3), np.float32)
    for octave in range(5):
        cells = 3 << octave
        noise = rng.random((cells, cells, 3), dtype=np.float32)
        grey = noise[..., :1]
        total += fall**octave * (enlarge(grey + chroma * (noise - grey), S) - np.float32(0.5))
    contrast = np.float32(rng.uniform(0.3, 1.0))
    return to_picture(colours(rng, 1)[0] + contrast * total)


def shapes(rng: np.random.Generator, S: int) -> Picture:
    """Ellipses, polygons and lines thrown over each other."""
    side = S * OVERSAMPLING
    count = int(rng.integers(8, 45))
    inks = [ink(colour) for colour in palette(rng, 9)]
    image = Image.new("RGB", (side, side), inks[0])
    draw = ImageDraw.Draw(image)
    centres = rng.uniform(-0.1, 1.1, (count, 2)) * side
    reaches = rng.uniform(0.02, 0.28, (count, 2)) * side
    kinds = rng.integers(0, 4, count)
    for n in range(count):
        (x, y), (w, h), fill = centres[n], reaches[n], inks[int(rng.integers(0, 9))]
        if kinds[n] == 0:
            draw.ellipse((x - w, y - h, x + w, y + h), fill=fill)
        elif kinds[n] == 1:
            draw.arc((x - w, y - h, x + w, y + h), 0, 270, fill=fill, width=3)
        elif kinds[n] == 2:
            corners = rng.normal(0, 0.7, (int(rng.integers(3, 6)), 2)) * (w, h) + (x, y)
            draw.polygon(corners.ravel().tolist(), fill=fill)
        else:
            ends = (x - 2 * w, y - 2 * h, x + 2 * w, y + 2 * h)
            draw.line(ends, fill=fill, width=int(rng.integers(1, 9)))
    return shrink(image, OVERSAMPLING)


def writing(rng: np.random.Generator, S: int) -> Picture:
    """Rows of short strokes on paper, as text looks from too far away to read."""
    side = S * OVERSAMPLING
    paper, pen, second = (ink(colour) for colour in palette(rng, 3))
    image = Image.new("RGB", (side, side), paper)
    draw = ImageDraw.Draw(image)
    height = rng.uniform(0.04, 0.14) * side
    width = max(1, round(height * rng.uniform(0.1, 0.25)))
    for top in np.arange(rng.uniform(-1, 0) * height, side, height * rng.uniform(1.2, 1.9)):
        letters = int(side / height * 1.6)
        starts = np.cumsum(rng.uniform(0.35, 0.95, letters)) * height
        bends = rng.uniform(0, 1, (letters, 3, 2)) * (0.5 * height, height)
        for n in np.flatnonzero(rng.random(letters) < 0.82):
            stroke = bends[n] + (starts[n] - height, top)
            draw.line(stroke.ravel().tolist(), fill=pen if n % 7 else second, width=width)
    return shrink(image, OVERSAMPLING)


def collage(rng: np.random.Generator, S: int) -> Picture:
    """Rectangles cut out of plainer backgrounds."""
    picture = PLAIN[int(rng.integers(len(PLAIN)))](rng, S)
    for _ in range(int(rng.integers(2, 6))):
        patch = PLAIN[int(rng.integers(len(PLAIN)))](rng, S)
        w, h = (rng.uniform(0.15, 0.7, 2) * S).astype(int)
        left, top = rng.integers(0, S - w), rng.integers(0, S - h)
        picture[top : top + h, left : left + w] = patch[top : top + h, left : left + w]
    return picture


def split(rng: np.random.Generator, S: int) -> Picture:
    """Two backgrounds, one on each side of a horizon of any slope."""
    first, second = rng.integers(len(PLAIN), size=2)
    over = along(rng, S) > np.float32(rng.uniform(-0.3, 0.3))
    return np.where(over[..., None], PLAIN[first](rng, S), PLAIN[second](rng, S))


def pictograms(rng: np.random.Generator, S: int) -> Picture:
    """Pictograms of no class, smaller and paler than the object will be, some of them blurred."""
    picture = PLAIN[int(rng.integers(len(PLAIN)))](rng, S)
    count = int(rng.integers(2, 9))
    for n in rng.integers(len(DISTRACTORS), size=count):
        view = View(
            longest=float(rng.uniform(0.12, 0.4)) * S,
            degrees=float(rng.uniform(-180, 180)),
            flip=bool(rng.random() < 0.5),
        )
        across, down = rng.uniform(0, S, 2).tolist()
        tile, place = warp(load_glyph(DISTRACTORS[n]), view, (across, down), S)
        compose(picture, tile * np.float32(rng.uniform(0.35, 0.95)), place)
    if rng.random() < 0.4:
        radius = float(rng.uniform(0.5, 2.0))
        return np.array(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))
    return picture


PLAIN = (flat, gradient, stripes, blurred_noise, plasma)
