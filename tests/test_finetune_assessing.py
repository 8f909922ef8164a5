"""Views, folds and held-out pictures: nothing that is asked about was learned from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimix.workflows.finetuning import assessing
from minimix.workflows.finetuning.assessing import Features, assess, best_penalty, folds, held_out
from minimix.workflows.finetuning.augment import Views
from minimix.workflows.finetuning.classifier import PENALTIES, Classifier, Learner
from minimix.workflows.validation.scores import Share
from tests.pictures import picture

CLASSES = st.lists(st.integers(1, 9), min_size=2, max_size=6).map(
    lambda counts: np.repeat(np.arange(len(counts)), counts)
)
SEEDS = st.integers(0, 9).map(np.random.default_rng)


@given(CLASSES, SEEDS)
def test_folds_ask_once_about_each_picture_whose_class_has_another(classes, rng):
    masks = folds(classes, rng)
    counts = np.bincount(classes)
    assert (sum(mask.astype(int) for mask in masks) == (counts[classes] > 1)).all()
    for mask in masks:
        assert set(classes[~mask]) == set(classes)  # every class is left to learn from
    if masks:
        sizes = [mask.sum() for mask in masks]
        assert max(sizes) - min(sizes) <= 1


@given(CLASSES, SEEDS, st.floats(0.01, 0.99))
def test_every_class_with_two_pictures_is_held_out_and_learned_from(classes, rng, share):
    mask = held_out(classes, share, rng)
    several = {k for k, n in enumerate(np.bincount(classes)) if n > 1}
    assert set(classes[mask]) == several and set(classes[~mask]) == set(classes)


class Recorder(Learner):
    """Notes what it learned from; knows nothing."""

    def __init__(self):
        super().__init__()
        object.__setattr__(self, "seen", [])

    def fit(self, features, classes, penalty):
        self.seen.append((set(features[:, 0].astype(int).tolist()), len(features)))
        return Classifier(np.zeros((features.shape[1], classes.max() + 1)), np.eye(9)[0][:3])


@pytest.mark.parametrize("is_held_out", [False, True])
def test_neither_a_picture_that_is_asked_about_nor_a_view_of_it_is_learned_from(
    monkeypatch, is_held_out
):
    classes = np.repeat(np.arange(3), 6)
    # The first channel is the picture's number, in all its views too.
    values = np.arange(18, dtype=np.float32)[:, None, None] * np.ones((18, 4, 5), np.float32)
    features, learner = Features(values, classes), Recorder()
    rng = np.random.default_rng(0)
    asked = held_out(classes, 0.3, rng) if is_held_out else None
    penalty_of = assessing.best_penalty
    known = []

    def spy(features, *rest):
        known.append(set(features.pictures[:, 0].astype(int).tolist()))
        learner.seen.clear()
        penalty_of(features, *rest)
        assert all(seen < known[-1] for seen, _ in learner.seen)
        learner.seen.clear()
        return 1.0

    monkeypatch.setattr(assessing, "best_penalty", spy)
    accuracy = assess(features, learner, asked, rng)
    assert learner.seen == [(known[-1], 4 * len(known[-1]))]  # the last fit: views included
    if asked is None:
        assert accuracy.total.count == 18 and len(known) == 5
        assert sum(18 - len(kept) for kept in known) == 18
    else:
        assert known == [set(np.flatnonzero(~asked).tolist())]
    assert [share.hits for share in accuracy.per_class[1:]] == [0, 0]
    assert accuracy.per_class[0].value == 1.0  # it always says the first class


def test_balanced_accuracy_counts_a_small_class_like_a_large_one():
    def accuracy(*shares):
        return assessing.Accuracy("held-out", Share(0, 1), shares, (1.0,))

    assert accuracy(Share(90, 100), Share(1, 2)).balanced == pytest.approx(0.7)
    assert accuracy(Share(3, 4), Share(0, 0)).balanced == 0.75  # nothing was asked of the other
    assert np.isnan(accuracy(Share(0, 0), Share(0, 0)).balanced)


def test_without_two_pictures_of_a_class_the_penalty_is_the_middle_one():
    features = Features(np.ones((3, 1, 4), np.float32), np.arange(3))
    rng = np.random.default_rng(0)
    assert best_penalty(features, Learner(), rng) == PENALTIES["logistic"][5]


@given(st.integers(1, 40), st.integers(1, 40), st.booleans(), st.integers(0, 3))
def test_views_are_parts_of_the_picture_or_of_its_mirror_image(height, width, flips, seed):
    pixels = picture(height, width, seed=seed)
    whole, *views = Views(6, flips, seed)(pixels)
    assert whole is pixels and len(views) == 6
    for view in views:
        h, w, _ = view.shape
        assert 0.8 * height <= h <= height and 0.8 * width <= w <= width
        sources = [pixels, pixels[:, ::-1]] if flips else [pixels]
        assert any(
            np.array_equal(source[i : i + h, j : j + w], view)
            for source in sources
            for i in range(height - h + 1)
            for j in range(width - w + 1)
        )
    again = Views(6, flips, seed)(pixels.copy())
    assert all(np.array_equal(a, b) for a, b in zip(views, again[1:], strict=True))
