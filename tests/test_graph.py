"""Graphs: valid from the moment they exist, and what they know about themselves."""

from __future__ import annotations

import dataclasses
import pickle
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimix.dialect import DIALECTS
from minimix.errors import GraphError
from minimix.graph import Graph, Node, TensorSpec
from minimix.operators import (
    Activation,
    Add,
    BatchNorm,
    Conv,
    GlobalAveragePool,
    Input,
    Linear,
    MixConv,
    Pointwise,
)
from minimix.zoo import FAMILIES, architecture, build
from tests.strategies import random_graphs, random_networks, run_all

IMAGE = Node("image", Input(3, 8))
STEM = Node("stem.conv", Conv(4, 3, 2), ("image",))


def graph_of(*nodes, outputs=None):
    return Graph("small", (IMAGE, *nodes), outputs or (nodes[-1].name,))


@given(random_networks())
def test_inferred_shapes_are_the_shapes_that_operators_produce(network):
    graph, params, x = network
    specs = graph.infer(*x.shape[:3])
    arrays = run_all(graph, params, x)
    assert {name: spec.shape for name, spec in specs.items()} == {
        name: array.shape for name, array in arrays.items()
    }
    assert all(specs[name].size_bytes == array.nbytes for name, array in arrays.items())


@given(random_graphs())
def test_readers_are_the_inputs_turned_round(graph):
    pairs = {(source, reader) for source, names in graph.readers.items() for reader in names}
    assert pairs == {(source, node.name) for node in graph for source in node.inputs}
    order = [node.name for node in graph]
    for source, names in graph.readers.items():
        assert list(names) == sorted(names, key=order.index)
        assert all(order.index(source) < order.index(reader) for reader in names)
    assert list(graph.readers) == order


@given(random_graphs())
def test_stages_share_out_the_nodes_in_order(graph):
    for stage, nodes in graph.stages.items():
        assert [node for node in graph if node.stage == stage] == list(nodes)
    assert sum(map(len, graph.stages.values())) == len(graph.nodes)


@given(random_graphs())
def test_every_parameter_belongs_to_exactly_one_node(graph):
    owned = [name for node in graph for name in graph.param_names[node.name]]
    assert owned == list(graph.param_shapes)
    for node in graph:
        assert all(name.startswith(f"{node.name}.") for name in graph.param_names[node.name])
    statistics = [n for n in graph.param_shapes if n.endswith((".mean", ".variance"))]
    trained = sum(prod(graph.param_shapes[name]) for name in {*graph.param_shapes} - {*statistics})
    assert sum(graph.param_count(node) for node in graph) == trained


@given(random_graphs(), st.integers(2, 4))
def test_macs_grow_with_the_batch(graph, batch):
    side = graph.input.smallest
    singly, several = graph.macs(side, side), graph.macs(side, side, batch)
    assert several == {name: batch * macs for name, macs in singly.items()}
    assert singly["image"] == 0


@given(random_graphs())
def test_a_graph_is_a_value(graph):
    twin = Graph(graph.name, graph.nodes, graph.outputs)
    assert twin == graph
    assert hash(twin) == hash(graph)
    assert graph.readers
    copy = pickle.loads(pickle.dumps(graph))
    assert copy == graph
    assert copy[graph.outputs[0]] == graph[graph.outputs[0]]
    assert twin != dataclasses.replace(graph, name="another")


def test_nothing_of_a_graph_can_be_assigned():
    graph = graph_of(STEM)
    for thing, field in ((graph, "nodes"), (STEM, "inputs"), (STEM.operator, "stride")):
        with pytest.raises(dataclasses.FrozenInstanceError, match=field):
            setattr(thing, field, ())


def test_nodes_are_found_by_name_and_told_apart_from_others():
    graph = graph_of(STEM)
    assert graph["stem.conv"] is STEM
    assert "stem.conv" in graph
    assert "stem" not in graph
    assert [node.name for node in graph] == ["image", "stem.conv"]
    with pytest.raises(GraphError, match=r"small: no node 'stem'; nodes: image, stem\.conv"):
        graph["stem"]


def test_a_node_knows_its_kind_stage_and_kernels():
    assert (STEM.kind, STEM.stage, STEM.kernel_sizes) == ("conv", "stem", (3,))
    assert (IMAGE.kind, IMAGE.stage, IMAGE.kernel_sizes) == ("input", "image", ())
    dilated = Node("blocks.3.mixconv", MixConv((3, 3), dilations=(1, 2)), ("image",))
    assert (dilated.stage, dilated.kernel_sizes) == ("blocks.3", (3, 5))


@pytest.mark.parametrize(("dtype", "size_bytes"), [("float32", 4), ("float16", 2), ("float64", 8)])
def test_the_bytes_of_a_tensor_follow_its_type(dtype, size_bytes):
    assert TensorSpec((2, 3, 4), dtype).size_bytes == 24 * size_bytes


RELU = Activation("relu")
INVALID = [
    ((STEM, STEM), r"^stem\.conv: two nodes have this name"),
    ((Node("image", RELU, ("image",)),), r"^image: two nodes have this name"),
    ((Node("a", RELU, ("stem.conv",)), STEM), r"^a: reads 'stem\.conv', which no earlier node"),
    ((Node("a", RELU, ("a",)),), r"^a: reads 'a', which no earlier node computes"),
    ((Node("a", RELU),), r"^a: a node of kind activation reads 1 inputs, found 0"),
    ((Node("a", RELU, ("image", "image")),), r"^a: .* reads 1 inputs, found 2"),
    ((Node("a", Add(), ("image",)),), r"^a: a node of kind add reads 2 inputs, found 1"),
    ((STEM, Node("a", Add(), ("image", "stem.conv"))), r"^a: cannot add .* expected one shape"),
    ((Node("a", MixConv((3, 5, 7, 9)), ("image",)),), r"^a: cannot split 3 channels into 4"),
    ((Node("a", Pointwise(8, 4), ("image",)),), r"^a: cannot split 3 channels into 4 groups"),
    ((Node("a", Linear(4), ("image",)),), r"^a: expected \(N, C\), found \(1, 8, 8, 3\)"),
    (
        (Node("p", GlobalAveragePool(), ("image",)), Node("a", GlobalAveragePool(), ("p",))),
        r"^a: expected \(N, H, W, C\), found \(1, 3\)",
    ),
    ((Node("second", Input()),), r"^small: expected one input node, the first"),
]


@pytest.mark.parametrize(("nodes", "message"), INVALID)
def test_a_graph_that_cannot_run_cannot_be_made_and_the_message_names_the_node(nodes, message):
    with pytest.raises(GraphError, match=message):
        graph_of(*nodes)


@pytest.mark.parametrize("nodes", [(), (STEM, IMAGE)])
def test_a_graph_begins_with_its_input(nodes):
    with pytest.raises(GraphError, match=r"expected one input node|reads 'image', which no"):
        Graph("small", nodes, ("stem.conv",))


def test_outputs_exist_and_there_is_one():
    with pytest.raises(GraphError, match="small: no outputs; name at least one node"):
        Graph("small", (IMAGE, STEM), ())
    with pytest.raises(GraphError, match="small: output 'head' is not a node"):
        graph_of(STEM, outputs=("stem.conv", "head"))


def test_a_picture_that_is_too_small_is_refused_by_the_input():
    with pytest.raises(GraphError, match=r"^image: .* at least 8 px; found \(1, 7, 8, 3\)"):
        graph_of(STEM).infer(1, 7, 8)
    with pytest.raises(GraphError, match="^image: .* N at least 1"):
        graph_of(STEM).infer(0, 8, 8)


def test_parameters_of_a_node_are_told_from_those_of_a_node_below_its_name():
    graph = graph_of(
        Node("head", Pointwise(4), ("image",)), Node("head.conv", Conv(4, 3), ("head",))
    )
    assert graph.param_names["head"] == ("head.0.weight",)
    assert graph.param_names["head.conv"] == ("head.conv.weight",)


def test_two_nodes_whose_parameters_would_share_a_name_are_refused():
    with pytest.raises(GraphError, match=r"a\.0"):
        graph_of(Node("a", Pointwise(4), ("image",)), Node("a.0", Conv(4, 3), ("a",)))


def test_an_addition_that_fits_only_the_smallest_picture_is_found_when_shapes_are_inferred():
    graph = Graph(
        "broadcasting",
        (
            Node("image", Input(3, 1)),
            Node("half", Conv(3, 3, 2), ("image",)),
            Node("sum", Add(), ("image", "half")),
        ),
        ("sum",),
    )
    with pytest.raises(GraphError, match="^sum: cannot add"):
        graph.infer(1, 2, 2)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dialect", ["timm", "timm-tf"])
def test_every_family_takes_every_size_from_32_px_up(family, dialect):
    graph = build(architecture(family), DIALECTS[dialect])
    for height, width in ((32, 32), (33, 47), (64, 95), (97, 32), (224, 225), (331, 224)):
        specs = graph.infer(2, height, width)
        *_, last_map, _, logits = specs.values()
        assert last_map.shape[1:3] == (-(-height // 32), -(-width // 32))
        assert logits.shape == (2, FAMILIES[family].num_classes)
    with pytest.raises(GraphError, match="^image: .* at least 32 px"):
        graph.infer(1, 31, 224)


def test_a_second_batch_norm_takes_the_channels_of_the_first():
    norms = [Node("a", BatchNorm(1e-3), ("image",)), Node("b", BatchNorm(1e-3), ("a",))]
    assert {shape for shape in graph_of(*norms).param_shapes.values()} == {(3,)}
