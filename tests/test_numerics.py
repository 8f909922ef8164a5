"""Both engines against float64, layer by layer: nothing but rounding, and no more than float32's.

``python -m tests.load.numerics`` measures the same on every family, beside PyTorch.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from importlib.util import find_spec

import numpy as np
import pytest

import minimix
from minimix.engine import has_numba
from minimix.tolerances import RECORDED_LAYER, SAME_NETWORK
from tests.load.numerics import (
    PACKAGED,
    engines,
    errors,
    exact,
    layers_of,
    measure,
    pictures_of,
    ratio,
    report,
    ulp,
)
from tests.load.numerics_drawing import drawing

needs_numba = pytest.mark.skipif(not has_numba(), reason="Numba is not installed")
ENGINES = ["reference", *(["compiled"] if has_numba() else [])]


@pytest.fixture(scope="module")
def measured():
    """(model, layer -> its float64 array, engine -> layer -> its array), without PyTorch."""
    model = minimix.load("mixnet-pocket", engine="reference")
    x = model.preprocess(pictures_of(PACKAGED, 4))
    return model, exact(model, x), engines(model, x, torch=False)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_layer_is_within_its_budget_of_float64(measured, engine):
    model, right, found = measured
    logits = model.graph.outputs[0]
    assert list(found[engine]) == list(right) == list(layers_of(model.graph))
    for name, expected in right.items():
        assert expected.dtype == np.float64
        off = np.abs(found[engine][name] - expected).max() / np.abs(expected).max()
        assert off <= (SAME_NETWORK if name == logits else RECORDED_LAYER), name


@pytest.mark.parametrize("engine", ENGINES)
def test_half_of_a_layers_numbers_are_within_a_few_units_of_the_last_place(measured, engine):
    _, right, found = measured
    for name, expected in right.items():
        made = errors(found[engine][name], expected)
        assert made.of_largest[0] <= 2, name
        assert np.all(made.rms <= 8), name


@needs_numba
def test_the_compiled_engine_is_as_close_to_float64_as_the_reference_engine(measured):
    model, right, found = measured
    *layers, logits = (
        ratio(*(errors(found[label][name], right[name]) for label in ("compiled", "reference")))
        for name in layers_of(model.graph)
    )
    assert max(r.mean for r in layers) <= 1.3
    # Long sums are what rounds most, and the compiled engine adds them up in short pieces.
    assert np.median([r.mean for r in layers]) <= 1
    assert logits.mean <= 0.8


@needs_numba
@pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
def test_the_compiled_engine_is_no_farther_from_float64_than_pytorch():
    model = minimix.load("mixnet-pocket", engine="reference")
    made = measure(model, model.preprocess(pictures_of(PACKAGED, 24)))
    *layers, logits = (
        ratio(made["compiled"][name], made["PyTorch"][name]) for name in layers_of(model.graph)
    )
    assert max(r.mean for r in layers) <= 1.2
    assert np.median([r.mean for r in layers]) <= 1
    assert logits.mean <= 1


def test_a_ratio_counts_every_picture_once_and_says_how_sure_it_is():
    rng, right = np.random.default_rng(0), np.ones((50, 1000))
    # As on pictures that a network blows up.
    right[0], scale = 1000, np.where(np.arange(50) < 1, 1e6, 1)[:, None]
    ours, theirs = (
        errors(right + scale * rng.normal(0, size, right.shape), right) for size in (1e-6, 2e-6)
    )
    found = ratio(ours, theirs)
    assert found.low < found.mean < found.high
    assert found.mean == pytest.approx(0.5, rel=0.02)
    assert found.pictures == pytest.approx(np.full(50, 0.5), rel=0.2)
    assert (found.low, found.high) == pytest.approx((0.5, 0.5), rel=0.03)


def test_a_unit_is_the_distance_to_the_next_float():
    exact_values = np.array([1.0, -1.5, 0.25])
    np.testing.assert_array_equal(ulp(exact_values), 2.0 ** np.array([-23, -23, -25]))
    found = exact_values + 3 * 2.0**-23
    made = errors(found[None], exact_values[None])
    assert made.of_largest == (3, 3, 3)
    assert made.of_each == (3, pytest.approx(11.82), 12)
    assert made.rms == pytest.approx([3])


def test_the_table_and_the_drawing_say_what_was_measured(measured, capsys):
    model, _, _ = measured
    x = model.preprocess(pictures_of(PACKAGED, 1))
    made = measure(model, x, torch=False)
    report("the <model>", made)
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == len(layers_of(model.graph)) + 4
    shapes = ElementTree.fromstring(drawing({"the <model>": made, "again": made}))
    texts = [element.text for element in shapes.iter("{http://www.w3.org/2000/svg}text")]
    assert {"the <model>", "again", "classifier", *made} <= set(texts)
    circles = list(shapes.iter("{http://www.w3.org/2000/svg}circle"))
    assert len(circles) == 2 * len(made) * len(layers_of(model.graph))
    assert all(np.isfinite(float(circle.get("cy"))) for circle in circles)
