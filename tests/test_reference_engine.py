"""The reference engine: order, memory, and what it refuses."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from hypothesis import given, settings

from minimix.dialect import DIALECTS
from minimix.engine.reference import ReferenceEngine
from minimix.errors import GraphError, WeightsError
from minimix.graph import Graph, Node
from minimix.operators import Activation, Add, Conv, Input
from minimix.tolerances import SAME_NETWORK
from minimix.zoo import architecture, build
from tests.strategies import assert_same_outputs, random_networks, random_params, run_all

RELU = Activation("relu")
IMAGE = Node("image", Input(2, 4))


def engine_of(*nodes, outputs):
    graph = Graph("small", (IMAGE, *nodes), outputs)
    return ReferenceEngine(graph, random_params(graph, 0))


def picture(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


@given(random_networks())
def test_every_node_is_observed_once_in_the_order_of_the_graph(network):
    graph, params, x = network
    seen = []
    outputs = ReferenceEngine(graph, params).run(x, lambda node, array: seen.append((node, array)))
    assert [node for node, _ in seen] == list(graph)
    assert seen[0][1] is x
    arrays = {node.name: array for node, array in seen}
    assert len(outputs) == len(graph.outputs)
    assert all(y is arrays[name] for y, name in zip(outputs, graph.outputs, strict=True))


@given(random_networks())
def test_observing_changes_no_bit_and_neither_does_running_again(network):
    graph, params, x = network
    engine = ReferenceEngine(graph, params)
    first, second = engine.run(x), engine.run(x, lambda node, array: None)
    assert [y.tobytes() for y in first] == [y.tobytes() for y in second]
    assert all(y.dtype == np.float32 for y in first)


@settings(deadline=None)
@given(random_networks())
def test_a_batch_gives_what_its_pictures_give_one_by_one(network):
    graph, params, x = network
    engine = ReferenceEngine(graph, params)
    together = engine.run(x)
    singly = [engine.run(x[n : n + 1]) for n in range(len(x))]
    expected = [np.concatenate(parts) for parts in zip(*singly, strict=True)]
    largest = max(np.abs(array).max() for array in run_all(graph, params, x).values())
    assert_same_outputs(together, expected, largest, SAME_NETWORK)


@given(random_networks())
def test_an_array_is_let_go_when_its_last_reader_has_run(network):
    graph, params, x = network
    order = [node.name for node in graph]
    last_reader = {name: names[-1] for name, names in graph.readers.items() if names}
    references, alive_at = {}, {}

    def observe(node, array):
        references[node.name] = weakref.ref(array)
        alive_at[node.name] = {name for name, ref in references.items() if ref() is not None}

    # The outputs and the picture are held until the run's result is.
    outputs = ReferenceEngine(graph, params).run(x, observe)
    assert len(outputs) == len(graph.outputs)
    kept = {"image", *graph.outputs}
    for position, name in enumerate(order):
        finished = {
            source
            for source, reader in last_reader.items()
            if order.index(reader) < position and source not in kept
        }
        waiting = {
            source
            for source in order[: position + 1]
            if source in kept or order.index(last_reader.get(source, source)) >= position
        }
        assert not alive_at[name] & finished
        assert waiting <= alive_at[name]


def test_an_array_that_is_read_twice_at_once_is_let_go_once():
    engine = engine_of(
        Node("act", RELU, ("image",)), Node("sum", Add(), ("act", "act")), outputs=("sum",)
    )
    x = picture(1, 4, 4, 2)
    (y,) = engine.run(x)
    np.testing.assert_array_equal(y, 2 * np.maximum(x, 0))


def test_outputs_come_in_the_order_in_which_they_are_named():
    nodes = (Node("act", RELU, ("image",)), Node("conv", Conv(5, 1), ("act",)))
    x = picture(1, 4, 4, 2)
    for names in (("conv", "act", "image"), ("image", "conv", "act")):
        outputs = dict(zip(names, engine_of(*nodes, outputs=names).run(x), strict=True))
        assert outputs["image"] is x
        np.testing.assert_array_equal(outputs["act"], np.maximum(x, 0))
        assert outputs["conv"].shape == (1, 4, 4, 5)


WRONG_SHAPES = [
    ((4, 4, 2), r"image: expected \(N, H, W, 2\), found \(4, 4, 2\)"),
    ((1, 2, 4, 4), r"expected \(N, H, W, 2\)"),
    ((1, 4, 4, 3), r"expected \(N, H, W, 2\)"),
    ((1, 3, 4, 2), r"at least 4 px; found \(1, 3, 4, 2\)"),
    ((0, 4, 4, 2), r"N at least 1"),
]


@pytest.mark.parametrize(("shape", "message"), WRONG_SHAPES)
def test_a_picture_of_another_shape_is_refused(shape, message):
    engine = engine_of(Node("act", RELU, ("image",)), outputs=("act",))
    with pytest.raises(GraphError, match=message):
        engine.run(np.zeros(shape, np.float32))


def test_a_size_at_which_an_addition_would_broadcast_is_refused():
    nodes = (
        Node("image", Input(2, 1)),
        Node("half", Conv(2, 3, 2), ("image",)),
        Node("sum", Add(), ("image", "half")),
    )
    graph = Graph("broadcasting", nodes, ("sum",))
    engine = ReferenceEngine(graph, random_params(graph, 0))
    with pytest.raises(GraphError, match="sum: cannot add"):
        engine.run(picture(1, 2, 2, 2))


@pytest.mark.parametrize("dialect", ["timm", "tensorflow", "mindcv", "omz"])
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 64), (95, 33)])
def test_the_pocket_network_runs_at_any_size_in_every_dialect(dialect, size):
    graph = build(architecture("mixnet-pocket"), DIALECTS[dialect])
    engine = ReferenceEngine(graph, random_params(graph, 1))
    (logits,) = engine.run(picture(2, *size, 3))
    assert logits.shape == (2, 40)
    assert np.isfinite(logits).all()
    assert np.ptp(logits) > 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_picture_that_is_not_finite_gives_nan_for_itself_and_not_for_its_neighbour(value):
    graph = build(architecture("mixnet-pocket"), DIALECTS["timm"])
    engine = ReferenceEngine(graph, random_params(graph, 1))
    x = picture(2, 32, 32, 3)
    (expected,) = engine.run(x)
    x[0, 5, 7] = value
    # inf - inf is invalid and says so; NaN - NaN is silent, and stays so here.
    with np.errstate(invalid="warn" if np.isnan(value) else "ignore"):
        (logits,) = engine.run(x)
    assert np.isnan(logits[0]).all()
    np.testing.assert_allclose(logits[1], expected[1], atol=SAME_NETWORK * np.abs(expected).max())


def test_parameters_that_are_missing_are_named_when_the_engine_is_made():
    graph = Graph("small", (IMAGE, Node("conv", Conv(5, 1), ("image",))), ("conv",))
    with pytest.raises(WeightsError, match=r"missing: conv\.weight"):
        ReferenceEngine(graph, {})
