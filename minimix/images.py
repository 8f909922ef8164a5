"""Image file -> network input: decode, crop, resize, normalise.  The only Pillow import here.

What ``open_image`` decides, so that every picture has one meaning:

- **Grayscale** (1, L) becomes three equal channels.  **Transparency**, in whatever form (RGBA, LA,
  a palette's, a transparent colour), is composited on white.
- **CMYK** is converted by ``(255 - C)(255 - K) / 255`` and so on; inks are stored inverted in a
  JPEG (Adobe's convention).  **Colour profiles** are ignored, as by all four origins.
- **16-bit grayscale** (I;16 in any byte order) is divided by 257 and rounded, so that 65535 is
  white: nothing is clipped.  Mode I (32-bit integers) is read the same way if all values lie in
  0..65535, and is refused otherwise; mode F (floats) is refused: neither says what white is.  A
  16-bit RGB file is cut to its high bytes by Pillow's decoder.
- **Animations** give their first frame; a PIL image passed in is taken at its current frame.
- **EXIF orientation** is applied or ignored as asked; a block that cannot be parsed is an error
  only when it is to be applied.  TIFF files are always turned, by Pillow's decoder.
- **Too large** is refused from the header, before decoding: over ``MAX_PIXELS`` (argument
  ``max_pixels``, environment ``MINIMIX_MAX_PIXELS``), or with a side over ``MAX_SIDE``
  (``MINIMIX_MAX_SIDE``).  A picture so thin that resizing it would pass the limit is refused by
  ``crop_and_resize``.
- **Vector formats** (EPS, WMF) are refused: decoding them would start another program.
- **Broken, truncated, empty, missing** files raise InputError with the name and what to do next;
  a truncated file is never filled up with grey.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import numpy as np
import numpy.typing as npt
import PIL
from PIL import ExifTags, Image, UnidentifiedImageError

from minimix.dialect import Pipeline
from minimix.errors import InputError, UsageError, brief
from minimix.limits import in_force, positive
from minimix.resize import CropPlan, cut, opencv_cubic, plan_crop, tensorflow_bilinear
from minimix.streams import name_of, open_stream

Exif = Literal["apply", "ignore"]
Source = str | Path | bytes | BinaryIO | Image.Image | npt.NDArray[np.uint8]

MAX_PIXELS = 89_478_485
"""Pixels a picture may have, 9,459 squared: a quarter GiB of RGB, and Pillow's own limit."""

MAX_SIDE = 1 << 20
"""Pixels a side may have: Pillow's tables of weights grow with it, 32 bytes a pixel."""

_VECTOR_FORMATS = ("EPS", "WMF")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_pillow_lock = threading.RLock()

if hasattr(os, "register_at_fork"):
    # A child gets no lock that a thread of its parent holds, and Pillow's settings as they were.
    os.register_at_fork(
        before=_pillow_lock.acquire,
        after_in_parent=_pillow_lock.release,
        after_in_child=_pillow_lock.release,
    )


def preprocess(
    images: Image.Image | Sequence[Image.Image], pipeline: Pipeline
) -> npt.NDArray[np.float32]:
    """RGB pictures -> (N, size, size, 3) float32.  Exactly what the weights' origin would feed.

    ``(channels(crop_and_resize(image)) * range / 255 - mean) / std``, in float32.

    >>> from minimix.dialect import PIPELINES
    >>> white = Image.new("RGB", (300, 200), "white")
    >>> preprocess(white, PIPELINES["timm"])[0, 0, 0].tolist()  # doctest: +ELLIPSIS
    [2.248..., 2.428..., 2.640...]

    Raises:
        InputError: a picture is too thin for the pipeline.
        UsageError: a picture is not in mode RGB.
    """
    batch = [images] if isinstance(images, Image.Image) else images
    out = np.empty((len(batch), pipeline.size, pipeline.size, 3), np.float32)
    divisor = np.float32(255.0 / pipeline.range)
    # Rows of pixels, not pixels, against rows of constants: NumPy's inner loops are then long.
    mean, std = np.tile(np.array((pipeline.mean, pipeline.std), np.float32), pipeline.size)
    rows = out.reshape(len(batch), pipeline.size, 3 * pipeline.size)
    for n, image in enumerate(batch):
        pixels = crop_and_resize(image, pipeline)
        ordered = pixels[..., ::-1] if pipeline.channels == "BGR" else pixels
        np.divide(ordered.reshape(rows.shape[1:]), divisor, out=rows[n], dtype=np.float32)
        rows[n] -= mean
        rows[n] /= std
    return out


def crop_and_resize(
    image: Image.Image, pipeline: Pipeline
) -> npt.NDArray[np.uint8] | npt.NDArray[np.float32]:
    """RGB picture -> (size, size, 3) in 0..255, RGB order, before any normalisation.

    uint8, except that ``tensorflow-bilinear`` does not round and gives float32.

    >>> from minimix.dialect import PIPELINES
    >>> crop_and_resize(Image.new("RGB", (300, 200), "red"), PIPELINES["omz"])[0, 0].tolist()
    [255, 0, 0]

    Raises:
        InputError: the picture is too thin for the pipeline.
        UsageError: the picture is not in mode RGB.
    """
    if image.mode != "RGB":
        raise UsageError(
            f"crop_and_resize: expected a picture in mode RGB, found {image.mode}. "
            f"Open it with open_image()"
        )
    plan = plan_crop(image.height, image.width, pipeline, pixel_limit())
    if pipeline.resize == "pillow-bicubic":
        return _pillow_bicubic(image, plan)
    box = cut(np.asarray(image), plan.box)
    if pipeline.resize == "tensorflow-bilinear":
        return tensorflow_bilinear(box, plan.resized, plan.window)
    return opencv_cubic(box, plan.resized, plan.window)


def _pillow_bicubic(image: Image.Image, plan: CropPlan) -> npt.NDArray[np.uint8]:
    # Not resize(box=...): its filter would see pixels beyond the box, which the origins cut first.
    if plan.box != (0, 0, image.height, image.width):
        image = Image.fromarray(cut(np.asarray(image), plan.box))
    height, width = plan.resized
    resized = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    return np.ascontiguousarray(cut(resized, plan.window))


def open_image(
    source: Source, *, exif: Exif = "apply", max_pixels: int | None = None
) -> Image.Image:
    """File, bytes, stream, PIL image or uint8 array -> a decoded RGB picture.

    A stream is read from its start and left open; an array is ``(H, W, 3)`` or ``(H, W)``.  The
    module's docstring lists what is decided for every kind of picture.

    >>> open_image(np.zeros((2, 3), np.uint8)).size
    (3, 2)

    Raises:
        InputError: the source is missing, unreadable, broken, too large, or of a refused kind; the
            message names it.
        UsageError: ``exif`` or the pixel limit is not a known value.
    """
    if exif not in get_args(Exif):
        raise UsageError(f"open_image: exif is {exif!r}; known: {', '.join(get_args(Exif))}")
    limit = pixel_limit(max_pixels)
    if isinstance(source, np.ndarray):
        return _from_array(source, limit)
    if isinstance(source, Image.Image):
        opened = _decode(source, "PIL image", exif, limit)
        return opened.copy() if opened is source else opened
    if not isinstance(source, str | Path | bytes) and not hasattr(source, "read"):
        raise InputError(
            f"a picture is a path, bytes, a binary stream, a PIL image or a uint8 array; found "
            f"{type(source).__name__}"
        )
    name = name_of(source)
    with open_stream(source, name) as stream:
        return _decode(_read_header(stream, name, limit), name, exif, limit)


def pixel_limit(max_pixels: int | None = None) -> int:
    """Argument or None -> the limit in force: the argument, the environment, ``MAX_PIXELS``.

    >>> pixel_limit(1000)
    1000

    Raises:
        UsageError: the limit is not a positive whole number.
    """
    if max_pixels is None:
        return in_force("MINIMIX_MAX_PIXELS", MAX_PIXELS)
    return positive("max_pixels", str(max_pixels), int)


@contextmanager
def _quiet_pillow(limit: int) -> Iterator[None]:
    """Let Pillow read headers under our pixel limit and without warnings about odd metadata.

    Both are settings of the whole process, so the lock keeps this short: headers only, no pixels.
    """
    with _pillow_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, limit
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _read_header(stream: BinaryIO, name: str, limit: int) -> Image.Image:
    try:
        with _quiet_pillow(limit):
            image = Image.open(stream)
    except Image.DecompressionBombError as error:
        raise InputError(_too_large(name, f"more than {2 * limit:,} pixels", limit)) from error
    except UnidentifiedImageError as error:
        stream.seek(0)
        raise InputError(
            f"{name}: not an image that Pillow {PIL.__version__} can read; it starts with bytes "
            f"{stream.read(8).hex(' ')}. Convert it to PNG or JPEG; if it is one, it is damaged"
        ) from error
    except Exception as error:  # dozens of format plugins raise whatever their parsers trip over
        raise _broken(name, error) from error
    if image.format in _VECTOR_FORMATS:
        raise InputError(f"{name}: {image.format} is a vector format. Convert it to PNG first")
    return image


def _decode(image: Image.Image, name: str, exif: Exif, limit: int) -> Image.Image:
    _check_size(image.size, name, limit)
    try:
        image.load()
    except Exception as error:  # dozens of format plugins raise whatever their parsers trip over
        raise _broken(name, error) from error
    rgb = _to_rgb(image, name)
    turn = _TURNS.get(_orientation(image, name, limit)) if exif == "apply" else None
    return rgb if turn is None else rgb.transpose(turn)


def _broken(name: str, error: Exception) -> InputError:
    reason = brief(error) or type(error).__name__
    cut_off = isinstance(error, EOFError) or any(
        sign in reason.lower() for sign in ("truncat", "unexpected end", "end of file")
    )
    what = "truncated" if cut_off else "damaged or unsupported"
    return InputError(f"{name}: {what} image file ({reason}). Fetch or export it again")


def _check_size(size: tuple[int, int], name: str, limit: int) -> None:
    width, height = size
    found = f"{width:,} x {height:,} pixels"
    if width < 1 or height < 1:
        raise InputError(f"{name}: the image has no pixels ({found}). Export it again")
    if width * height > limit:
        raise InputError(_too_large(name, found, limit))
    longest = in_force("MINIMIX_MAX_SIDE", MAX_SIDE)
    if max(size) > longest:
        raise InputError(
            f"{name}: {found}; a side may have {longest:,}. Crop it first; or, if you trust it, "
            "raise MINIMIX_MAX_SIDE"
        )


def _too_large(name: str, found: str, limit: int) -> str:
    return (
        f"{name}: {found}, over the limit of {limit:,}. Shrink it first; or, if you trust it, "
        "raise max_pixels or MINIMIX_MAX_PIXELS"
    )


def _orientation(image: Image.Image, name: str, limit: int) -> int:
    try:
        with _quiet_pillow(limit):
            found: Any = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception as error:  # the EXIF parser, too, raises whatever it trips over
        raise InputError(
            f"{name}: its EXIF block cannot be read ({brief(error)}). Pass exif='ignore' "
            f"(--exif ignore) to take the picture as it is stored"
        ) from error
    return found if isinstance(found, int) else 1


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Any decoded mode -> RGB, the picture itself if it is that.  See the module's docstring."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _from_sixteen_bits(np.asarray(image), name)
    try:
        # Pillow's reader of ICNS files leaves a palette to its own core, where convert finds it.
        is_bare = image.mode == "P" and image.palette is None
        if not is_bare and not image.has_transparency_data:
            return image if image.mode == "RGB" else image.convert("RGB")
        rgba = image.convert("RGBA")
    except Exception as error:  # a mode without what belongs to it: a palette, channels
        raise _broken(name, error) from error
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def _from_sixteen_bits(values: npt.NDArray[Any], name: str) -> Image.Image:
    """(H, W) integers in 0..65535 -> RGB, 257 of them to a grey level, rounded."""
    low, high = values.min(), values.max()
    if values.dtype.kind == "f" or low < 0 or high > 65535:
        raise InputError(
            f"{name}: {values.dtype} pixels from {low} to {high} do not say what white is; "
            f"expected whole numbers in 0..65535. Convert it to 8 or 16 bits first"
        )
    grey = (values.astype(np.uint32) + 128) // 257
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")


def _from_array(array: npt.NDArray[Any], limit: int) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim < 2 or array.shape[2:] not in ((), (3,)):
        raise InputError(
            f"array: expected (H, W, 3) or (H, W) of uint8, found {array.shape} of {array.dtype}. "
            f"Convert it to 8 bits first, channels last"
        )
    _check_size((array.shape[1], array.shape[0]), "array", limit)
    return Image.fromarray(np.ascontiguousarray(array)).convert("RGB")
