"""Every kind of picture has one meaning, however it is named or stored."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
from PIL import Image, ImageOps

from minimix.errors import InputError, UsageError
from minimix.images import open_image
from tests.pictures import encoded, picture, pixels

# --- every way to name a picture --------------------------------------------------------------


def test_path_string_bytes_stream_image_and_array_give_the_same_pixels(tmp_path):
    array = picture()
    path = tmp_path / "picture.png"
    Image.fromarray(array).save(path)
    with path.open("rb") as stream:
        for source in (path, str(path), path.read_bytes(), stream, Image.open(path), array):
            np.testing.assert_array_equal(pixels(source), array)
        assert not stream.closed


def test_a_stream_is_read_from_its_start():
    stream = io.BytesIO(encoded(Image.fromarray(picture())))
    stream.seek(17)
    np.testing.assert_array_equal(pixels(stream), picture())


def test_a_stream_that_cannot_seek_is_read_whole():
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as reading:
        with os.fdopen(write_end, "wb") as writing:
            writing.write(encoded(Image.fromarray(picture())))
        np.testing.assert_array_equal(pixels(reading), picture())


def test_a_grayscale_array_and_a_view_are_accepted():
    grey = picture(channels=1)
    np.testing.assert_array_equal(pixels(grey), np.repeat(grey[..., None], 3, 2))
    np.testing.assert_array_equal(pixels(picture()[::-1, ::2]), picture()[::-1, ::2])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
    ],
    ids=lambda array: f"{array.shape}-{array.dtype}",
)
def test_another_array_is_refused(array):
    with pytest.raises(InputError, match=r"expected \(H, W, 3\) or \(H, W\) of uint8, found"):
        open_image(array)


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 0)])
def test_a_picture_without_pixels_is_refused(shape):
    with pytest.raises(InputError, match="no pixels"):
        open_image(np.zeros(shape, np.uint8))
    with pytest.raises(InputError, match="no pixels"):
        open_image(Image.new("RGB", shape[1::-1]))


def test_an_opened_picture_is_independent_of_its_source():
    source = Image.fromarray(picture())
    open_image(source).paste("black", (0, 0, 60, 40))
    np.testing.assert_array_equal(np.asarray(source), picture())


# --- every kind of picture --------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_grayscale_becomes_three_equal_channels(kind):
    grey = picture(channels=1)
    found = pixels(encoded(Image.fromarray(grey), kind))
    np.testing.assert_array_equal(found, np.repeat(grey[..., None], 3, 2))


def test_one_bit_becomes_black_and_white():
    bits = picture(channels=1) > 127
    found = pixels(encoded(Image.fromarray(bits)))
    np.testing.assert_array_equal(found, np.repeat(bits[..., None] * np.uint8(255), 3, 2))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_composited_on_white(mode):
    layers = picture(channels=len(mode), seed=1)
    layers[:3, :, -1], layers[3:6, :, -1] = 0, 255
    found = pixels(encoded(Image.fromarray(layers)))
    colour, alpha = layers[..., :-1].astype(float), layers[..., -1:] / 255.0
    expected = np.broadcast_to(colour * alpha + 255 * (1 - alpha), found.shape)
    assert np.abs(found - expected).max() <= 1.0  # Pillow's integer blend rounds
    assert (found[:3] == 255).all()
    np.testing.assert_array_equal(found[3:6], expected[3:6])


def test_an_opaque_palette_gives_its_colours():
    image = Image.fromarray(picture()).quantize(16)
    np.testing.assert_array_equal(pixels(encoded(image)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("transparency", [1, b"\xff\x00"], ids=["one index", "alpha per index"])
def test_transparent_palette_entries_become_white(transparency):
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    found = pixels(encoded(image, transparency=transparency))
    assert found[0].tolist() == [[255, 0, 0], [255, 255, 255], [0, 0, 255]]


def test_a_transparent_colour_becomes_white():
    array = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)
    found = pixels(encoded(Image.fromarray(array), transparency=(0, 0, 255)))
    assert found[0].tolist() == [[255, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize(("kind", "tolerance"), [("TIFF", 0), ("JPEG", 6)])
def test_cmyk_inks_subtract_from_white_whether_or_not_the_file_inverts_them(kind, tolerance):
    inks = {(0, 255, 255, 0): (255, 0, 0), (0, 0, 0, 0): (255, 255, 255), (0, 0, 0, 255): (0, 0, 0)}
    for ink, colour in inks.items():
        found = pixels(encoded(Image.new("CMYK", (16, 16), ink), kind))
        assert np.abs(found.astype(int) - colour).max() <= tolerance


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "LAB", "RGBX", "PA", "RGBa"])
def test_other_modes_convert(mode):
    assert pixels(Image.new(mode, (3, 2))).shape == (2, 3, 3)


SIXTEEN_BITS = [0, 128, 129, 256, 257, 32768, 65406, 65407, 65535]
EIGHT_BITS = [0, 0, 1, 1, 1, 128, 254, 255, 255]


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_sixteen_bits_are_scaled_to_eight_not_clipped(mode):
    dtype = {"I;16": "<u2", "I;16B": ">u2", "I": "=i4"}[mode]
    data = np.array([SIXTEEN_BITS], dtype).tobytes()
    image = Image.frombytes(mode, (len(SIXTEEN_BITS), 1), data)
    assert pixels(image)[0].tolist() == [[grey] * 3 for grey in EIGHT_BITS]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_sixteen_bit_file_is_scaled(kind):
    image = Image.fromarray(np.array([SIXTEEN_BITS], np.uint16))
    assert pixels(encoded(image, kind))[0, :, 1].tolist() == EIGHT_BITS


@pytest.mark.parametrize("value", [-1, 65536])
def test_integers_outside_sixteen_bits_are_refused(value):
    with pytest.raises(InputError, match="do not say what white is; expected whole numbers"):
        open_image(encoded(Image.new("I", (2, 2), value), "TIFF"))


def test_floating_point_pixels_are_refused(tmp_path):
    path = tmp_path / "float.tiff"
    Image.new("F", (2, 2), 0.5).save(path)
    with pytest.raises(InputError, match="float.tiff: float32 pixels from 0.5 to 0.5 do not say"):
        open_image(path)


def test_a_mode_without_conversion_is_refused():
    with pytest.raises(InputError, match=r"PIL image: .*unsupported .* \(conversion from La"):
        open_image(Image.new("La", (2, 2)))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_gives_its_first_frame(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black", "red")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert (pixels(data) == 255).all()


def test_a_pil_image_is_taken_at_its_current_frame():
    frames = [Image.new("L", (8, 8), grey) for grey in (255, 0)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(data)) as animation:
        animation.seek(1)
        assert (pixels(animation) == 0).all()


def test_a_vector_format_is_refused_without_running_its_interpreter():
    with pytest.raises(InputError, match="EPS is a vector format"):
        open_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")


# --- orientation ------------------------------------------------------------------------------


def with_orientation(orientation, kind="PNG"):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(Image.fromarray(picture()), kind, exif=exif)


TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", TURNED)
def test_orientation_is_applied_or_ignored_as_asked(orientation):
    data = with_orientation(orientation)
    np.testing.assert_array_equal(pixels(data, exif="apply"), TURNED[orientation](picture()))
    np.testing.assert_array_equal(pixels(data, exif="ignore"), picture())


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_orientation_is_read_in_every_format_that_has_it(kind):
    data = with_orientation(6, kind)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(pixels(data), np.asarray(expected))


@pytest.mark.parametrize("exif", ["apply", "ignore"])
def test_a_tiff_is_turned_once_whatever_is_asked(exif):
    np.testing.assert_array_equal(
        pixels(with_orientation(6, "TIFF"), exif=exif), np.rot90(picture(), -1)
    )


@pytest.mark.parametrize("orientation", [0, 9, 400])
def test_an_orientation_that_does_not_exist_leaves_the_picture(orientation):
    np.testing.assert_array_equal(pixels(with_orientation(orientation)), picture())


def test_a_broken_exif_block_is_an_error_only_when_it_is_to_be_applied():
    data = encoded(Image.fromarray(picture()), exif=b"Exif\x00\x00nothing of the kind")
    with pytest.raises(InputError, match="EXIF block cannot be read .* exif='ignore'"):
        open_image(data)
    np.testing.assert_array_equal(pixels(data, exif="ignore"), picture())


def test_odd_metadata_does_not_warn():
    cut_off = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x09\x01\x12\x00\x03\x00\x00\x00\x01\x00"
    np.testing.assert_array_equal(
        pixels(encoded(Image.fromarray(picture()), exif=cut_off)), picture()
    )


def test_an_unknown_way_to_treat_exif_is_refused():
    with pytest.raises(UsageError, match="exif is 'maybe'; known: apply, ignore"):
        open_image(picture(), exif="maybe")
