"""The picture beside what the network sees of it."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from minimix.arrays import Array
from minimix.dialect import Pipeline
from minimix.explorer.buffers import Buffers
from minimix.images import Source, crop_and_resize, open_image, pixel_limit
from minimix.resize import plan_crop

if TYPE_CHECKING:
    from PIL.Image import Image

ORIGINAL_SIDE = 640
"""Longest side, in pixels, of the original as the page shows it."""

JPEG_QUALITIES = (80, 60, 40)
PHOTOGRAPH_BYTES = 200_000
"""Of a picture for looking at, as text: a lower quality is tried if it is longer."""

EXACT_CROP_BYTES = 400_000
"""Of a crop without loss, as text; a larger one is shown with loss."""


def short_name(source: Source) -> str:
    """What the user named -> how the page calls it: without folders, which are private.

    >>> short_name("photos/panda.jpg")
    'panda.jpg'
    """
    name = source if isinstance(source, str | Path) else getattr(source, "name", "")
    # Bytes of a file's name that are no text have no place in a page.
    text = Path(str(name)).name.encode("utf-8", "backslashreplace").decode()
    return "standard input" if text == "-" else text or "picture"


def describe(image: Image, name: str, pipeline: Pipeline) -> dict[str, Any]:
    """An opened picture -> the fields of the document that need no network."""
    seen = np.rint(crop_and_resize(image, pipeline)).astype(np.uint8)
    crop = open_image(seen)
    exact = _data_uri(crop, "PNG", optimize=True)
    return {
        "name": name,
        "width": image.width,
        "height": image.height,
        "original": _photograph(image),
        "crop_box": crop_box(image.height, image.width, pipeline),
        "crop": exact if len(exact) <= EXACT_CROP_BYTES else _photograph(crop),
    }


def crop_box(H: int, W: int, pipeline: Pipeline) -> list[float]:
    """Height, width -> [top, left, height, width] of what the network sees, in the same pixels.

    >>> from minimix.dialect import PIPELINES
    >>> crop_box(512, 1024, PIPELINES["timm"])
    [32.0, 288.0, 448.0, 448.0]
    """
    plan = plan_crop(H, W, pipeline, pixel_limit())
    y, x = (size / resized for size, resized in zip(plan.box[2:], plan.resized, strict=True))
    top, left, height, width = plan.window
    return [plan.box[0] + top * y, plan.box[1] + left * x, height * y, width * x]


def put_input(buffers: Buffers, x: Array, size_bytes: int) -> dict[str, Any] | None:
    """(1, H, W, 3) -> the exact input: 8-bit indices into its levels where there are few.

    None if it would take more than so many bytes.
    """
    levels = [np.unique(x[0, :, :, c]) for c in range(3)]
    count = max(map(len, levels))
    if x.size * (1 if count <= 256 else x.itemsize) > size_bytes:
        return None
    if count > 256:
        return {"values": buffers.put("input", x[0]), "levels": None}
    table = np.stack([np.pad(found, (0, count - len(found)), mode="edge") for found in levels])
    indices = [np.searchsorted(levels[c], x[0, :, :, c]) for c in range(3)]
    return {
        "values": buffers.put("input", np.stack(indices, axis=-1).astype(np.uint8)),
        "levels": buffers.put("input", table.astype(np.float32)),
    }


def _photograph(image: Image) -> str:
    """A picture for looking at, shrunk, in the best quality that is not too long."""
    scale = min(1.0, ORIGINAL_SIDE / max(image.size))
    if scale < 1.0:
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height))
    for quality in JPEG_QUALITIES:
        text = _data_uri(image, "JPEG", quality=quality)
        if len(text) <= PHOTOGRAPH_BYTES:
            break
    return text


def _data_uri(image: Image, kind: Literal["JPEG", "PNG"], **options: int) -> str:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    text = base64.b64encode(stream.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{text}"
