"""What the compiled engine is given and refuses, and the memory that it holds."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from minimix.dialect import DIALECTS, Dialect
from minimix.engine.compiled import PLANS_KEPT, CompiledEngine
from minimix.errors import GraphError, UsageError, WeightsError
from minimix.graph import Graph, Node
from minimix.operators import Conv, Input, Pointwise
from minimix.tolerances import SAME_NETWORK
from minimix.zoo import architecture, build
from tests.strategies import random_params


def pictures(count, *size):
    shape = (count, *size, 3)
    return np.random.default_rng(0).normal(0, 0.3, shape).astype(np.float32)


@pytest.fixture(scope="module")
def engine():
    """One engine for the tests that need no other, so that its plans are made once."""
    graph = build(architecture("mixnet-pocket"), DIALECTS["timm"])
    return CompiledEngine(graph, random_params(graph, 1), threads=2)


# --- what is brought, and what is refused ------------------------------------------------------


def test_a_batch_gives_to_the_bit_what_its_pictures_give_one_by_one(engine):
    x = pictures(7, 40, 33)
    (together,) = engine.run(x)
    singly = np.concatenate([engine.run(picture[None])[0] for picture in x])
    assert together.tobytes() == singly.tobytes()


def test_pictures_may_be_read_only_strided_of_another_type_or_not_aligned(engine):
    x = pictures(2, 33, 40)
    (expected,) = engine.run(x)
    read_only = x.copy()
    read_only.flags.writeable = False
    strided = np.repeat(x, 2, axis=2)[:, :, ::2]
    flipped = np.ascontiguousarray(x[:, ::-1])[:, ::-1]
    shifted = np.empty(x.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(x.shape)
    shifted[:] = x
    for variant in (read_only, strided, flipped, shifted, x.astype(np.float64)):
        before = variant.tobytes()
        assert engine.run(variant)[0].tobytes() == expected.tobytes()
        assert variant.tobytes() == before


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_picture_that_is_not_finite_gives_nan_for_itself_and_not_for_its_neighbour(engine, value):
    x = pictures(2, 33, 40)
    (expected,) = engine.run(x)
    x[0, 5, 7] = value
    (logits,) = engine.run(x)
    assert np.isnan(logits[0]).all()
    assert logits[1].tobytes() == expected[1].tobytes()
    # Nothing of it stays behind in memory that is used again.
    assert engine.run(x[1:])[0].tobytes() == expected[1:].tobytes()


def test_results_are_the_callers_own(engine):
    x = pictures(1, 33, 40)
    (first,) = engine.run(x)
    kept = first.copy()
    engine.run(x + 1)
    np.testing.assert_array_equal(first, kept)
    first[:] = 0
    np.testing.assert_array_equal(engine.run(x)[0], kept)


WRONG_SHAPES = [
    ((32, 32, 3), r"expected \(N, H, W, 3\), found \(32, 32, 3\)"),
    ((1, 3, 32, 32), r"expected \(N, H, W, 3\)"),
    ((1, 31, 32, 3), "at least 32 px"),
    ((0, 32, 32, 3), "N at least 1"),
]


@pytest.mark.parametrize(("shape", "message"), WRONG_SHAPES)
def test_a_picture_of_another_shape_is_refused(engine, shape, message):
    with pytest.raises(GraphError, match=message):
        engine.run(np.zeros(shape, np.float32))


IMAGE, STEM = Node("image", Input(3, 1)), Node("stem", Conv(21, 3), ("image",))
REFUSED = {
    "image by a conv only": (IMAGE, Node("odd", Pointwise(2), ("image",))),
    "a conv on the image only": (IMAGE, STEM, Node("odd", Conv(2, 1), ("stem",))),
}


@pytest.mark.parametrize(("message", "nodes"), REFUSED.items(), ids=REFUSED)
def test_a_graph_that_no_kernel_computes_is_refused_by_the_name_of_its_node(message, nodes):
    graph = Graph("small", nodes, ("odd",))
    with pytest.raises(GraphError, match=f"odd: .*{message}"):
        CompiledEngine(graph, random_params(graph, 0), threads=1).run(pictures(1, 8, 8))


def test_parameters_that_are_missing_and_impossible_threads_are_refused_at_once(engine):
    with pytest.raises(WeightsError, match=r"missing: stem\.conv\.weight"):
        CompiledEngine(engine.graph, {})
    with pytest.raises(UsageError, match="threads is 0; expected at least 1"):
        CompiledEngine(engine.graph, engine.params, threads=0)


# --- memory ------------------------------------------------------------------------------------


def test_many_sizes_keep_only_the_latest_plans_and_stay_right():
    graph = Graph("small", (IMAGE, STEM), ("stem",))
    engine = CompiledEngine(graph, random_params(graph, 0), threads=1)
    x = {side: pictures(1, side, 7) for side in range(1, 2 * PLANS_KEPT + 2)}
    first = {side: engine.run(array)[0] for side, array in x.items()}
    assert len(engine._prepared) == PLANS_KEPT
    for side, array in x.items():
        assert engine.run(array)[0].tobytes() == first[side].tobytes()


def test_memory_is_free_again_when_the_engine_is_gone(engine):
    engine = CompiledEngine(engine.graph, engine.params, threads=2)
    x = pictures(3, 32, 33)
    engine.run(x)
    engine.run(x, lambda node, array: None)
    prepared = [weakref.ref(each) for each in engine._prepared.values()]
    memories = [weakref.ref(each()._weights) for each in prepared]
    memories += [weakref.ref(each()._idle[0].arena) for each in prepared]
    del engine
    gc.collect()
    assert not any(reference() for reference in [*prepared, *memories])


@pytest.mark.parametrize("eps", [1e-5, 0.0])
def test_observing_changes_no_bit_of_later_runs(eps):
    graph = build(architecture("mixnet-pocket"), Dialect("own", "same", eps))
    engine = CompiledEngine(graph, random_params(graph, 4), threads=2)
    x = pictures(2, 32, 32)
    (before,) = engine.run(x)
    arrays = []
    (observed,) = engine.run(x, lambda node, array: arrays.append(array))
    assert engine.run(x)[0].tobytes() == before.tobytes()
    assert np.abs(observed - before).max() <= SAME_NETWORK * np.abs(before).max()
    assert arrays[0] is not None and arrays[-1] is observed
