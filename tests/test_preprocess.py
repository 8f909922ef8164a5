"""Four pipelines from picture to network input: recorded outputs, laws, and plain-loop oracles."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from minimix.dialect import PIPELINES
from minimix.errors import InputError, UsageError
from minimix.images import crop_and_resize, open_image, preprocess
from minimix.resize import opencv_cubic, plan_crop, tensorflow_bilinear
from tests.pictures import encoded, picture
from tests.reference import REFERENCE, needs_reference

EVERY_PIPELINE = pytest.mark.parametrize("name", PIPELINES)
SMALL = {name: pipeline.with_size(32) for name, pipeline in PIPELINES.items()}
IMAGES = [
    "n01440764_tench.JPEG",
    "n02088094_Afghan_hound.JPEG",
    "n02669723_academic_gown.JPEG",
    "n02977058_cash_machine.JPEG",
    "n04243546_slot.JPEG",
    "n04367480_swab.JPEG",
    "n07836838_chocolate_sauce.JPEG",
    "n02815834_beaker.JPEG",
    "dog.jpg",
    "n02666196_abacus.JPEG",
]


def photograph(name):
    return open_image(REFERENCE / "images" / name, exif="ignore")


def recorded(*parts):
    return np.load(REFERENCE.joinpath(*parts))


# --- what the real implementations say --------------------------------------------------------


@needs_reference
@pytest.mark.parametrize("index", range(10), ids=IMAGES)
@pytest.mark.parametrize(
    ("name", "key"),
    [("timm", "timm_pil_u8"), ("omz", "omz_ac_rgb_u8"), ("mindcv", "mindcv_u8")],
)
def test_grey_levels_equal_the_recorded_ones(name, key, index):
    reference = recorded("preprocess", "preproc_ref.npz")
    assert reference["images"][index] == IMAGES[index]
    found = crop_and_resize(photograph(IMAGES[index]), PIPELINES[name])
    np.testing.assert_array_equal(found, reference[key][index])


@needs_reference
@pytest.mark.parametrize("index", [1, 3, 7, 9])
def test_tensorflow_boxes_and_bits_equal_the_recorded_ones(index):
    reference = recorded("preprocess", "preproc_ref.npz")
    top, left, side, H, W = reference[f"tf_box_oh_ow_size_h_w_{index}"].tolist()
    plan = plan_crop(H, W, PIPELINES["tensorflow"])
    assert plan.box == (top, left, side, side)
    found = tensorflow_bilinear(reference[f"tf_crop_u8_{index}"], plan.resized, plan.window)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, reference[f"tf_mnasnet_bilinear_{index}"])


@needs_reference
@pytest.mark.parametrize(
    ("name", "folder", "file"),
    [
        ("timm", "timm", "mixnet_s_ref.npz"),
        ("timm", "timm", "tf_mixnet_m_ref.npz"),
        ("mindcv", "mindcv", "mixnet_s_ref.npz"),
    ],
)
def test_network_inputs_equal_the_recorded_ones_bit_for_bit(name, folder, file):
    reference = recorded(folder, file)
    batch = [photograph(f"{image}.JPEG") for image in reference["images"][:2]]
    found = preprocess(batch, PIPELINES[name])
    np.testing.assert_array_equal(found.transpose(0, 3, 1, 2), reference["inputs"])


@needs_reference
def test_openvino_inputs_equal_the_recorded_ones():
    reference = recorded("openvino", "mixnet-l_ref.npz")
    batch = [photograph(f"{image}.JPEG") for image in reference["images"][:4]]
    found = preprocess(batch, PIPELINES["omz"])
    np.testing.assert_array_equal(found, reference["inputs_bgr_u8"])


@needs_reference
def test_tensorflow_inputs_differ_from_the_recorded_ones_only_by_the_jpeg_decoder():
    reference = recorded("tf", "mixnet-s_ref.npz")
    for image, expected in zip(reference["images"][:2], reference["inputs"], strict=True):
        found = crop_and_resize(photograph(f"{image}.JPEG"), PIPELINES["tensorflow"])
        difference = np.abs(found - expected)
        # TensorFlow's fast inverse DCT is 0.6..1.9 grey levels off on average, at most 18.
        assert difference.mean() < 2 and difference.max() <= 18


# --- laws -------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(list(PIPELINES)),
    mode=st.sampled_from(["RGB", "L", "1", "RGBA", "LA", "P", "CMYK", "I;16"]),
    H=st.integers(2, 120),
    W=st.integers(2, 120),
    size=st.integers(32, 70),
    fraction=st.sampled_from([0.875, 0.95, 1.0, 0.5]),
)
@example("timm", "RGB", 2, 120, 33, 1.0)
@example("tensorflow", "L", 2, 2, 32, 0.5)
def test_any_picture_becomes_a_finite_square_input(name, mode, H, W, size, fraction):
    pipeline = dataclasses.replace(PIPELINES[name], size=size, crop_fraction=fraction)
    colour = Image.fromarray(picture(H, W))
    image = colour.convert("L").convert(mode) if mode == "I;16" else colour.convert(mode)
    x = preprocess(open_image(image), pipeline)
    assert x.shape == (1, size, size, 3)
    assert x.dtype == np.float32 and x.flags.c_contiguous
    assert np.isfinite(x).all()


@EVERY_PIPELINE
@pytest.mark.parametrize("grey", [0, 1, 127, 128, 254, 255])
@pytest.mark.parametrize("shape", [(7, 5), (41, 300), (64, 64), (500, 333)])
def test_a_constant_picture_stays_constant(name, grey, shape):
    found = crop_and_resize(open_image(np.full(shape, grey, np.uint8)), SMALL[name])
    assert (found == grey).all()


@EVERY_PIPELINE
def test_a_batch_is_its_pictures_one_by_one(name):
    batch = [open_image(picture(40 + 9 * n, 60 - 7 * n, seed=n)) for n in range(3)]
    together = preprocess(batch, SMALL[name])
    one_by_one = np.concatenate([preprocess(image, SMALL[name]) for image in batch])
    np.testing.assert_array_equal(together, one_by_one)
    assert preprocess([], SMALL[name]).shape == (0, 32, 32, 3)


@EVERY_PIPELINE
def test_a_grayscale_picture_is_its_rgb_twin(name):
    grey = picture(50, 70, channels=1)
    twin = np.repeat(grey[..., None], 3, 2)
    np.testing.assert_array_equal(
        preprocess(open_image(Image.fromarray(grey)), SMALL[name]),
        preprocess(open_image(Image.fromarray(twin)), SMALL[name]),
    )


@EVERY_PIPELINE
def test_a_picture_turned_by_exif_is_the_picture_turned_by_hand(name):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = open_image(encoded(Image.fromarray(picture(50, 70)), exif=exif))
    by_hand = open_image(np.rot90(picture(50, 70), -1))
    np.testing.assert_array_equal(preprocess(turned, SMALL[name]), preprocess(by_hand, SMALL[name]))


@EVERY_PIPELINE
def test_normalisation_is_the_documented_formula_in_the_pipelines_channel_order(name):
    pipeline = SMALL[name]
    image = open_image(picture(50, 70))
    pixels = crop_and_resize(image, pipeline).astype(np.float64)
    ordered = pixels[..., ::-1] if pipeline.channels == "BGR" else pixels
    expected = (ordered * pipeline.range / 255 - pipeline.mean) / pipeline.std
    np.testing.assert_allclose(preprocess(image, pipeline)[0], expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", ["timm", "mindcv"])
@pytest.mark.parametrize(("H", "W"), [(256, 256), (256, 301), (399, 256), (256, 259)])
def test_a_picture_whose_short_side_fits_is_only_cropped(name, H, W):
    top, left = (H - 224) / 2, (W - 224) / 2
    top, left = (round(top), round(left)) if name == "timm" else (int(top), int(left))
    found = crop_and_resize(open_image(picture(H, W)), PIPELINES[name])
    np.testing.assert_array_equal(found, picture(H, W)[top : top + 224, left : left + 224])


@given(
    name=st.sampled_from(list(PIPELINES)),
    H=st.integers(2, 5000),
    W=st.integers(2, 5000),
    size=st.integers(32, 400),
)
def test_every_cut_lies_inside_what_it_cuts_and_is_centred(name, H, W, size):
    plan = plan_crop(H, W, PIPELINES[name].with_size(size))
    for (top, left, height, width), outer in ((plan.box, (H, W)), (plan.window, plan.resized)):
        for start, length, whole in ((top, height, outer[0]), (left, width, outer[1])):
            assert length >= 1 and 0 <= start and start + length <= whole
            assert abs(2 * start + length - whole) <= 1
    assert plan.window[2:] == (size, size)


@pytest.mark.parametrize(
    ("H", "W", "box"),
    [
        (333, 500, (21, 105, 291, 291)),
        (768, 909, (48, 119, 672, 672)),
        (221, 320, (14, 64, 193, 193)),
        (148, 148, (10, 10, 129, 129)),
    ],
)
def test_tensorflow_cuts_a_square_and_rounds_its_offset_up(H, W, box):
    assert plan_crop(H, W, PIPELINES["tensorflow"]).box == box


@pytest.mark.parametrize("name", ["tensorflow", "omz"])
def test_pixels_outside_the_box_have_no_influence(name):
    array = picture(80, 90)
    top, left, height, width = plan_crop(80, 90, SMALL[name]).box
    only_the_box = np.zeros_like(array)
    inside = np.s_[top : top + height, left : left + width]
    only_the_box[inside] = array[inside]
    np.testing.assert_array_equal(
        crop_and_resize(open_image(only_the_box), SMALL[name]),
        crop_and_resize(open_image(array), SMALL[name]),
    )


# --- oracles: the same arithmetic, one pixel at a time ----------------------------------------

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 14), st.integers(1, 14))


def naive_bilinear(pixels, Ho, Wo):
    H, W, C = pixels.shape
    out = np.empty((Ho, Wo, C), np.float32)
    for i in range(Ho):
        for j in range(Wo):
            y, x = (
                np.float32(i) * (np.float32(H) / np.float32(Ho)),
                np.float32(j) * (np.float32(W) / np.float32(Wo)),
            )
            i0, j0 = min(int(y), H - 1), min(int(x), W - 1)
            i1, j1 = min(i0 + 1, H - 1), min(j0 + 1, W - 1)
            for c in range(C):
                a, b, d, e = (np.float32(pixels[p, q, c]) for p in (i0, i1) for q in (j0, j1))
                upper = a + (b - a) * (x - np.float32(j0))
                lower = d + (e - d) * (x - np.float32(j0))
                out[i, j, c] = upper + (lower - upper) * (y - np.float32(i0))
    return out


def naive_cubic(pixels, Ho, Wo):
    """Keys' kernel in real numbers: what the fixed-point arithmetic approximates."""

    def weight(distance, A=-0.75):
        t = abs(distance)
        if t <= 1:
            return (A + 2) * t**3 - (A + 3) * t**2 + 1
        return A * t**3 - 5 * A * t**2 + 8 * A * t - 4 * A if t < 2 else 0.0

    H, W, C = pixels.shape
    out = np.zeros((Ho, Wo, C))
    for i in range(Ho):
        for j in range(Wo):
            y, x = (i + 0.5) * H / Ho - 0.5, (j + 0.5) * W / Wo - 0.5
            for p in range(math.floor(y) - 1, math.floor(y) + 3):
                for q in range(math.floor(x) - 1, math.floor(x) + 3):
                    nearest = pixels[min(max(p, 0), H - 1), min(max(q, 0), W - 1)]
                    out[i, j] += weight(y - p) * weight(x - q) * nearest
    return np.clip(out, 0, 255)


@settings(deadline=None)
@given(SIZES, st.integers(0, 99))
def test_tensorflow_bilinear_is_the_loop_over_pixels_bit_for_bit(sizes, seed):
    H, W, Ho, Wo = sizes
    pixels = picture(H, W, seed=seed)
    found = tensorflow_bilinear(pixels, (Ho, Wo), (0, 0, Ho, Wo))
    np.testing.assert_array_equal(found, naive_bilinear(pixels, Ho, Wo))


@settings(deadline=None, max_examples=50)
@given(SIZES, st.integers(0, 99))
def test_opencv_cubic_is_the_loop_over_pixels_within_one_grey_level(sizes, seed):
    H, W, Ho, Wo = sizes
    pixels = picture(H, W, seed=seed)
    found = opencv_cubic(pixels, (Ho, Wo), (0, 0, Ho, Wo))
    # Half a level to round, and up to half of one for weights rounded to 11 bits on two axes.
    assert np.abs(found - naive_cubic(pixels, Ho, Wo)).max() <= 1.0


@pytest.mark.parametrize("resize", [tensorflow_bilinear, opencv_cubic])
@given(data=st.data())
@settings(deadline=None)
def test_a_window_is_the_same_part_of_the_whole(resize, data):
    H, W, Ho, Wo = data.draw(SIZES)
    top, left = data.draw(st.integers(0, Ho - 1)), data.draw(st.integers(0, Wo - 1))
    h, w = data.draw(st.integers(1, Ho - top)), data.draw(st.integers(1, Wo - left))
    pixels = picture(H, W)
    whole = resize(pixels, (Ho, Wo), (0, 0, Ho, Wo))
    part = resize(pixels, (Ho, Wo), (top, left, h, w))
    np.testing.assert_array_equal(part, whole[top : top + h, left : left + w])


@pytest.mark.parametrize("resize", [tensorflow_bilinear, opencv_cubic])
def test_resizing_to_the_same_size_changes_nothing(resize):
    np.testing.assert_array_equal(resize(picture(), (40, 60), (0, 0, 40, 60)), picture())


# --- what a pipeline refuses ------------------------------------------------------------------


@EVERY_PIPELINE
@pytest.mark.parametrize("shape", [(1, 100_000), (100_000, 1)])
def test_a_one_pixel_line_is_refused_with_the_reason(name, shape):
    image = open_image(np.zeros(shape, np.uint8))
    with pytest.raises(InputError, match=f"too thin for pipeline {name}: .* Crop it to"):
        preprocess(image, PIPELINES[name])


@pytest.mark.parametrize("name", ["tensorflow", "omz"])
def test_a_thin_picture_that_is_cut_before_resizing_gives_a_result(name):
    image = open_image(np.full((100_000, 2), 9, np.uint8))
    assert (crop_and_resize(image, PIPELINES[name]) == 9).all()


def test_the_pixel_limit_of_the_environment_holds_for_the_resized_picture(monkeypatch):
    image = open_image(picture(100, 1000))
    monkeypatch.setenv("MINIMIX_MAX_PIXELS", "655359")
    with pytest.raises(InputError, match="it would be 2,560 x 256, over the limit of 655,359"):
        preprocess(image, PIPELINES["timm"])
    monkeypatch.setenv("MINIMIX_MAX_PIXELS", "655360")
    assert preprocess(image, PIPELINES["timm"]).shape == (1, 224, 224, 3)


def test_a_picture_in_another_mode_is_sent_to_open_image():
    with pytest.raises(UsageError, match=r"mode RGB, found L. Open it with open_image"):
        preprocess(Image.new("L", (50, 50)), PIPELINES["timm"])


@EVERY_PIPELINE
def test_an_empty_picture_is_refused(name):
    with pytest.raises(InputError, match="0 x 5 pixels is empty"):
        preprocess(Image.new("RGB", (0, 5)), PIPELINES[name])
