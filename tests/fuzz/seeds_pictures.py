"""Pictures of every format that Pillow reads and writes here, and some that it only reads."""

from __future__ import annotations

import io
import os
import struct
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image, ImageCms

from minimix.dialect import PIPELINES
from minimix.images import open_image, preprocess
from tests.fuzz.declared import Files
from tests.fuzz.mutations import MAX_FILE_BYTES, Seed
from tests.fuzz.parser_rule import check
from tests.fuzz.samples import single

MOST_PIXELS = 1 << 20
"""The limit that pictures are opened under: what they may take is small beside the bounds."""

_TOKENS = {
    "JPEG": (b"\xff\xd8", b"\xff\xda", b"\xff\xc2", b"\xff\xc0", b"\xff\xc4", b"Exif\0\0", b"MPF\0")
    + (b"\xff\xe1\x00\x16", b"Adobe\0", b"\xff\xdd\x00\x04", b"\xff\xd9"),
    "PNG": (b"IHDR", b"IDAT", b"PLTE", b"tRNS", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"acTL")
    + (b"fcTL", b"fdAT", b"IEND", b"\0\0\0\x08gAMA"),
    "GIF": (b"GIF89a", b"\x21\xf9\x04", b"\x21\xff\x0bNETSCAPE2.0", b"\x2c", b"\x3b", b"\x21\xfe"),
    "WEBP": (b"VP8 ", b"VP8L", b"VP8X\x0a\0\0\0", b"ALPH", b"ANIM", b"ANMF", b"EXIF", b"ICCP"),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", *(struct.pack("<H", tag) for tag in (256, 257, 258)))
    + tuple(struct.pack("<HH", 259, kind) for kind in (1, 2, 5, 7, 8, 32773)),
}  # fmt: skip


def _drawn(mode: str) -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 256, (18, 22, 4), np.uint8)
    pixels[4:12, 3:15] = (200, 30, 60, 128)  # something that compresses
    picture = Image.fromarray(pixels)
    if mode == "I;16":
        return Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    if mode in ("F", "I"):
        return picture.convert("L").convert(mode)
    return (
        picture.convert("RGB").convert(mode) if mode in ("CMYK", "YCbCr") else picture.convert(mode)
    )


def _exif() -> bytes:
    tags = Image.Exif()
    tags[0x0112], tags[0x010E] = 6, "a picture"
    return bytes(tags.tobytes())


_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_MODES: dict[str, tuple[str, ...]] = {
    "JPEG": ("RGB", "L", "CMYK"),
    "PNG": ("RGB", "RGBA", "P", "LA", "1", "I;16"),
    "GIF": ("P", "L"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("RGB", "RGBA", "1", "CMYK", "I;16", "F", "P"),
}
_MORE: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "JPEG": (
        ("RGB", {"progressive": True, "exif": _exif()}),
        ("RGB", {"icc_profile": _PROFILE, "subsampling": 0, "restart_marker_rows": 1}),
    ),
    "PNG": (("RGB", {"exif": _exif(), "icc_profile": _PROFILE}), ("P", {"transparency": 3})),
    "GIF": (("P", {"transparency": 0, "interlace": 1}),),
    "WEBP": (("RGB", {"lossless": True, "exif": _exif()}),),
    "TIFF": tuple(
        (mode, {"compression": name})
        for mode, name in (
            ("RGB", "tiff_lzw"),
            ("RGB", "tiff_adobe_deflate"),
            ("RGB", "jpeg"),
            ("L", "packbits"),
            ("1", "group4"),
        )
    ),
}
_ANIMATED = ("PNG", "GIF", "WEBP", "TIFF", "AVIF", "MPO")
_OTHERS = ("BMP", "DIB", "ICO", "ICNS", "PPM", "TGA", "PCX", "SGI", "SPIDER", "IM", "MSP", "XBM")
_OTHERS += ("DDS", "JPEG2000", "AVIF", "MPO", "QOI", "BLP", "PDF")


def seeds(kind: str) -> list[Seed]:
    """One format's pictures, each of which is read as it is, except those of floats."""
    Image.init()
    kinds = _OTHERS if kind == "others" else (kind,)
    made = [seed for kind in kinds if kind in Image.SAVE for seed in _of(kind)]
    if kind == "others":
        made += [Seed(single(content)) for content in _BY_HAND]
    return made


def _of(kind: str) -> Iterator[Seed]:
    modes = _MODES.get(kind, ("RGB", "L", "RGBA", "P", "1"))
    variants = [(mode, {}) for mode in modes] + list(_MORE.get(kind, ()))
    if kind in _ANIMATED:
        variants.append(("RGB", {"save_all": True, "append_images": [_drawn("L"), _drawn("RGB")]}))
    tokens = _TOKENS.get(kind, ())
    for mode, options in variants:
        stream = io.BytesIO()
        try:
            with warnings.catch_warnings(action="ignore"):  # formats that Pillow is to drop
                _drawn(mode).save(stream, kind, **options)
        except (OSError, ValueError, KeyError):  # not every format has every mode
            continue
        if len(stream.getvalue()) > MAX_FILE_BYTES:  # one that always has all sizes
            continue
        is_valid = kind not in ("PDF", "SPIDER") and mode != "F"  # of floats, or to be printed
        yield Seed(single(stream.getvalue()), tokens=tokens, is_valid=is_valid)


_XPM = (
    b'/* XPM */\nstatic char *x[] = {\n"4 2 2 1",\n"a c #000000",\n"b c #ffffff",\n"abab",\n'
    b'"baba"};\n'
)
_PSD = b"8BPS" + struct.pack(">H6xHIIHHIIIH", 1, 3, 2, 4, 8, 3, 0, 0, 0, 0) + bytes(range(24))
_PLAIN = b"P3\n# text\n2 2\n255\n0 0 0 255 0 0 0 255 0 0 0 255\n"


def _icns() -> bytes:
    stream = io.BytesIO()
    _drawn("RGB").resize((128, 128), Image.Resampling.NEAREST).save(stream, "PNG")
    entry = b"ic07" + struct.pack(">I", 8 + len(stream.getvalue())) + stream.getvalue()
    return b"icns" + struct.pack(">I", 8 + len(entry)) + entry


_BY_HAND = (_XPM, _PSD, _PLAIN, _icns())


def parsing(kind: str) -> Callable[[Path, Files], None]:
    """Make what opens a picture and prepares it for a network."""

    def parse(path: Path, files: Files) -> None:
        with patch.dict(os.environ, {"MINIMIX_MAX_PIXELS": str(MOST_PIXELS)}):
            opened = open_image(path, exif="apply")
            prepared = preprocess(opened, PIPELINES["timm"])
        width, height = opened.size
        check(opened.mode == "RGB", f"{kind}: a picture in mode {opened.mode}")
        check(0 < width * height <= MOST_PIXELS, f"{kind}: a picture of {opened.size}")
        check(prepared.shape == (1, 224, 224, 3), f"{kind}: prepared as {prepared.shape}")
        check(bool(np.isfinite(prepared).all()), f"{kind}: prepared to what is no number")

    return parse
