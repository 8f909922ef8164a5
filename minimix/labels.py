"""Class names and the best k of them.

NOTICE: the ImageNet names are from the synsets of WordNet (Princeton University); where a synset
offers several, or two synsets offer the same, a familiar and distinct one was chosen.

``data/imagenet_classes.tsv`` holds them in the order of every released network's logits, with the
synset's id (wnid): the order of the wnids, alphabetical.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from minimix.errors import InputError, UsageError


@cache
def _table() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(wnids, names), by class index."""
    text = (files("minimix") / "data" / "imagenet_classes.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    return tuple(wnid for _, wnid, _ in rows), tuple(name for _, _, name in rows)


def imagenet_classes() -> tuple[str, ...]:
    """Return the 1000 ImageNet class names, by class index; each is unique.

    >>> imagenet_classes()[388]
    'giant panda'
    """
    return _table()[1]


def imagenet_wnids() -> tuple[str, ...]:
    """Return the 1000 ImageNet synset ids, by class index: the names of the data set's folders.

    >>> imagenet_wnids()[388]
    'n02510455'
    """
    return _table()[0]


def top_k(probabilities: npt.NDArray[Any], k: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[Any]]:
    """(N, classes) or (classes,) -> indices and values, (N, k) or (k,), the largest first.

    Equal values come in the order of their indices, so that the answer never depends on the
    sorting algorithm.

    >>> indices, values = top_k(np.array([0.1, 0.4, 0.1, 0.4]), 3)
    >>> indices.tolist(), values.tolist()
    ([1, 3, 0], [0.4, 0.4, 0.1])

    Raises:
        UsageError: k is not in 1..classes, or the array has another number of axes.
        InputError: a value is NaN; the message names the row and the class.
    """
    if probabilities.ndim not in (1, 2):
        raise UsageError(
            f"top_k: expected (N, classes) or (classes,), found {probabilities.shape}. "
            f"Average or reshape to one row of probabilities per image first"
        )
    classes = probabilities.shape[-1]
    if not 1 <= k <= classes:
        raise UsageError(f"top_k: k is {k}; expected 1..{classes}, the number of classes")
    missing = np.argwhere(np.isnan(np.atleast_2d(probabilities)))
    if len(missing):
        row, column = missing[0].tolist()
        raise InputError(
            f"top_k: row {row} is NaN at class {column}, so it has no order. The image or the "
            f"weights hold NaN or infinity; verify the weights, then look at the image"
        )
    # Reversed, the stable ascending order puts equal values in descending index order; sorting the
    # reversed array undoes that.  Negating instead would break unsigned integers.
    ascending = np.argsort(probabilities[..., ::-1], axis=-1, kind="stable")
    indices = classes - 1 - ascending[..., ::-1][..., :k]
    return indices, np.take_along_axis(probabilities, indices, axis=-1)


def find_label(labels: Sequence[str], text: str) -> int:
    """Class names, what the user typed -> the index of the one name it means.

    The name itself; else the name but for upper and lower case; else the only name that contains
    it, in either case.

    >>> find_label(["giant panda", "lesser panda", "badger"], "Giant")
    0

    Raises:
        UsageError: no name or several fit; the message lists the closest.
    """
    folded = text.strip().casefold()
    names = [label.casefold() for label in labels]
    for matches in (
        [i for i, label in enumerate(labels) if label == text],
        [i for i, name in enumerate(names) if name == folded],
        [i for i, name in enumerate(names) if folded and folded in name],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            fitting = ", ".join(labels[i] for i in matches[:8])
            more = f" and {len(matches) - 8} more" if len(matches) > 8 else ""
            raise UsageError(f"label {text!r} fits {fitting}{more}. Type more of the name")
    close = difflib.get_close_matches(folded, names, n=5, cutoff=0.5)
    hint = ", ".join(labels[names.index(name)] for name in close)
    advice = f"Did you mean {hint}?" if close else "List the model's classes to see their names"
    raise UsageError(f"label {text!r} is none of the {len(labels)} classes. {advice}")
