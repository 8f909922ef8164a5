"""What the phases of a plan are, and the choices between ways that give the same result."""

from __future__ import annotations

from dataclasses import replace
from math import isclose

import pytest

from minimix.engine.draft import Machine
from minimix.engine.kernels.conv import DepthwiseKernel
from minimix.engine.kernels.pointwise import PointwiseKernel
from minimix.engine.layout import RUN, layouts
from minimix.engine.packing import aligned
from minimix.engine.plan import Place
from minimix.engine.planner import plan
from minimix.fused import FusedPointwise, Gates
from minimix.graph import Graph, Node
from minimix.operators import Activation, Conv, Input, MixConv, Pointwise, SqueezeExcite
from tests.test_covered_plans import AVX2, AVX512, NEON, draft_of, network

WORKS = {
    "stem",
    "pointwise",
    "depthwise",
    "expand+depthwise",
    "squeeze",
    "excite",
    "gate weights",
    "gate activations",
    "head+pool",
    "linear",
}


@pytest.mark.parametrize("machine", [AVX512, AVX2, NEON], ids=["avx512", "avx2", "neon"])
def test_every_phase_says_what_it_does_and_an_expansion_is_no_phase_of_its_own(machine):
    graph = network("mixnet-s")
    made = plan(graph, 96, 64, machine)
    assert {phase.work for phase in made.phases} == WORKS
    for phase in made.phases:
        pools = [
            call.kernel.pool
            for item in phase.items
            for call in item.calls
            if isinstance(call.kernel, PointwiseKernel)
        ]
        assert any(pools) == (phase.work == "head+pool"), phase.node
        if phase.work == "expand+depthwise":
            (expansion,) = graph[phase.node].inputs
            assert expansion not in made.buffers
            assert expansion not in {other.node for other in made.phases}


def gating(made):
    """Node -> what its gates are multiplied into."""
    return {
        phase.node: phase.work.removeprefix("gate ")
        for phase in made.phases
        if phase.work.startswith("gate ")
    }


@pytest.mark.parametrize("machine", [AVX512, AVX2, NEON], ids=["avx512", "avx2", "neon"])
@pytest.mark.parametrize("size", [(32, 32), (96, 64), (160, 224)], ids=str)
def test_gates_are_multiplied_into_the_weights_or_the_activations_whichever_are_fewer(
    machine, size
):
    graph = network("mixnet-s")
    made, gated = plan(graph, *size, machine), 0
    for name, into in gating(made).items():
        source = made.buffers[graph[name].inputs[0]]
        weights = [
            piece
            for piece in made.gathers
            if piece.param and piece.param.startswith(f"{name}.") and piece.param.endswith("weight")
        ]
        floats = sum(piece.floats for piece in weights)
        fewer = floats < source.layout.blocks * source.pixels * made.width
        assert into == ("weights" if fewer else "activations"), name
        gated += 1
    assert gated == sum(getattr(node.operator, "gated", False) for node in graph)


def gated_graph(*more, outputs=("out",)):
    """Few pixels and many weights: gates are multiplied into the pixels where that is possible."""
    nodes = (
        Node("image", Input(3, 1)),
        Node("map", Conv(32, 3), ("image",)),
        Node("gates", Gates(4, "relu"), ("map",)),
        Node("out", FusedPointwise(64, gated=True), ("map", "gates")),
        *more,
    )
    return Graph("g", nodes, outputs)


def test_a_map_that_others_want_without_its_gates_is_not_multiplied_by_them():
    reader = Node("reader", Activation("relu"), ("map",))
    assert gating(plan(gated_graph(), 2, 2, AVX512)) == {"out": "activations"}
    for graph in (gated_graph(outputs=("out", "map")), gated_graph(reader)):
        assert gating(plan(graph, 2, 2, AVX512)) == {"out": "weights"}
    assert gating(plan(gated_graph(), 2, 2, AVX512, keep=True)) == {"out": "weights"}


def test_gates_of_another_map_lie_as_the_channels_do_that_they_multiply():
    nodes = (
        Node("image", Input(3, 1)),
        Node("other", Conv(20, 3), ("image",)),
        Node("gates", Gates(4, "relu"), ("other",)),
        Node("narrow", Pointwise(16), ("other",)),
        Node("map", Pointwise(20, 2), ("narrow",)),
        Node("out", FusedPointwise(8, gated=True), ("map", "gates")),
    )
    found = layouts(Graph("g", nodes, ("out",)), 16)
    assert found["map"].segments == found["gates"].segments == (10, 10)


def test_the_bias_of_a_node_is_the_only_row_of_its_parameter():
    nodes = (Node("image", Input(3, 4)), Node("conv", Conv(20, 3, bias=True), ("image",)))
    draft = draft_of()
    draft.graph = Graph("g", nodes, ("conv",))
    draft.bias(nodes[1])
    (piece,) = draft.gathers
    assert (piece.param, piece.rows) == ("conv.bias", (0,))


@pytest.mark.parametrize("machine", [AVX512, AVX2, NEON], ids=["avx512", "avx2", "neon"])
def test_sums_over_pixels_are_divided_by_their_number_where_they_are_read_first(machine):
    nodes = (
        Node("image", Input(3, 1)),
        Node("stem", Conv(32, 3), ("image",)),
        Node("mixed", MixConv((3, 5)), ("stem",)),
        Node("after mixed", SqueezeExcite(4, "relu"), ("mixed",)),
        Node("after another", SqueezeExcite(4, "relu"), ("after mixed",)),
    )
    made = plan(Graph("g", nodes, ("after another",)), 5, 6, machine)
    factors = {piece.param: piece.factor for piece in made.gathers}
    assert isclose(factors["after mixed.reduce.weight"], 1 / 30)
    # These are means already.
    assert factors["after another.reduce.weight"] == 1
    assert factors["after another.expand.weight"] == 1


@pytest.mark.parametrize("pixels", [(1, 1), (3, 4), (5, 5), (1, 11), (4, 4)], ids=str)
@pytest.mark.parametrize("machine", [AVX512, AVX2, NEON], ids=["avx512", "avx2", "neon"])
def test_a_mean_counts_every_pixel_once_and_is_made_after_the_last(machine, pixels):
    nodes = (
        Node("image", Input(3, 1)),
        Node("map", Conv(32, 3), ("image",)),
        Node("out", FusedPointwise(16, pool=True), ("map",)),
    )
    made = plan(Graph("g", nodes, ("out",)), *pixels, machine)
    for item in made.phases[-1].items:
        done = 0
        for n, (kernel, arguments) in enumerate(item.calls):
            source, tiles = arguments[0], arguments[8]
            assert source == Place("map", done * machine.vector_bytes)
            assert kernel.more == (n > 0)
            assert kernel.partial == (n + 1 < len(item.calls))
            done += tiles * kernel.pixels
        assert done == pixels[0] * pixels[1]


def test_more_threads_than_one_get_two_items_and_not_more_of_a_small_map():
    nodes = (
        Node("image", Input(3, 1)),
        Node("map", Conv(16, 3), ("image",)),
        Node("out", Pointwise(16), ("map",)),
    )
    graph = Graph("g", nodes, ("out",))
    for threads, items in [(1, 1), (2, 2), (4, 2)]:
        machine: Machine = replace(AVX512, threads=threads)
        assert len(plan(graph, 14, 14, machine).phases[-1].items) == items


def test_memory_begins_at_a_line_of_the_cache():
    blocks = [aligned(size) for size in (1, 7, 64, 1000)]
    assert [block.ctypes.data % 64 for block in blocks] == [0] * 4
    assert [block.size for block in blocks] == [1, 7, 64, 1000]


def work(made, kernel, arguments):
    """(products of a vector that a call makes, how many of them a tile of pixels)."""
    if isinstance(kernel, DepthwiseKernel):
        first, last = arguments[5:7]
        return (last - first) * kernel.row.size_out * kernel.row.kernel_size**2, 0
    runs, count, tiles = arguments[1].offset // 8, arguments[2], arguments[8]
    depth = RUN * sum(made.runs[runs + 1 : runs + 2 * count : 2])
    return tiles * kernel.pixels * depth * kernel.vectors, kernel.pixels * depth * kernel.vectors


@pytest.mark.parametrize("machine", [AVX512, AVX2, NEON], ids=["avx512", "avx2", "neon"])
def test_the_cost_of_an_item_is_the_products_that_it_makes(machine):
    # So large that strips of an expansion begin below the top, too.
    made = plan(network("mixnet-s"), 224, 160, machine)
    for phase in made.phases:
        if phase.work not in ("pointwise", "depthwise", "expand+depthwise", "head+pool"):
            continue
        for item in phase.items:
            products, of_a_tile = zip(*(work(made, *call) for call in item.calls), strict=True)
            # Neither do the pixels count that a strip of an expansion has to fill a tile, nor how
            # long a row is where all items have rows of the same length.
            spare = max(of_a_tile) if phase.work == "expand+depthwise" else 1
            row = made.buffers[phase.node].width if phase.work == "depthwise" else 1
            assert 0 <= sum(products) - item.cost * row < spare, phase.node
