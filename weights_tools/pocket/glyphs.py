"""One pictogram of Noto Color Emoji -> premultiplied RGBA, once; then any affine view of it.

The font (SIL OFL, Debian package fonts-noto-color-emoji) holds bitmaps of one size, so every other
size is a resampling.  A glyph is kept as a pyramid, half an octave a step: a warp reads the
smallest level that is still at least as large as its target, which is what keeps it from aliasing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, features

from minimix.errors import InputError, UsageError

FONT_PATH = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
FONT_SIZE = 109  # the only size of bitmap in the font
CANVAS = 160
MARGIN = 2  # transparent pixels around a glyph, so that interpolation fades out at its edge
LEVELS = 7
NO_SUCH_CHARACTER = "\U000fffff"  # private use, in no emoji font: renders the font's placeholder

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Glyph:
    """A pictogram: levels (h, w, RGBa), largest first; outline (P, 2), x and y from the centre."""

    levels: tuple[Image.Image, ...]
    outline: Floats
    longest: float


@dataclass(frozen=True)
class View:
    """How a glyph is seen: longest side in pixels, degrees clockwise, mirrored or not."""

    longest: float
    degrees: float = 0.0
    flip: bool = False

    def matrix(self, glyph: Glyph) -> NDArray[np.float64]:
        """(2, 2): a vector of the full-size glyph -> a vector of the picture."""
        scale = self.longest / glyph.longest
        angle = np.deg2rad(self.degrees)
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        mirror = -1.0 if self.flip else 1.0
        return np.array([[cos * mirror, -sin], [sin * mirror, cos]])


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont:
    if not FONT_PATH.is_file():
        raise InputError(
            f"{FONT_PATH}: expected the font Noto Color Emoji, found no file. "
            "Try: apt-get install fonts-noto-color-emoji"
        )
    return ImageFont.truetype(str(FONT_PATH), FONT_SIZE)


def _bitmap(text: str) -> Image.Image:
    """(text) -> RGBA image.  The text in colour on a transparent canvas, RGBA."""
    canvas = Image.new("RGBA", (CANVAS, CANVAS))
    ImageDraw.Draw(canvas).text((4, 4), text, font=_font(), embedded_color=True)
    return canvas


@lru_cache(maxsize=1)
def _placeholder() -> bytes:
    return _bitmap(NO_SUCH_CHARACTER).tobytes()


def _outline(alpha: Picture) -> Floats:
    """(h, w) -> (P, 2).  Both ends of each inked row, x and y from the centre."""
    h, w = alpha.shape
    ink = alpha > 32
    rows = np.flatnonzero(ink.any(axis=1))
    left = ink[rows].argmax(axis=1)
    right = w - ink[rows, ::-1].argmax(axis=1)
    corners = [(x, rows + dy) for x in (left, right) for dy in (0, 1)]
    points = np.concatenate([np.stack([x, y], axis=1) for x, y in corners])
    from_centre: Floats = (points - np.array([w / 2, h / 2])).astype(np.float32)
    return from_centre


@lru_cache(maxsize=512)
def load_glyph(text: str) -> Glyph:
    """(text) -> Glyph.  The one pictogram that the text (one emoji) stands for.

    Raises InputError where the font is absent or has no picture for the text, and UsageError where
    the text needs several characters joined and this Pillow has no text shaping (libraqm).
    """
    if len(text) > 1 and not features.check("raqm"):
        raise UsageError(
            f"{text!a}: expected a Pillow with libraqm to join {len(text)} characters into one "
            "pictogram, found one without. Try: pip install --force-reinstall pillow, libfribidi0"
        )
    bitmap = _bitmap(text)
    box = bitmap.getchannel("A").getbbox()
    if box is None or bitmap.tobytes() == _placeholder():
        raise InputError(
            f"{FONT_PATH}: expected a pictogram for {text!a}, found none. "
            "Is the font older than Unicode 13? Try: apt-get install fonts-noto-color-emoji"
        )
    inked = bitmap.crop(box)
    w, h = inked.width, inked.height
    padded = Image.new("RGBA", (w + 2 * MARGIN, h + 2 * MARGIN))
    padded.paste(inked, (MARGIN, MARGIN))
    full = padded.convert("RGBa")
    sizes = [
        (max(1, round(full.width * shrink)), max(1, round(full.height * shrink)))
        for shrink in 2.0 ** (-0.5 * np.arange(LEVELS))
    ]
    levels = tuple(full.resize(size, Image.Resampling.LANCZOS) for size in sizes)
    outline = _outline(np.asarray(padded.getchannel("A")))
    return Glyph(levels, outline, float(max(w, h)))


def warp(
    glyph: Glyph, view: View, centre: tuple[float, float], size: int
) -> tuple[Floats, tuple[slice, slice]]:
    """(glyph, view, centre, S) -> (h, w, 4), (rows, columns).  The glyph's tile of a picture.

    The centre is (x, y) in pixels; the tile is premultiplied RGBA in 0..1, cut to the S x S
    picture, and empty (h or w is 0) where the glyph lies outside.  Antialiased: bicubic, from the
    smallest pyramid level that is at least as large as the target.
    """
    matrix = view.matrix(glyph)
    seen = glyph.outline @ matrix.T + centre
    low = np.maximum(np.floor(seen.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(seen.max(axis=0)).astype(int) + 1, size)
    left, top = int(low[0]), int(low[1])
    w, h = max(0, int(high[0]) - left), max(0, int(high[1]) - top)
    place = (slice(top, top + h), slice(left, left + w))
    if w == 0 or h == 0:
        return np.zeros((h, w, 4), np.float32), place

    full = glyph.levels[0]
    wanted = view.longest / glyph.longest
    step = int(np.clip(np.floor(-2 * np.log2(wanted) + 1e-9), 0, LEVELS - 1))
    level = glyph.levels[step]
    # Output pixel -> full-size glyph -> this level, whose sides were rounded one by one.
    shrink = np.array([level.width / full.width, level.height / full.height])
    inverse = np.linalg.inv(matrix) * shrink[:, None]
    offset = np.array([level.width / 2, level.height / 2]) + inverse @ np.array(
        [left - centre[0], top - centre[1]]
    )
    tile = level.transform(
        (w, h),
        Image.Transform.AFFINE,
        (*inverse[0].tolist(), float(offset[0]), *inverse[1].tolist(), float(offset[1])),
        Image.Resampling.BICUBIC,
    )
    pixels = np.asarray(tile, np.float32) * np.float32(1 / 255)
    # Bicubic overshoots at an edge; premultiplied colour above its alpha would shine as a halo.
    np.minimum(pixels[..., :3], pixels[..., 3:], out=pixels[..., :3])
    return pixels, place


def compose(canvas: Floats | Picture, tile: Floats, place: tuple[slice, slice]) -> None:
    """(S, S, 3), (h, w, 4), place -> None.  Lays a premultiplied tile over the canvas, in place.

    A float canvas is in 0..1, a uint8 canvas in 0..255.
    """
    under = canvas[place]
    white = np.float32(255 if canvas.dtype == np.uint8 else 1)
    over = under * (1 - tile[..., 3:]) + tile[..., :3] * white
    np.copyto(under, np.clip(over, 0, white), casting="unsafe")
