"""Draw the pictures that ship with minimix: about sixty small labelled ones, and the panda.

    python -m weights_tools.pocket.gallery

Nothing is picked by hand: the seeds are in order, whatever the model makes of them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from weights_tools.pocket.backgrounds import FAMILIES
from weights_tools.pocket.classes import CLASSES
from weights_tools.pocket.glyphs import View, compose, load_glyph, warp
from weights_tools.pocket.pictures import Ranges, draw

ROOT = Path(__file__).resolve().parents[2]
SEED = 60_000_001
SIDE = 112
PICTURES = 60
CLEAN = replace(Ranges(), noise=(0.0, 0.0), blur=(0.0, 0.6), jpeg=0.0)
"""No noise: PNG cannot compress it."""


def draw_gallery(folder: Path) -> None:
    """Write ``folder/<label>/<n>.png``: every class once, then again from the first one on."""
    family = FAMILIES["held_out"]
    for n in range(PICTURES):
        rng = np.random.default_rng([SEED, n])
        label, text = CLASSES[n % len(CLASSES)]
        background = family[n % len(family)](rng, SIDE)
        picture = draw(rng, load_glyph(text), background, SIDE, CLEAN)
        path = folder / label / f"{n // len(CLASSES) + 1}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path, optimize=True)


def draw_panda(path: Path, side: int = 224) -> None:
    """Write the tutorials' panda: a bamboo grove, out of focus, and a panda in front of it."""
    rng = np.random.default_rng(388)
    sky, ground = np.array([214, 236, 205]), np.array([120, 176, 110])
    blend = np.linspace(0, 1, side)[:, None, None]
    canvas = np.broadcast_to((1 - blend) * sky + blend * ground, (side, side, 3)).copy()
    columns = np.arange(side)[None, :]
    for _ in range(9):
        stem, width = rng.uniform(0, side), rng.uniform(3, 9)
        colour = np.array([86, 140, 72]) + rng.uniform(-25, 25)
        cover = np.clip(width - np.abs(columns - stem), 0, 4)[..., None] / 4 * rng.uniform(0.3, 0.8)
        canvas += cover * (colour - canvas)
    picture = np.clip(canvas, 0, 255).astype(np.uint8)
    view = View(longest=0.6 * side, degrees=-6.0, flip=False)
    tile, place = warp(load_glyph("\U0001f43c"), view, (0.5 * side, 0.53 * side), side)
    compose(picture, tile, place)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, optimize=True)


def main() -> None:
    """Draw everything in its place in the source tree."""
    draw_gallery(ROOT / "minimix" / "data" / "pictures")
    draw_panda(ROOT / "tutorials" / "images" / "panda.png")


if __name__ == "__main__":
    main()
