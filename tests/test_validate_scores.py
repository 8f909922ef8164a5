"""Accuracy, its interval, per class, confusion and calibration, against plain counting."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minimix.palette import sequential
from minimix.workflows.resuming.rows import Rows
from minimix.workflows.validation.confusion import cells, picture, shares, write_csv, write_picture
from minimix.workflows.validation.scores import BINS, Scores, Share

CLASSES = 6
ROW = np.dtype([("top", "<i4", (5,)), ("p", "<f4")])


@st.composite
def predictions(draw):
    """(truth, the five best in order, confidence, whether it failed) of some pictures."""
    one = st.tuples(
        st.integers(0, CLASSES - 1),
        st.permutations(range(CLASSES)).map(lambda order: order[:5]),
        st.floats(0, 1, width=32),
        st.booleans(),
    )
    return draw(st.lists(one, max_size=30))


def rows_of(listed):
    values = np.zeros(len(listed), ROW)
    for n, (_, top, p, _) in enumerate(listed):
        values[n] = (top, p)
    return Rows(values, {n: "broken" for n, item in enumerate(listed) if item[3]})


def scores_of(listed, **options):
    scores = Scores(CLASSES, **options)
    scores.add([(truth,) for truth, *_ in listed], rows_of(listed))
    return scores


@given(predictions())
def test_counts_are_those_of_counting_one_by_one(listed):
    scores = scores_of(listed)
    good = [item for item in listed if not item[3]]
    assert scores.failed == len(listed) - len(good)
    assert scores.top1 == Share(sum(t == top[0] for t, top, *_ in good), len(good))
    assert scores.top5 == Share(sum(t in top for t, top, *_ in good), len(good))
    for n, (top1, top5) in enumerate(scores.per_class):
        own = [item for item in good if item[0] == n]
        assert top1 == Share(sum(top[0] == n for _, top, *_ in own), len(own))
        assert top5 == Share(sum(n in top for _, top, *_ in own), len(own))
        for m in range(CLASSES):
            assert scores.confusion[n, m] == sum(top[0] == m for _, top, *_ in own)


@given(predictions())
def test_calibration_is_that_of_counting_one_by_one(listed):
    scores = scores_of(listed)
    good = [(float(np.float32(p)), t == top[0]) for t, top, p, failed in listed if not failed]
    error = 0.0
    for n, found in enumerate(scores.bins):
        low, high = n / BINS, (n + 1) / BINS
        inside = [(p, hit) for p, hit in good if low < p <= high or (n == 0 and p == 0)]
        # A confidence that is a bin's end, but for rounding, may count on either side.
        ends = [p for p, _ in good if abs(p * BINS - round(p * BINS)) < 1e-9]
        assert (found.low, found.high) == (low, high)
        if not ends:
            assert found.count == len(inside)
            if inside:
                assert found.confidence == pytest.approx(np.mean([p for p, _ in inside]))
                assert found.accuracy == pytest.approx(np.mean([hit for _, hit in inside]))
        if found.count:
            error += found.count / len(good) * abs(found.accuracy - found.confidence)
    if good:
        assert scores.calibration_error == pytest.approx(error)
        assert sum(found.count for found in scores.bins) == len(good)
    else:
        assert math.isnan(scores.calibration_error)


@given(predictions(), st.integers(0, 30))
def test_parts_add_up_to_the_whole(listed, at):
    whole, parts = scores_of(listed), Scores(CLASSES)
    for piece in (listed[:at], listed[at:]):
        parts.add([(truth,) for truth, *_ in piece], rows_of(piece))
    assert (parts.top1, parts.top5, parts.failed) == (whole.top1, whole.top5, whole.failed)
    assert np.array_equal(parts.confusion, whole.confusion)
    assert [b.count for b in parts.bins] == [b.count for b in whole.bins]


def test_any_of_several_true_classes_counts():
    scores = Scores(CLASSES, is_single=False)
    listed = [(0, [1, 2, 3, 4, 5], 0.9, False), (0, [0, 1, 2, 3, 4], 0.9, False)]
    scores.add([(3, 1), (5,)], rows_of(listed))
    assert scores.top1 == Share(1, 2) and scores.top5 == Share(1, 2)
    assert not scores.confusion.any()


@given(st.integers(1, 50_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_wilson_s(counts):
    hits, count = counts
    # Its ends q are where (p - q)^2 = z^2 q (1 - q) / N: a share of q would just give p.
    p, z2 = hits / count, 1.959963984540054**2
    ends = np.sort(np.roots([1 + z2 / count, -(2 * p + z2 / count), p * p]).real)
    assert Share(hits, count).interval == pytest.approx(ends, abs=1e-7)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_an_interval_holds_its_share_and_stays_a_share(count, part):
    share = Share(round(count * part), count)
    low, high = share.interval
    assert 0 <= low <= share.value + 1e-12 and share.value - 1e-12 <= high <= 1


def test_nothing_has_no_share():
    assert Share(0, 0).interval == (0.0, 1.0)
    assert Share(0, 0).to_json() == {
        "hits": 0,
        "count": 0,
        "share": None,
        "interval95": [0.0, 1.0],
    }


CONFUSION = np.array([[3, 1, 0], [0, 0, 0], [0, 0, 2]])
LABELS = ("panda", "polar, bear", "köttur")


def test_confusion_as_a_table_of_counts(tmp_path):
    write_csv(tmp_path / "c.csv", CONFUSION, LABELS)
    with (tmp_path / "c.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["true \\ predicted", *LABELS]
    assert rows[1:] == [
        ["panda", "3", "1", "0"],
        [LABELS[1], "0", "0", "0"],
        ["köttur", "0", "0", "2"],
    ]


def test_confusion_as_roots_of_shares_in_the_palette_s_colours(tmp_path):
    assert np.array_equal(shares(CONFUSION)[0], [0.75, 0.25, 0])
    assert np.isnan(shares(CONFUSION)[1]).all()
    colours = cells(CONFUSION, 2)
    assert colours.shape == (6, 6, 3)
    assert np.array_equal(colours[0, 0], sequential()[round(0.75**0.5 * 255)])
    assert np.array_equal(colours[1, 2], sequential()[round(0.5 * 255)])
    assert np.array_equal(colours[5, 5], sequential()[255])
    assert (colours[2:4] == (229, 231, 235)).all()


@pytest.mark.parametrize("classes", [1, 3, 101, 1000])
def test_the_picture_holds_the_whole_matrix_and_its_scale(tmp_path, classes):
    confusion = np.eye(classes, dtype=np.int64)
    write_picture(tmp_path / "c.png", confusion, [f"class {n}" for n in range(classes)])
    with Image.open(tmp_path / "c.png") as image:
        pixels = np.asarray(image)
    assert max(pixels.shape) <= 1600
    diagonal = (pixels == sequential()[255]).all(axis=-1)
    assert diagonal.sum() >= classes
    assert {tuple(c) for c in sequential().tolist()} <= {
        tuple(c) for c in pixels[-60:].reshape(-1, 3).tolist()
    }


def test_the_picture_is_the_same_every_time():
    first, again = (picture(CONFUSION, LABELS).tobytes() for _ in range(2))
    assert first == again


def test_cells_that_are_large_enough_tell_their_percent():
    """Digits are drawn in the ink that stands out, and only where a class has pictures."""
    sheet = np.asarray(picture(CONFUSION, LABELS))
    plain = cells(CONFUSION, 333)
    top, left = 16 + 2 * 18, next(
        x for x in range(400) if (sheet[16 + 2 * 18, x] != 255).any()
    )  # fmt: skip
    drawn = (sheet[top : top + 999, left : left + 999] != plain).any(axis=-1)
    has_digits = [[drawn[i : i + 333, j : j + 333].any() for j in (0, 333, 666)]
                  for i in (0, 333, 666)]  # fmt: skip
    assert has_digits == [[True, True, False], [False, False, False], [False, False, True]]


def test_long_names_do_not_widen_the_picture_without_end():
    long = picture(CONFUSION, ("x" * 5000, "y", "z"))
    assert long.width < 1600 and long.height < 1600
