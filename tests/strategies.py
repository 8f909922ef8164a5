"""What several test files draw from: random parameters of a graph, and random small networks.

``graph, params, x = draw(random_networks())`` is all that a law about graphs, passes or engines
needs.  A network branches, reads maps twice, keeps several outputs, and follows convolutions by
batch norm more often than not; it is valid by construction.
"""

from __future__ import annotations

from math import prod, sqrt

import numpy as np
from hypothesis import strategies as st

from minimix.engine.reference import ReferenceEngine
from minimix.graph import Graph, Node
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
    SqueezeExcite,
)
from minimix.params import frozen
from tests.op_strategies import ALL_KERNELS, ODD_KERNELS, PADDINGS, SEEDS


def random_params(graph, seed):
    """Graph, seed -> its parameters, float32, scaled so that activations keep their size."""
    random = np.random.RandomState(seed)
    return {
        name: _random(random, name.rpartition(".")[2], name, shape).astype(np.float32)
        for name, shape in graph.param_shapes.items()
    }


def _random(random, local, name, shape):
    if local in ("gamma", "variance"):
        return random.uniform(0.5, 1.5, shape)
    if local == "mean":
        return random.uniform(-0.1, 0.1, shape)
    if local in ("beta", "bias"):
        return random.uniform(-0.2, 0.2, shape)
    # A depthwise kernel (K, K, C) reads one channel; all others read every axis but the last.
    fan_in = prod(shape[:2]) if ".mixconv." in name else prod(shape[:-1])
    return random.normal(0.0, sqrt(2 / fan_in), shape)


CHANNELS = st.integers(1, 9)
ACTIVATIONS = st.sampled_from(["relu", "swish"])
INNER_ACTIVATIONS = st.sampled_from([None, None, None, "relu", "swish"])


@st.composite
def convs(draw, channels):
    """A full convolution."""
    padding = draw(PADDINGS)
    K = draw(st.integers(1, 5) if padding == "same" else st.sampled_from([1, 3, 5]))
    stride, bias = draw(st.integers(1, 2)), draw(st.booleans())
    return Conv(draw(CHANNELS), K, stride, padding, bias, draw(INNER_ACTIVATIONS))


@st.composite
def mixconvs(draw, channels):
    """One to five kernel sizes, at most one per channel; odd, even with SAME padding, dilated."""
    padding, groups = draw(PADDINGS), draw(st.integers(1, min(5, channels)))
    kernels = ALL_KERNELS if padding == "same" else ODD_KERNELS
    several = {"min_size": groups, "max_size": groups}
    dilations = draw(st.just([1] * groups) | st.lists(st.integers(1, 3), **several))
    return MixConv(
        tuple(draw(st.lists(kernels, **several))),
        draw(st.integers(1, 2)),
        padding,
        tuple(dilations),
        draw(st.booleans()),
        draw(INNER_ACTIVATIONS),
    )


@st.composite
def pointwises(draw, channels):
    """A 1x1 convolution in up to three groups."""
    out_channels = draw(CHANNELS)
    groups = draw(st.integers(1, min(3, channels, out_channels)))
    return Pointwise(out_channels, groups, draw(st.booleans()), draw(INNER_ACTIVATIONS))


def convolutions(channels):
    """An operator that batch norm can be folded into."""
    return convs(channels) | mixconvs(channels) | pointwises(channels)


def operators(channels):
    """One operator of one feature map."""
    others = (
        st.builds(BatchNorm, st.sampled_from([1e-5, 1e-3]))
        | st.builds(Activation, ACTIVATIONS)
        | st.builds(SqueezeExcite, st.integers(1, 4), ACTIVATIONS)
    )
    return convolutions(channels) | others


class _Sketch:
    """A graph that grows: its nodes, and (channels, total stride) of each feature map.

    Every convolution drawn here gives ceil(size / stride) pixels, so that maps of one total
    stride have one size, whatever the picture's.
    """

    def __init__(self, channels, smallest):
        self.nodes = [Node("image", Input(channels, smallest))]
        self.maps = {"image": (channels, 1)}

    def add(self, operator, *sources):
        name = f"n{len(self.nodes)}.{operator.kind}"
        self.nodes.append(Node(name, operator, sources))
        channels, stride = self.maps.get(sources[0], (0, 0))
        self.maps[name] = (
            getattr(operator, "out_channels", channels),
            stride * getattr(operator, "stride", 1),
        )
        return name

    def alike(self, name):
        """Maps that can be added to one."""
        return [other for other, kind in self.maps.items() if kind == self.maps[name]]

    def add_step(self, draw, source):
        """Append one random operator, and return its name."""
        if draw(st.integers(0, 4)) == 0:
            return self.add(Add(), source, draw(st.sampled_from(self.alike(source))))
        operator = draw(operators(self.maps[source][0]))
        last = self.add(operator, source)
        is_convolution = isinstance(operator, Conv | MixConv | Pointwise)
        return self.add_norm(draw, last) if is_convolution and draw(st.integers(0, 2)) else last

    def add_norm(self, draw, source):
        """Append a batch norm."""
        return self.add(BatchNorm(draw(st.sampled_from([1e-5, 1e-3]))), source)

    def add_block(self, draw, source):
        """Append what MixNet repeats: MixConv, squeeze-excite, projection, residual."""
        channels = self.maps[source][0]
        last = self.add(draw(mixconvs(channels)), source)
        if draw(st.booleans()):
            last = self.add(Activation(draw(ACTIVATIONS)), self.add_norm(draw, last))
        if draw(st.booleans()):
            last = self.add(SqueezeExcite(draw(st.integers(1, 4)), draw(ACTIVATIONS)), last)
        last = self.add(Pointwise(channels, bias=draw(st.booleans())), last)
        if draw(st.booleans()):
            last = self.add_norm(draw, last)
        if self.maps[last] == self.maps[source] and draw(st.integers(0, 3)):
            last = self.add(Add(), *draw(st.permutations([last, source])))
        return last


@st.composite
def random_graphs(draw, max_steps=5):
    """A network of one to ``max_steps`` random steps or blocks, with or without a classifier."""
    sketch = _Sketch(draw(st.integers(1, 5)), draw(st.integers(1, 9)))
    last = "image"
    for _ in range(draw(st.integers(1, max_steps))):
        source = draw(st.sampled_from([last, last, *sketch.maps]))
        last = draw(st.sampled_from([sketch.add_step, sketch.add_step, sketch.add_block]))(
            draw, source
        )
    outputs = [last]
    if draw(st.booleans()):
        pooled = sketch.add(GlobalAveragePool(), last)
        outputs = [sketch.add(Linear(draw(st.integers(1, 7))), pooled)]
    if draw(st.integers(0, 2)) == 0:
        names = [node.name for node in sketch.nodes]
        outputs += draw(st.lists(st.sampled_from(names), min_size=1, max_size=2))
    return Graph("random", tuple(sketch.nodes), tuple(dict.fromkeys(outputs)))


@st.composite
def inputs_of(draw, graph, max_batch=3):
    """Pictures of up to five pixels more than the smallest side."""
    smallest = graph.input.smallest
    sides = st.integers(smallest, smallest + 5)
    shape = (draw(st.integers(1, max_batch)), draw(sides), draw(sides), graph.input.channels)
    x = np.random.default_rng(draw(SEEDS)).uniform(-2, 2, shape).astype(np.float32)
    x.flags.writeable = False
    return x


@st.composite
def random_networks(draw, graphs=None):
    """(graph, params, x): a random graph, parameters for it, and pictures that it takes."""
    graph = draw(random_graphs() if graphs is None else graphs)
    return graph, frozen(random_params(graph, draw(SEEDS))), draw(inputs_of(graph))


def run_all(graph, params, x):
    """Every node's array by name, from the reference engine."""
    arrays = {}
    ReferenceEngine(graph, params).run(x, lambda node, array: arrays.update({node.name: array}))
    return arrays


def assert_same_outputs(actual, expected, largest, budget):
    """Check outputs against others, within a share of the largest number that the network holds.

    Outputs of small random networks may cancel to almost nothing, unlike logits, so that their
    own size is no yardstick.
    """
    assert len(actual) == len(expected)
    for a, b in zip(actual, expected, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=0, atol=budget * largest)
