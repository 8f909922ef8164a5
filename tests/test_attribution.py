"""Attribution: each answer against the property that defines it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from minimix import attribution
from minimix.engine import has_numba
from minimix.errors import UsageError
from minimix.model import Model, load
from minimix.tolerances import SAME_NETWORK
from minimix.workflows.startup import sample_picture

ENGINES = [
    "reference",
    pytest.param("compiled", marks=pytest.mark.skipif(not has_numba(), reason="without Numba")),
]


@pytest.fixture(scope="module", params=ENGINES)
def model(request):
    return load("mixnet-pocket", engine=request.param)


@pytest.fixture(scope="module")
def reference():
    return load("mixnet-pocket", engine="reference")


@pytest.fixture(scope="module")
def x(reference):
    return reference.preprocess(sample_picture())


def budget(model, x):
    return SAME_NETWORK * float(np.abs(model(x)).max())


@pytest.mark.parametrize("label", [None, 3, np.int64(3), "koala", "bus"])
def test_cells_and_bias_sum_to_the_logit(model, x, label):
    logits = model(x)[0]
    found = attribution.class_activation(model, x, label)
    index = int(logits.argmax()) if label is None else attribution.class_index(model, label, logits)
    assert (found.index, found.label) == (index, model.labels[index])
    assert found.cells.shape == (3, 3)
    total = found.cells.sum(dtype=np.float64) + found.bias
    assert total == pytest.approx(found.logit, abs=budget(model, x))
    assert found.logit == pytest.approx(float(logits[index]), abs=budget(model, x))


def test_a_cell_is_what_the_logit_loses_without_that_cell(reference, x):
    found = attribution.class_activation(reference, x, "fox")
    last = reference.graph["pool"].inputs[0]

    def without(y):
        y[:, 1, 0] = 0
        return y

    lost = found.logit - float(attribution.Patched(reference, last, without)(x)[0, found.index])
    assert lost == pytest.approx(float(found.cells[1, 0]), abs=budget(reference, x))


def test_covering_a_picture_of_one_colour_with_that_colour_costs_nothing(model):
    x = np.full((1, 96, 96, 3), 0.25, np.float32)
    found = attribution.occlusion(model, x, patch=24, stride=36)
    assert np.abs(found.drops).max() <= budget(model, x)


def test_a_drop_is_that_of_a_picture_covered_by_hand(model, x):
    found = attribution.occlusion(model, x, "fox", patch=20, stride=25)
    assert found.rows == found.columns == (0, 25, 50, 75, 76)
    assert found.drops.shape == (5, 5)
    for a, b in ((0, 0), (2, 1), (4, 3)):
        i, j = found.rows[a], found.columns[b]
        covered = x.copy()
        covered[0, i : i + 20, j : j + 20] = x.mean(axis=(0, 1, 2))
        drop = float(model(x)[0, found.index] - model(covered)[0, found.index])
        assert found.drops[a, b] == pytest.approx(drop, abs=2 * budget(model, x))


def test_by_default_the_best_class_is_covered_by_an_eighth_of_the_side(reference, x):
    found = attribution.occlusion(reference, x, stride=42)
    assert (found.patch, found.index) == (12, int(reference(x).argmax()))


def test_squares_reach_every_edge_and_progress_ends_at_their_number(reference, x):
    told = []
    found = attribution.occlusion(
        reference, x, patch=40, stride=8, progress=lambda done, total: told.append((done, total))
    )
    assert found.rows[-1] + found.patch == found.columns[-1] + found.patch == 96
    squares = len(found.rows) * len(found.columns)
    assert told == [(min(n, squares), squares) for n in range(32, squares + 32, 32)]


@pytest.mark.parametrize("name", ["image", "stem.conv", "blocks.3.se", "blocks.5.add", "pool"])
def test_a_change_that_changes_nothing_leaves_the_logits(model, x, name):
    found = attribution.Patched(model, name, lambda y: y)(x)
    if model.engine.name == "reference":
        np.testing.assert_array_equal(found, model(x))
    np.testing.assert_allclose(found, model(x), rtol=0, atol=budget(model, x))


@pytest.mark.parametrize("name", ["stem.conv_bn", "blocks.3.mixconv_bn", "blocks.7.project_bn"])
def test_a_changed_output_is_a_network_that_makes_it(reference, x, name):
    # Twice the batch norm's factor and summand are, exactly, twice its output.
    params = dict(reference.file.params)
    for local in ("gamma", "beta"):
        params[f"{name}.{local}"] = params[f"{name}.{local}"] * 2
    other = Model(replace(reference.file, params=params), engine="reference")
    found = attribution.Patched(reference, name, lambda y: y * 2)(x)
    np.testing.assert_array_equal(found, other(x))
    assert not np.array_equal(found, reference(x))


def test_patching_the_input_is_running_another_picture(reference, x):
    found = attribution.Patched(reference, "image", lambda y: y[:, ::-1])(x)
    np.testing.assert_array_equal(found, reference(np.ascontiguousarray(x[:, ::-1])))


def test_patching_the_output_runs_nothing(reference, x):
    patched = attribution.Patched(reference, "classifier", np.zeros_like)
    assert patched.affected == ()
    assert not patched(x).any()


def test_only_what_reads_the_changed_node_runs_again(reference):
    affected = attribution.Patched(reference, "blocks.2.add", lambda y: y).affected
    names = [node.name for node in reference.graph]
    assert list(affected) == names[names.index("blocks.2.add") + 1 :]
    inside = attribution.Patched(reference, "blocks.2.mixconv", lambda y: y).affected
    assert inside[0] == "blocks.2.mixconv_bn"


def test_the_trace_is_not_changed(reference, x):
    def overwrite(y):
        y[:] = 0
        return y

    with reference.trace(x) as trace:
        before = trace["blocks.4.add"].output.copy()
        attribution.Patched(reference, "blocks.4.add", overwrite).rerun(trace)
        np.testing.assert_array_equal(trace["blocks.4.add"].output, before)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m, x: attribution.class_activation(m, x, "unicorn"),
            "'unicorn': no such class; name one",
        ),
        (lambda m, x: attribution.class_activation(m, x, 40), "class 40: .* has 0 to 39"),
        (lambda m, x: attribution.class_activation(m, x, -1), "class -1: .* has 0 to 39"),
        (lambda m, x: attribution.class_activation(m, np.repeat(x, 2, 0)), "takes one picture"),
        (lambda m, x: attribution.occlusion(m, x[0]), "takes one picture"),
        (lambda m, x: attribution.class_activation(m, "panda.png"), r"a str; .* net\.preprocess"),
        (lambda m, x: attribution.occlusion(m, None), r"a NoneType; .* net\.preprocess"),
        (lambda m, x: attribution.class_activation(m, x, 1.5), "label is 1.5; expected a class's"),
        (lambda m, x: attribution.class_activation(m, x, True), "label is True; expected a class"),
        (lambda m, x: attribution.occlusion(m, x, np.float32(3)), "expected a class's name or"),
        (lambda m, x: attribution.occlusion(m, x, patch=97), "a square of 97 px"),
        (lambda m, x: attribution.occlusion(m, x, stride=0), "every 0 px"),
        (lambda m, x: attribution.Patched(m, "blocks.99", abs), "blocks.99: .* no such node"),
        (lambda m, x: attribution.Patched(m, "pool", np.ravel)(x), "pool: the change gave"),
    ],
)
def test_what_cannot_be_answered_is_refused(reference, x, call, message):
    with pytest.raises(UsageError, match=message):
        call(reference, x)


def test_a_name_that_two_classes_share_is_refused(reference, x):
    labels = ("twin", "twin", *reference.labels[2:])
    twins = Model(replace(reference.file, labels=labels), engine="reference")
    with pytest.raises(UsageError, match=r"'twin': 2 classes have this name: \[0, 1\]"):
        attribution.class_activation(twins, x, "twin")
