"""Passes keep what a network computes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimix.dialect import DIALECTS
from minimix.engine.reference import ReferenceEngine
from minimix.graph import Graph, Node
from minimix.operators import Activation, Add, BatchNorm, Conv, Input, MixConv, Pointwise
from minimix.params import check_params
from minimix.passes import PASSES, fold_batchnorm, fuse_residual, optimize
from minimix.tolerances import SAME_NETWORK
from minimix.zoo import FAMILIES, architecture, build
from tests.strategies import assert_same_outputs, random_networks, random_params, run_all

many = settings(max_examples=150, deadline=None)
IMAGE = Node("image", Input(3, 4))
CONV = Node("conv", Conv(4, 3), ("image",))
NORM = Node("norm", BatchNorm(1e-3), ("conv",))


def folded(*nodes, outputs):
    graph = Graph("small", (IMAGE, *nodes), outputs)
    return fold_batchnorm(graph, random_params(graph, 0))


def foldable(graph):
    """Batch norms that are the only reader of a convolution that is no output."""
    return [
        node.name
        for node in graph
        if isinstance(node.operator, BatchNorm)
        and isinstance(graph[node.inputs[0]].operator, Conv | MixConv | Pointwise)
        and graph[node.inputs[0]].operator.activation is None
        and graph.readers[node.inputs[0]] == (node.name,)
        and node.inputs[0] not in graph.outputs
    ]


def check_preserved(network, rewrites):
    """Check that the rewritten network has matching parameters and the same outputs."""
    graph, params, x = network
    arrays = run_all(graph, params, x)
    new_graph, new_params = graph, params
    for rewrite in rewrites:
        new_graph, new_params = rewrite(new_graph, new_params)
    check_params(new_graph, new_params)
    actual = ReferenceEngine(new_graph, new_params).run(x)
    largest = max(np.abs(array).max() for array in arrays.values())
    expected = [arrays[name] for name in graph.outputs]
    assert_same_outputs(actual, expected, largest, SAME_NETWORK)


@many
@given(random_networks())
def test_fold_batchnorm_preserves_every_output(network):
    check_preserved(network, [fold_batchnorm])


@many
@given(random_networks())
def test_optimize_preserves_every_output(network):
    check_preserved(network, [optimize])


@many
@given(random_networks(), st.lists(st.sampled_from(PASSES), min_size=1, max_size=8))
def test_passes_preserve_every_output_in_whatever_order_they_come(network, rewrites):
    check_preserved(network, rewrites)


@many
@given(random_networks())
def test_shapes_and_macs_of_an_optimized_graph_are_those_that_are_computed(network):
    graph, params, x = network
    new_graph, new_params = optimize(graph, params)
    arrays = run_all(new_graph, new_params, x)
    inferred = {name: spec.shape for name, spec in new_graph.infer(*x.shape[:3]).items()}
    assert inferred == {name: array.shape for name, array in arrays.items()}
    sides = x.shape[1:3]
    assert sum(new_graph.macs(*sides).values()) == sum(graph.macs(*sides).values())


@pytest.mark.parametrize("rewrite", [*PASSES, optimize])
def test_passes_preserve_the_logits_of_the_pocket_network(rewrite):
    graph = build(architecture("mixnet-pocket"), DIALECTS["timm"])
    params = random_params(graph, 1)
    x = np.random.default_rng(2).normal(size=(2, 33, 47, 3)).astype(np.float32)
    (expected,) = ReferenceEngine(graph, params).run(x)
    (actual,) = ReferenceEngine(*rewrite(graph, params)).run(x)
    assert_same_outputs([actual], [expected], np.abs(expected).max(), SAME_NETWORK)


@many
@given(random_networks(), st.sampled_from([*PASSES, optimize]))
def test_a_pass_changes_neither_the_graph_nor_the_parameters_that_it_is_given(network, rewrite):
    graph, params, _ = network
    twin = Graph(graph.name, graph.nodes, graph.outputs)
    before = {name: array.tobytes() for name, array in params.items()}
    new_graph, new_params = rewrite(graph, params)
    assert graph == twin
    assert {name: array.tobytes() for name, array in params.items()} == before
    assert new_graph.name == graph.name
    assert len(new_graph.outputs) == len(graph.outputs)
    assert not any(array.flags.writeable for array in new_params.values())


@many
@given(random_networks())
def test_after_folding_nothing_is_left_to_fold(network):
    graph, params, _ = network
    once_graph, once = fold_batchnorm(graph, params)
    assert foldable(once_graph) == []
    twice_graph, twice = fold_batchnorm(once_graph, once)
    assert twice_graph == once_graph
    assert all(np.array_equal(twice[name], array) for name, array in once.items())


@many
@given(random_networks())
def test_folding_removes_only_batch_norms_and_adds_only_biases(network):
    graph, params, _ = network
    new_graph, new_params = fold_batchnorm(graph, params)
    removed = {node.name for node in graph} - {node.name for node in new_graph}
    assert all(graph[name].kind == "batch_norm" for name in removed)
    assert removed >= set(foldable(graph))
    gone = {name for node in removed for name in graph.param_names[node]}
    assert params.keys() - new_params.keys() == gone
    assert all(name.endswith(".bias") for name in new_params.keys() - params.keys())


def test_two_batch_norms_in_a_row_are_both_folded():
    graph, _ = folded(CONV, NORM, Node("again", BatchNorm(1e-3), ("norm",)), outputs=("again",))
    assert [node.name for node in graph] == ["image", "conv"]


def test_a_batch_norm_stays_where_something_else_reads_its_convolution():
    graph, _ = folded(
        CONV, NORM, Node("act", Activation("relu"), ("conv",)), outputs=("norm", "act")
    )
    assert [node.name for node in graph] == ["image", "conv", "norm", "act"]


def test_a_batch_norm_stays_where_its_convolution_is_an_output():
    graph, _ = folded(CONV, NORM, outputs=("norm", "conv"))
    assert [node.name for node in graph] == ["image", "conv", "norm"]
    assert graph.outputs == ("norm", "conv")


def test_a_batch_norm_stays_where_it_follows_no_convolution():
    graph, _ = folded(Node("norm", BatchNorm(1e-3), ("image",)), outputs=("norm",))
    assert [node.name for node in graph] == ["image", "norm"]


def test_a_folded_batch_norm_that_was_an_output_hands_the_output_to_its_convolution():
    graph, _ = folded(CONV, NORM, outputs=("norm", "image"))
    assert graph.outputs == ("conv", "image")


def test_readers_of_a_folded_batch_norm_read_its_convolution():
    graph, _ = folded(CONV, NORM, Node("act", Activation("relu"), ("norm",)), outputs=("act",))
    assert graph["act"].inputs == ("conv",)
    assert graph["conv"].operator == Conv(4, 3, bias=True)


def test_a_batch_norm_stays_behind_a_convolution_that_applies_an_activation():
    active = Node("conv", Conv(4, 3, activation="relu"), ("image",))
    graph, _ = folded(active, NORM, outputs=("norm",))
    assert [node.name for node in graph] == ["image", "conv", "norm"]


def test_the_folded_weights_are_those_of_the_theorem():
    graph = Graph(
        "small", (IMAGE, Node("conv", Conv(4, 3, bias=True), ("image",)), NORM), ("norm",)
    )
    params = random_params(graph, 3)
    _, new = fold_batchnorm(graph, params)
    p = {name: array.astype(np.float64) for name, array in params.items()}
    scale = p["norm.gamma"] / np.sqrt(p["norm.variance"] + 1e-3)
    bias = (p["conv.bias"] - p["norm.mean"]) * scale + p["norm.beta"]
    np.testing.assert_allclose(new["conv.weight"], p["conv.weight"] * scale, rtol=1e-7)
    np.testing.assert_allclose(new["conv.bias"], bias, rtol=1e-6)
    assert {array.dtype.name for array in new.values()} == {"float32"}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("origin", ["timm", "tensorflow", "mindcv"])
def test_folding_a_family_gives_the_graph_of_the_folded_dialect(family, origin):
    arch, dialect = architecture(family), DIALECTS[origin]
    graph = build(arch, dialect)
    # Shapes are all that matters here, so every parameter is one number, repeated.
    params = {
        name: np.broadcast_to(np.float32(0.5), shape) for name, shape in graph.param_shapes.items()
    }
    new_graph, new_params = fold_batchnorm(graph, params)
    assert new_graph == build(arch, dialect.folded())
    assert {name: array.shape for name, array in new_params.items()} == new_graph.param_shapes


def test_a_batch_norm_behind_a_fused_addition_is_not_folded_past_it():
    nodes = (
        IMAGE,
        Node("conv", Pointwise(3), ("image",)),
        Node("sum", Add(), ("conv", "image")),
        Node("norm", BatchNorm(1e-3), ("sum",)),
    )
    graph = Graph("small", nodes, ("norm",))
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 3)).astype(np.float32)
    check_preserved((graph, random_params(graph, 0), x), [fuse_residual, fold_batchnorm])
    check_preserved((graph, random_params(graph, 0), x), [optimize, optimize])


@pytest.mark.parametrize("order", [("conv", "late"), ("late", "conv")])
def test_an_addition_stays_where_its_other_summand_comes_after_the_convolution(order):
    nodes = (
        IMAGE,
        Node("conv", Pointwise(3), ("image",)),
        Node("late", Activation("swish"), ("image",)),
        Node("sum", Add(), order),
    )
    graph = Graph("small", nodes, ("sum",))
    params = random_params(graph, 0)
    assert fuse_residual(graph, params)[0] == graph
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 3)).astype(np.float32)
    check_preserved((graph, params, x), [optimize])
