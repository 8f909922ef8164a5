"""JPEGs to measure with: smooth colour and noise, as many bytes a pixel as photographs have."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

CELL = 24
"""Pixels from one random colour to the next."""

NOISE = 12
"""Grey levels; at quality 90 a picture of 500 x 375 then takes about 70 KB."""


def write_jpeg(path, *, seed, width=500, height=375, quality=90, noise=NOISE):
    """Write one picture; the same arguments give the same bytes."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 256, (height // CELL + 2, width // CELL + 2, 3), np.uint8)
    smooth = Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC)
    grain = rng.integers(-noise, noise + 1, (height, width, 1), np.int16)
    grainy = np.clip(np.asarray(smooth).astype(np.int16) + grain, 0, 255).astype(np.uint8)
    Image.fromarray(grainy).save(path, "JPEG", quality=quality)


def write_jpegs(folder, count, width=500, height=375, quality=90, noise=NOISE, processes=2):
    """Fill a folder with ``000000.jpg`` and so on; return their paths, in order."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{n:06}.jpg" for n in range(count)]
    options = {"width": width, "height": height, "quality": quality, "noise": noise}
    write = partial(_write, options=options)
    with ProcessPoolExecutor(processes, get_context("spawn")) as executor:
        list(executor.map(write, paths, range(count), chunksize=25))
    return paths


def _write(path, seed, *, options):
    write_jpeg(path, seed=seed, **options)
