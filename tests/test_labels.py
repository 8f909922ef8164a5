"""Class names, the best k, and finding a class by its name."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minimix.errors import InputError, UsageError
from minimix.labels import find_label, imagenet_classes, imagenet_wnids, top_k

SCORES = st.floats(-10, 10, width=32) | st.sampled_from([0.0, 0.25, 0.5])


def test_there_are_a_thousand_distinct_names_and_wnids():
    assert len(imagenet_classes()) == len(imagenet_wnids()) == 1000
    assert len({name.casefold() for name in imagenet_classes()}) == 1000
    assert list(imagenet_wnids()) == sorted(set(imagenet_wnids()))


@pytest.mark.parametrize(
    ("index", "wnid", "name"),
    [
        (0, "n01440764", "tench"),
        (134, "n02012849", "crane (bird)"),
        (282, "n02123159", "tiger cat"),
        (387, "n02509815", "lesser panda"),
        (388, "n02510455", "giant panda"),
        (517, "n03126707", "crane (machine)"),
        (638, "n03710637", "maillot (tights)"),
        (639, "n03710721", "maillot (swimsuit)"),
        (999, "n15075141", "toilet tissue"),
    ],
)
def test_known_classes_are_at_their_known_index(index, wnid, name):
    assert imagenet_wnids()[index] == wnid
    assert imagenet_classes()[index] == name


def test_names_are_plain_words():
    for wnid, name in zip(imagenet_wnids(), imagenet_classes(), strict=True):
        assert re.fullmatch(r"n\d{8}", wnid)
        assert re.fullmatch(r"[A-Za-z][A-Za-z'\- ]+( \([a-z ]+\))?", name), name
        assert name == name.strip() and "  " not in name


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=2), elements=SCORES), st.data())
def test_top_k_is_the_sort_by_value_then_index(scores, data):
    k = data.draw(st.integers(1, scores.shape[-1]))
    indices, values = top_k(scores, k)
    assert indices.shape == values.shape == (*scores.shape[:-1], k)
    for row, found, found_values in zip(
        np.atleast_2d(scores), np.atleast_2d(indices), np.atleast_2d(values), strict=True
    ):
        expected = sorted(range(len(row)), key=lambda c: (-row[c], c))[:k]
        assert found.tolist() == expected
        assert found_values.tolist() == [row[c] for c in expected]


def test_top_k_orders_unsigned_integers_and_infinities():
    assert top_k(np.array([0, 3, 255, 3], np.uint8), 4)[0].tolist() == [2, 1, 3, 0]
    assert top_k(np.array([-np.inf, 0.0, np.inf]), 3)[0].tolist() == [2, 1, 0]


@pytest.mark.parametrize("k", [0, -1, 5])
def test_top_k_refuses_a_k_outside_the_class_count(k):
    with pytest.raises(UsageError, match=f"k is {k}; expected 1..4"):
        top_k(np.zeros((2, 4)), k)


@pytest.mark.parametrize("shape", [(), (1, 2, 3)])
def test_top_k_refuses_other_shapes(shape):
    with pytest.raises(UsageError, match=r"expected \(N, classes\) or \(classes,\)"):
        top_k(np.zeros(shape), 1)


def test_top_k_names_the_row_and_class_of_a_nan():
    scores = np.zeros((3, 4))
    scores[2, 1] = np.nan
    with pytest.raises(InputError, match="row 2 is NaN at class 1"):
        top_k(scores, 2)


@given(st.integers(0, 999), st.sampled_from([str, str.upper, str.title, lambda s: f" {s} "]))
def test_every_imagenet_class_is_found_by_its_own_name_in_any_case(index, spell):
    assert find_label(imagenet_classes(), spell(imagenet_classes()[index])) == index


def test_an_exact_name_wins_over_names_that_contain_it():
    assert find_label(["sea lion", "lion", "Lion"], "lion") == 1
    assert find_label(["sea lion", "lion"], "LION") == 1


def test_a_unique_part_of_a_name_is_enough():
    assert find_label(imagenet_classes(), "Lesser") == 387


def test_an_ambiguous_part_lists_the_names_it_fits():
    with pytest.raises(UsageError, match=r"'panda' fits lesser panda, giant panda\. Type more"):
        find_label(imagenet_classes(), "panda")
    with pytest.raises(UsageError, match=r"and \d+ more"):
        find_label(imagenet_classes(), "terrier")


def test_names_equal_but_for_case_are_ambiguous_unless_typed_exactly():
    assert find_label(["Crane", "crane"], "crane") == 1
    with pytest.raises(UsageError, match="fits Crane, crane"):
        find_label(["Crane", "crane"], "CRANE")


def test_a_misspelt_name_gets_suggestions():
    with pytest.raises(UsageError, match="none of the 1000 classes. Did you mean giant panda"):
        find_label(imagenet_classes(), "giant pnada")


@pytest.mark.parametrize("text", ["", "  ", "zzzzqqqq"])
def test_text_that_resembles_nothing_says_so(text):
    with pytest.raises(UsageError, match="none of the 1000 classes. List the model's classes"):
        find_label(imagenet_classes(), text)
