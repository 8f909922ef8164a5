"""Training pictures of mixnet-pocket: a pictogram, seen somehow, before some background.

A picture is S = 109 pixels wide, of which the network sees the central 96 (timm's crop of 0.875).
Each picture is a function of (seed, index) alone, so that any batch can be drawn again anywhere;
NumPy may change a Generator's stream between releases, and Pillow its resampling.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from minimix.errors import UsageError
from weights_tools.pocket.backgrounds import FAMILIES, Family
from weights_tools.pocket.classes import CLASSES
from weights_tools.pocket.glyphs import Floats, Glyph, Picture, View, compose, load_glyph, warp
from weights_tools.pocket.paint import LUMA

SIZE = 109
VISIBLE = 0.875  # share of the side that the centre crop keeps
SLACK = 0.02  # share of the visible side by which a glyph may leave it

Range = tuple[float, float]


@dataclass(frozen=True)
class Ranges:
    """What a picture may look like; the defaults are those of training.

    scale: longest side of the glyph, as a share of the visible side.  rotation, hue: degrees.
    saturation, brightness, contrast: factors.  blur: standard deviation in pixels.  noise: standard
    deviation as a share of white.  jpeg: share of pictures recompressed, at a quality of quality.
    """

    scale: Range = (0.45, 0.95)
    rotation: Range = (-30.0, 30.0)
    flip: float = 0.5
    hue: Range = (-18.0, 18.0)
    saturation: Range = (0.6, 1.3)
    brightness: Range = (0.7, 1.3)
    contrast: Range = (0.75, 1.25)
    blur: Range = (0.0, 1.2)
    noise: Range = (0.0, 0.08)
    jpeg: float = 0.3
    quality: tuple[int, int] = (35, 95)


def _place(rng: np.random.Generator, glyph: Glyph, view: View, size: int) -> tuple[float, float]:
    """Where the glyph's centre goes so that its outline stays within the visible square."""
    seen = glyph.outline @ view.matrix(glyph).T
    visible = VISIBLE * size
    first = (size - visible) / 2 - SLACK * visible
    low, high = first - seen.min(axis=0), size - first - seen.max(axis=0)
    # A glyph larger than the visible square is centred, and cut on both sides.
    middle = (low + high) / 2
    x, y = rng.uniform(np.minimum(low, middle), np.maximum(high, middle)).tolist()
    return x, y


def _jitter(rng: np.random.Generator, ranges: Ranges, tile: Floats) -> Floats:
    """(h, w, 4) -> (h, w, 4).  Hue, saturation, brightness and contrast in one affine map.

    On premultiplied colour the constant term of the map is multiplied by alpha.
    """
    angle = np.deg2rad(rng.uniform(*ranges.hue))
    saturation = rng.uniform(*ranges.saturation)
    brightness, contrast = rng.uniform(*ranges.brightness), rng.uniform(*ranges.contrast)
    # Rodrigues' rotation about the grey axis (1, 1, 1) / sqrt(3) turns the hue.
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    vivid = saturation * np.eye(3) + (1 - saturation) * np.broadcast_to(LUMA, (3, 3))
    matrix = np.zeros((4, 4), np.float32)
    matrix[:3, :3] = (contrast * brightness * vivid @ turn).T
    matrix[3, :3] = 0.5 * (1 - contrast)
    matrix[3, 3] = 1
    jittered: Floats = tile @ matrix
    np.clip(jittered[..., :3], 0, tile[..., 3:], out=jittered[..., :3])
    return jittered


def _degrade(rng: np.random.Generator, ranges: Ranges, picture: Picture) -> Picture:
    """(S, S, 3) -> (S, S, 3).  What a lens, a sensor and a file format do: blur, noise, JPEG."""
    blur, noise = float(rng.uniform(*ranges.blur)), rng.uniform(*ranges.noise)
    blurred = Image.fromarray(picture).filter(ImageFilter.GaussianBlur(blur))
    grains = rng.standard_normal(picture.shape, dtype=np.float32)
    grains *= np.float32(255 * noise)
    grains += np.asarray(blurred)
    noisy = np.clip(grains, 0, 255, out=grains).astype(np.uint8)
    if rng.random() >= ranges.jpeg:
        return noisy
    stored = io.BytesIO()
    quality = int(rng.integers(ranges.quality[0], ranges.quality[1], endpoint=True))
    Image.fromarray(noisy).save(stored, "JPEG", quality=quality)
    return np.array(Image.open(stored))


def draw(
    rng: np.random.Generator,
    glyph: Glyph,
    background: Picture,
    size: int = SIZE,
    ranges: Ranges = Ranges(),  # noqa: B008 - frozen
) -> Picture:
    """(rng, glyph, (S, S, 3) uint8) -> (S, S, 3) uint8.  The glyph somewhere before the background.

    One antialiased affine warp, colour jitter, alpha composition, then blur, noise and JPEG over
    the whole picture.  Raises UsageError where the background is not S x S.
    """
    if background.shape != (size, size, 3):
        raise UsageError(
            f"draw: expected a background of ({size}, {size}, 3), found {background.shape}. "
            "Draw the background for the size of the picture"
        )
    view = View(
        longest=float(rng.uniform(*ranges.scale)) * VISIBLE * size,
        degrees=float(rng.uniform(*ranges.rotation)),
        flip=bool(rng.random() < ranges.flip),
    )
    tile, place = warp(glyph, view, _place(rng, glyph, view, size), size)
    picture = background.copy()
    compose(picture, _jitter(rng, ranges, tile), place)
    return _degrade(rng, ranges, picture)


def find_family(family: str | Family) -> Family:
    """(name or family) -> Family.  Raises UsageError for an unknown name."""
    if not isinstance(family, str):
        return family
    if family not in FAMILIES:
        raise UsageError(
            f"family: expected one of {', '.join(FAMILIES)}, found {family!r}. "
            "For photographs, give backgrounds.photographs(photos)"
        )
    return FAMILIES[family]


def sample(
    rng: np.random.Generator,
    ranges: Ranges = Ranges(),  # noqa: B008 - frozen
    family: str | Family = "train",
    S: int = SIZE,
) -> tuple[Picture, int]:
    """(rng) -> (S, S, 3) uint8, class index.  One picture of a class drawn uniformly."""
    generators = find_family(family)
    index = int(rng.integers(len(CLASSES)))
    background = generators[int(rng.integers(len(generators)))](rng, S)
    return draw(rng, load_glyph(CLASSES[index][1]), background, S, ranges), index


def batch(
    seed: int,
    start: int,
    count: int,
    S: int = SIZE,
    family: str | Family = "train",
    ranges: Ranges = Ranges(),  # noqa: B008 - frozen
) -> tuple[Picture, np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    """(seed, start, N) -> (N, S, S, 3) uint8, (N,) int64.  Pictures start .. start + N - 1.

    Picture i depends on (seed, i) alone: batches may be cut anywhere and drawn in any order.
    """
    pictures = np.empty((count, S, S, 3), np.uint8)
    classes = np.empty(count, np.int64)
    for n in range(count):
        rng = np.random.default_rng([seed, start + n])
        pictures[n], classes[n] = sample(rng, ranges, family, S)
    return pictures, classes
