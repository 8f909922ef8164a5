"""Pictures for training mixnet-pocket: repeatable, of the right shape, with the object in view."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from minimix.errors import InputError, UsageError
from weights_tools.pocket import backgrounds, glyphs, pictures
from weights_tools.pocket.classes import CLASSES, DISTRACTORS, LABELS

needs_font = pytest.mark.skipif(
    not glyphs.FONT_PATH.is_file() or not features.check("raqm"),
    reason=f"no {glyphs.FONT_PATH} (fonts-noto-color-emoji), or a Pillow without libraqm",
)

EVERY_BACKGROUND = [*dict.fromkeys(backgrounds.TRAIN), *backgrounds.HELD_OUT]


def test_there_are_forty_classes_with_distinct_labels_and_pictograms() -> None:
    assert len(CLASSES) == len(set(LABELS)) == len({emoji for _, emoji in CLASSES}) == 40
    assert all(label == label.lower() for label in LABELS)


def test_no_distractor_is_a_class_or_comes_twice() -> None:
    assert not set(DISTRACTORS) & {emoji for _, emoji in CLASSES}
    assert len(set(DISTRACTORS)) == len(DISTRACTORS)


def test_the_two_families_of_backgrounds_share_no_generator() -> None:
    assert not set(backgrounds.TRAIN) & set(backgrounds.HELD_OUT)
    makers = [
        {maker.__module__ for maker in family}
        for family in (backgrounds.TRAIN, backgrounds.HELD_OUT)
    ]
    assert not makers[0] & makers[1]


@needs_font
@pytest.mark.parametrize("S", [32, 109])
@pytest.mark.parametrize("background", EVERY_BACKGROUND)
def test_a_background_is_a_fresh_picture_and_repeats_for_its_seed(
    background: backgrounds.Background, S: int
) -> None:
    for seed in range(4):
        first = background(np.random.default_rng(seed), S)
        assert first.shape == (S, S, 3) and first.dtype == np.uint8
        np.testing.assert_array_equal(first, background(np.random.default_rng(seed), S))
    assert (first != background(np.random.default_rng(99), S)).any()


@needs_font
@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 2**32),
    start=st.integers(0, 10**9),
    family=st.sampled_from(["train", "held_out"]),
)
def test_a_picture_depends_on_seed_and_index_alone(seed: int, start: int, family: str) -> None:
    together, classes = pictures.batch(seed, start, 3, family=family)
    assert together.shape == (3, 109, 109, 3) and together.dtype == np.uint8
    assert classes.shape == (3,) and classes.dtype == np.int64
    assert ((classes >= 0) & (classes < 40)).all()
    for n in range(3):
        alone, label = pictures.batch(seed, start + n, 1, family=family)
        np.testing.assert_array_equal(alone[0], together[n])
        assert label[0] == classes[n]


@needs_font
@pytest.mark.parametrize(("label", "emoji"), CLASSES)
def test_the_object_stays_within_the_centre_crop_in_training_ranges(label: str, emoji: str) -> None:
    clean = dataclasses.replace(
        pictures.Ranges(), blur=(0.0, 0.0), noise=(0.0, 0.0), jpeg=0.0, brightness=(0.7, 1.0)
    )
    inside, total = 0, 0
    white = np.full((109, 109, 3), 255, np.uint8)
    for seed in range(10):
        drawn = pictures.draw(
            np.random.default_rng(seed), glyphs.load_glyph(emoji), white, 109, clean
        )
        trace = (drawn != 255).any(axis=2)
        inside += int(trace[6:103, 6:103].sum())
        total += int(trace.sum())
    assert total > 10 * 100, label
    assert inside / total > 0.97, label


@needs_font
def test_a_warp_without_turning_keeps_the_ink_of_the_glyph() -> None:
    glyph = glyphs.load_glyph("\U0001f43c")
    expected = np.asarray(glyph.levels[0], np.float64)[..., 3].sum() / 255
    for longest in (30.0, 48.0, 90.0):
        tile, _ = glyphs.warp(glyph, glyphs.View(longest), (60.0, 60.0), 120)
        found = tile[..., 3].sum() * (glyph.longest / longest) ** 2
        assert found == pytest.approx(expected, rel=0.02)


@needs_font
def test_a_glyph_outside_the_picture_leaves_an_empty_tile() -> None:
    tile, _ = glyphs.warp(glyphs.load_glyph("\U0001f43c"), glyphs.View(20.0), (500.0, 50.0), 100)
    assert tile.size == 0


@needs_font
def test_ranges_beyond_training_still_draw() -> None:
    wide = dataclasses.replace(pictures.Ranges(), scale=(1.1, 1.2), rotation=(-45.0, 45.0))
    drawn, _ = pictures.batch(0, 0, 8, ranges=wide, S=64)
    assert drawn.shape == (8, 64, 64, 3)


@needs_font
def test_photographs_make_a_family_of_their_own() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 80, 3), np.uint8)
    photos = [Image.fromarray(noise), Image.new("L", (40, 200), 128)]
    drawn, _ = pictures.batch(0, 0, 6, family=backgrounds.photographs(photos))
    assert drawn.shape == (6, 109, 109, 3)


def test_an_unknown_family_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="train, held_out, found 'test'"):
        pictures.batch(0, 0, 1, family="test")


@needs_font
def test_a_background_of_another_size_is_refused() -> None:
    glyph = glyphs.load_glyph("\U0001f43c")
    with pytest.raises(UsageError, match=r"expected a background of \(109, 109, 3\)"):
        pictures.draw(np.random.default_rng(0), glyph, np.zeros((96, 96, 3), np.uint8))


@needs_font
def test_a_character_without_a_pictogram_is_refused() -> None:
    with pytest.raises(InputError, match="expected a pictogram for"):
        glyphs.load_glyph("\U000ffffe")
