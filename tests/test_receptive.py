"""Receptive fields: what lies outside never matters, what lies at an edge does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimix.dialect import DIALECTS
from minimix.graph import Graph, Node
from minimix.operators import Activation, Add, BatchNorm, GlobalAveragePool, Input, Linear, MixConv
from minimix.receptive import Field, receptive_fields
from minimix.zoo import architecture, build
from tests.op_strategies import SEEDS
from tests.strategies import ACTIVATIONS, convs, mixconvs, pointwises, random_params, run_all

SIZES = st.integers(9, 24)


@st.composite
def local_networks(draw):
    """A network without squeeze-excite: one to four convolutions, some with a residual."""
    nodes, channels = [Node("image", Input(draw(st.integers(1, 4))))], 0
    channels = nodes[0].operator.channels
    for n in range(draw(st.integers(1, 4))):
        operator = draw(st.one_of(*(kind(channels) for kind in (convs, mixconvs, pointwises))))
        source = nodes[-1].name
        nodes.append(Node(f"n{n}.conv", operator, (source,)))
        out_channels = getattr(operator, "out_channels", channels)
        if draw(st.booleans()):
            nodes.append(Node(f"n{n}.bn", BatchNorm(1e-3), (nodes[-1].name,)))
            nodes.append(Node(f"n{n}.act", Activation(draw(ACTIVATIONS)), (nodes[-1].name,)))
        same_shape = out_channels == channels and getattr(operator, "stride", 1) == 1
        if same_shape and draw(st.booleans()):
            nodes.append(Node(f"n{n}.add", Add(), (nodes[-1].name, source)))
        channels = out_channels
    return Graph("local", tuple(nodes), (nodes[-1].name,))


def group_slices(node, channels):
    """The channels of each field of a node."""
    sizes = [channels]
    if isinstance(node.operator, MixConv):
        sizes = node.operator.group_channels(channels)
    ends = np.cumsum(sizes)
    return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]


@settings(max_examples=40)
@given(local_networks(), SIZES, SEEDS)
def test_a_row_reaches_only_the_outputs_whose_field_has_it_and_the_edges_do(graph, size, seed):
    fields, params = receptive_fields(graph, size), random_params(graph, seed)
    channels = graph.input.channels
    reached = {}  # (node, field, picture row) -> output rows that it reaches
    for row in range(size):
        # What is no number stays none through every operator: it marks all that read it.
        x = np.ones((1, size, size, channels), np.float32)
        x[:, row] = np.nan
        for name, y in run_all(graph, params, x).items():
            for n, part in enumerate(group_slices(graph[name], y.shape[-1])):
                reached[name, n, row] = np.isnan(y[0, ..., part]).any(axis=(1, 2))
    for name, found in fields.items():
        for n, field in enumerate(found):
            rows = np.stack([reached[name, n, row] for row in range(size)])
            for i in range(rows.shape[1]):
                first, last = field.at(i)
                outside = [r for r in range(size) if not first <= r <= last]
                assert not rows[outside, i].any(), (name, i, field)
                assert all(rows[edge, i] for edge in (first, last) if 0 <= edge < size), (name, i)


@settings(max_examples=40)
@given(local_networks(), SIZES, SEEDS)
def test_columns_follow_the_same_rule_as_rows(graph, size, seed):
    params = random_params(graph, seed)
    x = np.ones((1, size, size, graph.input.channels), np.float32)
    x[:, size // 2] = np.nan
    upright = run_all(graph, params, x)
    turned_params = {name: np.swapaxes(p, 0, 1) if p.ndim >= 3 else p for name, p in params.items()}
    turned = run_all(graph, turned_params, np.swapaxes(x, 1, 2))
    for name, y in upright.items():
        np.testing.assert_array_equal(np.isnan(y), np.isnan(np.swapaxes(turned[name], 1, 2)))


def test_after_pooling_everything_is_seen():
    graph = Graph(
        "pooled",
        (
            Node("image", Input(3)),
            Node("pool", GlobalAveragePool(), ("image",)),
            Node("classifier", Linear(2), ("pool",)),
        ),
        ("classifier",),
    )
    whole = (Field(0, 19, 0),)
    assert receptive_fields(graph, 20) == {
        "image": (Field(0, 0, 1),), "pool": whole, "classifier": whole
    }  # fmt: skip


@pytest.mark.parametrize("dialect", ["timm", "tensorflow"])
def test_a_mixconv_has_a_field_for_each_kernel_size_growing_with_it(dialect):
    graph = build(architecture("mixnet-s"), DIALECTS[dialect])
    fields = receptive_fields(graph, 224)
    for node in graph:
        sizes = [field.size for field in fields[node.name]]
        assert len(sizes) == (len(node.kernel_sizes) if node.kind == "mixconv" else 1)
        assert sizes == sorted(sizes)


def test_squeeze_excite_is_left_out():
    fields = receptive_fields(build(architecture("mixnet-s"), DIALECTS["timm"]), 224)
    (inside,) = fields["blocks.3.se"]
    assert inside.step == 8
    assert inside.size == max(field.size for field in fields["blocks.3.mixconv"])
