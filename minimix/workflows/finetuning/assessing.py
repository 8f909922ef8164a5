"""Which penalty is best, and how often a classifier is right about pictures it has not learned.

A picture's views always go where the picture goes, and only pictures themselves are asked about:
nothing of what is asked was learned.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from minimix.workflows.finetuning.classifier import PENALTIES, Classes, Classifier, Learner
from minimix.workflows.validation.scores import Share

FOLDS = 5
FEWEST_HELD_OUT = 5
"""Pictures per class, on average, that are worth holding out; with fewer, folds take turns."""

MOST_SEARCHED = 4000
"""Pictures that the search for the penalty looks at."""

_PATIENCE = 2

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Features:
    """What the network makes of pictures and their views.

    Attributes:
        values: (pictures, 1 + views, channels) float32, each picture before its views.
        classes: (pictures,).
    """

    values: NDArray[np.float32]
    classes: Classes

    def __len__(self) -> int:
        return len(self.classes)

    def of(self, chosen: Mask | NDArray[np.intp]) -> Features:
        """The same of some of the pictures."""
        return Features(self.values[chosen], self.classes[chosen])

    @property
    def pictures(self) -> NDArray[np.float32]:
        """(pictures, channels): without views."""
        return self.values[:, 0]

    def fit(self, learner: Learner, penalty: float) -> Classifier:
        """Learn from all pictures and views."""
        rows = self.values.reshape(-1, self.values.shape[-1])
        return learner.fit(rows, np.repeat(self.classes, self.values.shape[1]), penalty)


@dataclass(frozen=True)
class Accuracy:
    """How often the answer was right, about pictures that were not learned from.

    Attributes:
        how: ``held-out`` pictures, or ``cross-validated``: every picture once, by a classifier of
            the others.
        total: of all pictures asked about.
        per_class: of each class.
        penalties: that of the classifier, or of each fold's.
    """

    how: Literal["held-out", "cross-validated"]
    total: Share
    per_class: tuple[Share, ...]
    penalties: tuple[float, ...]

    @property
    def balanced(self) -> float:
        """The mean of the classes' accuracies, in 0..1; NaN if no class was asked about."""
        shares = [share.value for share in self.per_class if share.count]
        return sum(shares) / len(shares) if shares else math.nan

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types, without the classes; None is the accuracy of nothing."""
        balanced = None if math.isnan(self.balanced) else round(self.balanced, 8)
        return {"how": self.how, **self.total.to_json(), "balanced": balanced}


def is_enough_to_hold_out(count: int, classes: int, share: float) -> bool:
    """Whether so many pictures of so many classes are enough to leave a share of them out.

    >>> is_enough_to_hold_out(200, 8, 0.2), is_enough_to_hold_out(80, 8, 0.2)
    (True, False)
    """
    return share > 0 and count * share >= FEWEST_HELD_OUT * classes


def held_out(classes: Classes, share: float, rng: np.random.Generator) -> Mask:
    """(pictures,) -> which are held out: the share of every class, and at least one of each.

    At least one of each is kept to learn from, too.

    >>> held_out(np.array([0, 0, 0, 0, 1, 1]), 0.5, np.random.default_rng(0)).sum()
    np.int64(3)
    """
    mask = np.zeros(len(classes), np.bool_)
    for members in _members(classes, rng):
        count = min(max(1, round(share * len(members))), len(members) - 1)
        mask[members[:count]] = True
    return mask


def folds(classes: Classes, rng: np.random.Generator) -> list[Mask]:
    """(pictures,) -> who is asked in each fold, so that the others have every class.

    The only picture of a class is asked in none.  No folds if no class has two.

    >>> [mask.tolist() for mask in folds(np.array([0, 1, 1]), np.random.default_rng(0))]
    [[False, True, False], [False, False, True]]
    """
    number = np.full(len(classes), -1)
    start, largest = 0, 0
    for members in _members(classes, rng):
        largest = max(largest, len(members))
        if len(members) > 1:
            # Each class goes on where the last one ended, so that the folds are of one size.
            number[members] = start + np.arange(len(members))
            start += len(members)
    count = min(FOLDS, largest)
    number = np.where(number < 0, -1, number % count)
    return [number == fold for fold in range(count) if (number == fold).any()]


def _members(classes: Classes, rng: np.random.Generator) -> Iterator[NDArray[np.intp]]:
    """Pictures of one class after another, in random order."""
    for k in range(int(classes.max()) + 1):
        yield rng.permutation(np.flatnonzero(classes == k))


def best_penalty(features: Features, learner: Learner, rng: np.random.Generator) -> float:
    """The penalty with the least loss on pictures of folds that were not learned from.

    From the strongest on; it stops where the loss has grown twice.  Views are left out of it: the
    penalty is one per row, and with them the same one is best, ten times later.  Where no class has
    two pictures to tell, it is the middle one.
    """
    penalties = PENALTIES[learner.kind]
    features = Features(features.values[:, :1], features.classes)
    if len(features) > MOST_SEARCHED:
        features = features.of(_sample(features.classes, MOST_SEARCHED, rng))
    asked = folds(features.classes, rng)
    best, least, worse = penalties[len(penalties) // 2], np.inf, 0
    if not asked:
        return best
    for penalty in penalties:
        loss = _loss(features, learner, penalty, asked)
        worse = 0 if loss < least else worse + 1
        if loss < least:
            best, least = penalty, loss
        if worse == _PATIENCE:
            break
    return best


def _sample(classes: Classes, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """So many pictures or a few more, the same share of every class, and two of each at least."""
    share = count / len(classes)
    chosen = [m[: max(2, round(share * len(m)))] for m in _members(classes, rng)]
    return np.sort(np.concatenate(chosen))


def _loss(features: Features, learner: Learner, penalty: float, asked: list[Mask]) -> float:
    total, weights = 0.0, 0.0
    counts = np.bincount(features.classes)
    for mask in asked:
        scores = features.of(~mask).fit(learner, penalty)(features.pictures[mask])
        classes = features.classes[mask]
        weight = 1 / counts[classes] if learner.is_balanced else np.ones(len(classes))
        total += float(weight @ learner.losses(scores, classes))
        weights += float(weight.sum())
    return total / weights


def assess(
    features: Features, learner: Learner, asked: Mask | None, rng: np.random.Generator
) -> Accuracy:
    """Ask about pictures that were not learned from; the penalty is not chosen on them either.

    Args:
        features: of pictures and views.
        learner: how to learn.
        asked: the pictures that are held out, or None: folds take turns.
        rng: which folds.
    """
    K = int(features.classes.max()) + 1
    hits, counts = np.zeros(K, np.int64), np.zeros(K, np.int64)
    penalties = []
    for mask in folds(features.classes, rng) if asked is None else [asked]:
        known = features.of(~mask)
        penalties.append(best_penalty(known, learner, rng))
        answers = known.fit(learner, penalties[-1])(features.pictures[mask]).argmax(axis=1)
        classes = features.classes[mask]
        hits += np.bincount(classes[answers == classes], minlength=K)
        counts += np.bincount(classes, minlength=K)
    return Accuracy(
        "cross-validated" if asked is None else "held-out",
        Share(int(hits.sum()), int(counts.sum())),
        tuple(Share(h, n) for h, n in zip(hits.tolist(), counts.tolist(), strict=True)),
        tuple(penalties),
    )
