"""What is broken, missing or too large is an error that names it, and nothing worse."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minimix.errors import InputError, UsageError
from minimix.images import MAX_PIXELS, MAX_SIDE, open_image, pixel_limit
from tests.pictures import encoded, picture, pixels


def png_header(width, height):
    """A PNG that declares a size and breaks off where its pixels would begin."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + crc + b"\0\0\1\0IDAT"


# --- files that cannot be read ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_cut_off_file_is_an_input_error_that_names_it(tmp_path, kind, kept):
    data = encoded(Image.fromarray(picture(100, 100)), kind)
    path = tmp_path / "cut.bin"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(InputError, match="cut.bin: "):
        open_image(path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_a_truncated_file_is_called_truncated(kind):
    data = encoded(Image.fromarray(picture(100, 100)), kind)
    with pytest.raises(InputError, match="truncated image file .* Fetch or export it again"):
        open_image(data[: len(data) // 2])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "ICO", "TGA"])
def test_damaged_bytes_give_a_picture_or_an_input_error_and_nothing_else(kind):
    data = encoded(Image.fromarray(picture(48, 48)), kind)
    generator = np.random.default_rng(3)
    refused = 0
    for _ in range(60):
        damaged = bytearray(data)
        for where in generator.integers(0, min(len(data), 400), 6):
            damaged[where] = generator.integers(256)
        try:
            assert open_image(bytes(damaged), max_pixels=1_000_000).mode == "RGB"
        except InputError:
            refused += 1
    assert refused > 0


def test_an_empty_file_says_so(tmp_path):
    path = tmp_path / "empty.jpg"
    path.write_bytes(b"")
    for source in (path, b"", io.BytesIO()):
        with pytest.raises(InputError, match=r"is empty \(0 bytes\)"):
            open_image(source)


def test_something_else_than_an_image_shows_how_it_starts(tmp_path):
    path = tmp_path / "notes.jpg"
    path.write_text("<!DOCTYPE html>", encoding="utf-8")
    with pytest.raises(InputError, match="notes.jpg: not an image .* 3c 21 44 4f 43 54 59 50"):
        open_image(path)


def test_a_missing_file_and_a_folder_say_what_they_are(tmp_path):
    with pytest.raises(InputError, match="gone.png: cannot be opened: No such file or directory"):
        open_image(tmp_path / "gone.png")
    with pytest.raises(InputError, match="expected an image file, found a folder"):
        open_image(tmp_path)


def test_a_path_that_no_system_accepts_is_an_input_error():
    with pytest.raises(InputError, match="cannot be opened"):
        open_image("a\0b.png")


def test_a_file_without_permission_says_so(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "secret.png"
    path.write_bytes(b"x")
    monkeypatch.setattr(Path, "open", refuse)  # the tests may run as root, who may read all
    with pytest.raises(InputError, match="secret.png: cannot be opened: Permission denied"):
        open_image(path)


def test_a_stream_that_fails_is_an_input_error():
    class Broken(io.RawIOBase):
        name = "tape"

        def seekable(self):
            raise OSError("no tape")

    with pytest.raises(InputError, match="tape: reading failed: no tape"):
        open_image(Broken())


# --- files that are too large -----------------------------------------------------------------


@pytest.mark.parametrize("side", [9_460, 13_000, 30_000])
def test_too_many_pixels_are_refused_from_the_header(side):
    with pytest.raises(InputError, match=f"pixels, over the limit of {MAX_PIXELS:,}"):
        open_image(png_header(side, side))


def test_a_side_over_the_limit_is_refused_from_the_header():
    with pytest.raises(InputError, match=f"a side may have {MAX_SIDE:,}"):
        open_image(png_header(MAX_SIDE + 1, 1))


@pytest.mark.parametrize("source", [picture(), Image.fromarray(picture())], ids=["array", "PIL"])
def test_the_limit_holds_for_what_is_already_decoded(source):
    with pytest.raises(InputError, match="60 x 40 pixels, over the limit of 2,399"):
        open_image(source, max_pixels=2399)
    assert open_image(source, max_pixels=2400).size == (60, 40)


def test_a_container_that_understates_its_picture_is_refused_all_the_same():
    inner = encoded(Image.fromarray(picture(100, 100)))
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22)
    icon = struct.pack("<HHH", 0, 1, 1) + entry + inner
    assert open_image(icon).size == (100, 100)
    with pytest.raises(InputError, match="100 x 100 pixels, over the limit of 9,000"):
        open_image(icon, max_pixels=9000)


def test_the_environment_sets_the_limit_and_the_argument_overrides_it(monkeypatch):
    monkeypatch.setenv("MINIMIX_MAX_PIXELS", "100")
    assert (pixel_limit(), pixel_limit(7)) == (100, 7)
    with pytest.raises(InputError, match="over the limit of 100"):
        open_image(picture())
    monkeypatch.setenv("MINIMIX_MAX_PIXELS", "")
    assert pixel_limit() == MAX_PIXELS


@pytest.mark.parametrize("value", ["0", "-5", "1e6", "many", "²"])
def test_an_impossible_limit_is_a_usage_error(value, monkeypatch):
    monkeypatch.setenv("MINIMIX_MAX_PIXELS", value)
    with pytest.raises(UsageError, match="MINIMIX_MAX_PIXELS is .*expected a positive whole"):
        pixel_limit()


def test_an_impossible_argument_is_a_usage_error():
    with pytest.raises(UsageError, match="max_pixels is '0'"):
        pixel_limit(0)


def test_the_limit_is_ours_and_not_pillows(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(picture()))), picture())
    assert Image.MAX_IMAGE_PIXELS == 100


def test_opening_from_many_threads_restores_pillows_settings():
    data, before = encoded(Image.fromarray(picture())), Image.MAX_IMAGE_PIXELS
    limits = itertools.islice(itertools.cycle([None, 10_000]), 64)
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda limit: pixels(data, max_pixels=limit), limits))
    assert all(np.array_equal(found, picture()) for found in opened)
    assert Image.MAX_IMAGE_PIXELS == before
