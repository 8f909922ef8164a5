"""A picture -> itself and views of it: crops, and mirror images of crops.

A classifier of few pictures learns from their views what does not matter: where a thing stands, and
which way it looks.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minimix import images
from minimix.arrays import Array
from minimix.engine import EngineName
from minimix.images import Exif, Source
from minimix.model import Model, Several

SMALLEST_CROP = 0.8
"""Share of a picture's sides that a view keeps at least."""


@dataclass(frozen=True)
class Views:
    """Which views are taken of a picture, beside the picture itself.

    Attributes:
        count: how many.
        flips: whether half of them are mirrored.
        seed: another seed, other views.
    """

    count: int
    flips: bool = True
    seed: int = 0

    def __call__(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """(H, W, 3) -> itself, then its views.  A function of the pixels and the seed alone.

        >>> [view.shape for view in Views(2)(np.zeros((10, 20, 3), np.uint8))]
        [(10, 20, 3), (10, 20, 3), (9, 18, 3)]
        """
        rng = np.random.default_rng([self.seed, zlib.crc32(pixels.tobytes())])
        return [pixels, *(self._view(pixels, rng) for _ in range(self.count))]

    def _view(self, pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        H, W, _ = pixels.shape
        share, down, right, mirrored = rng.uniform((SMALLEST_CROP, 0, 0, 0), 1).tolist()
        h, w = int(np.ceil(share * H)), int(np.ceil(share * W))
        top, left = int(down * (H - h + 1)), int(right * (W - w + 1))
        crop = pixels[top : top + h, left : left + w]
        return crop[:, ::-1] if self.flips and mirrored < 0.5 else crop


class ViewingModel(Model):
    """A model that makes several network inputs of every picture: of itself and of its views."""

    def __init__(self, model: Model, views: Views) -> None:
        name: EngineName = "compiled" if model.engine.name == "compiled" else "reference"
        super().__init__(model.file, engine=name, size=model.size, threads=model.threads)
        self.views = views

    def preprocess(self, images_: Source | Several, *, exif: Exif = "apply") -> Array:
        """N pictures -> (N * (1 + views), size, size, 3) float32, picture by picture.

        Raises:
            InputError: a picture is missing, unreadable or refused.
        """
        sources = images_ if isinstance(images_, list | tuple) else [images_]
        opened = []
        for source in sources:
            pixels = np.asarray(images.open_image(source, exif=exif))
            opened += [images.open_image(view) for view in self.views(pixels)]
        return images.preprocess(opened, self.pipeline)
