"""Generated pictures for the tests, as arrays and as files' bytes."""

from __future__ import annotations

import io

import numpy as np

from minimix.images import open_image


def picture(height=40, width=60, channels=3, seed=0):
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def pixels(source, **options):
    opened = open_image(source, **options)
    assert opened.mode == "RGB"
    return np.asarray(opened)
