"""The two disjoint families of backgrounds, and photographs, which are for measuring only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Final

import numpy as np
from PIL import Image

from weights_tools.pocket import held_out_textures as held_out
from weights_tools.pocket import train_textures as train
from weights_tools.pocket.glyphs import Picture

Background = Callable[[np.random.Generator, int], Picture]
Family = Sequence[Background]

TRAIN: Final[Family] = (
    train.flat,
    train.gradient,
    train.stripes,
    train.blurred_noise,
    train.plasma,
    train.shapes,
    train.writing,
    train.collage,
    train.split,
    train.pictograms,
    train.pictograms,  # twice: the hardest of them, as it asks which thing is the object
)

HELD_OUT: Final[Family] = (
    held_out.checkerboard,
    held_out.voronoi,
    held_out.interference,
    held_out.bricks,
    held_out.wood,
    held_out.walks,
    held_out.low_poly,
    held_out.halftone,
)

FAMILIES: Final[Mapping[str, Family]] = MappingProxyType({"train": TRAIN, "held_out": HELD_OUT})


def photograph(rng: np.random.Generator, S: int, photos: Sequence[Image.Image]) -> Picture:
    """(rng, S, photographs) -> (S, S, 3) uint8.  A random square of one of them, as background.

    Mirrored half of the time, brighter or darker by up to a quarter.  Never used in training.
    """
    photo = photos[int(rng.integers(len(photos)))]
    side = rng.uniform(0.4, 1.0) * min(photo.size)
    left, top = rng.uniform(0, photo.width - side), rng.uniform(0, photo.height - side)
    box = (left, top, left + side, top + side)
    square = photo.convert("RGB").resize((S, S), Image.Resampling.BICUBIC, box, reducing_gap=2.0)
    pixels = np.asarray(square, np.float32) * np.float32(rng.uniform(0.75, 1.25))
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    picture: Picture = np.clip(pixels, 0, 255).astype(np.uint8)
    return picture


def photographs(photos: Sequence[Image.Image]) -> Family:
    """Photographs -> Family.  A family of one generator, for pictures.sample and pictures.batch."""
    return (partial(photograph, photos=tuple(photos)),)
