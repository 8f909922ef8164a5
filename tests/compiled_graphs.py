"""Random graphs that the compiled engine takes: only a full convolution reads the image."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from minimix.graph import Graph, Node
from minimix.operators import Conv, MixConv, Pointwise
from tests.op_strategies import SEEDS
from tests.strategies import convs, inputs_of, random_graphs, random_params


def _without_conv(node: Node) -> tuple[Node, ...]:
    """A full convolution as a MixConv and a 1x1 convolution; other nodes as they are."""
    operator = node.operator
    if not isinstance(operator, Conv):
        return (node,)
    spatial = MixConv((operator.kernel_size,), operator.stride, operator.padding)
    mixing = Pointwise(operator.out_channels, 1, operator.bias, operator.activation)
    name = f"{node.name}.mixconv"
    return Node(name, spatial, node.inputs), Node(node.name, mixing, (name,))


@st.composite
def compilable_graphs(draw):
    """A random graph whose nodes read a stem where they read the image."""
    graph = draw(random_graphs())
    image = graph.nodes[0]
    stem = replace(draw(convs(3)), out_channels=graph.input.channels, stride=1)
    nodes = [image, Node("stem", stem, (image.name,))]
    for node in graph.nodes[1:]:
        inputs = tuple("stem" if name == image.name else name for name in node.inputs)
        nodes += _without_conv(replace(node, inputs=inputs))
    return Graph(graph.name, tuple(nodes), graph.outputs)


@st.composite
def compilable_networks(draw):
    """(graph, params, x): a graph that the compiled engine takes, parameters, pictures."""
    graph = draw(compilable_graphs())
    return graph, random_params(graph, draw(SEEDS)), draw(inputs_of(graph))
