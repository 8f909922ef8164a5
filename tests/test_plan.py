"""Plans: memory, order, weights and layouts, for every network and many sizes, without running."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimix.dialect import DIALECTS
from minimix.engine.draft import Machine, chunks
from minimix.engine.kernels.pointwise import PointwiseKernel
from minimix.engine.layout import RUN, Layout, layouts
from minimix.engine.memory import ALIGNMENT, Request, assign
from minimix.engine.plan import SCRATCH
from minimix.engine.plan_pointwise import AT_ONCE
from minimix.engine.planner import plan
from minimix.errors import GraphError
from minimix.graph import Graph, Node
from minimix.operators import Conv, Input, MixConv, Pointwise
from minimix.passes import optimize
from minimix.zoo import FAMILIES, architecture, build
from tests.compiled_graphs import compilable_graphs
from tests.plan_model import Replay
from tests.strategies import random_params

MACHINES = {
    (width, threads): Machine(width, 32 if width == 16 else 16, threads)
    for width in (4, 8, 16)
    for threads in (1, 2, 4)
}
NEON = Machine(4, 32, 2)

# Every family, dialect, width and number of threads; even, odd, tiny, large and narrow pictures.
CASES = [
    ("mixnet-pocket", "timm", False, (96, 96), (16, 2)),
    ("mixnet-pocket", "tensorflow", False, (33, 47), (4, 1)),
    ("mixnet-pocket", "timm", True, (64, 95), (8, 4)),
    ("mixnet-s", "timm", False, (224, 224), (16, 1)),
    ("mixnet-s", "mindcv", False, (33, 33), (8, 2)),
    ("mixnet-s", "tensorflow", False, (600, 32), (16, 4)),
    ("mixnet-s", "timm-tf", True, (64, 47), (4, 2)),
    ("mixnet-m", "timm-tf", False, (224, 224), (16, 2)),
    ("mixnet-m", "timm", False, (321, 97), (8, 1)),
    ("mixnet-m", "omz", False, (65, 301), (16, 4)),
    ("mixnet-l", "omz", False, (224, 224), (8, 4)),
    ("mixnet-l", "mindcv", False, (32, 599), (16, 2)),
    ("mixnet-xl", "timm", False, (224, 224), (16, 2)),
    ("mixnet-xl", "timm-tf", True, (47, 47), (8, 2)),
    ("mixnet-xxl", "tensorflow", False, (95, 130), (4, 4)),
    ("mixnet-xxl", "timm", False, (600, 600), (16, 2)),
]


@cache
def network(family, dialect, keep):
    """The graph that the engine plans: as built if every result is kept, else optimised."""
    graph = build(architecture(family), DIALECTS[dialect])
    # Passes look at parameters only to fold them: their shapes decide, zeros do.
    return graph if keep else optimize(graph, random_params(graph, 0))[0]


@cache
def planned(family, dialect, keep, size, machine):
    return plan(network(family, dialect, keep), *size, MACHINES[machine], keep=keep)


each_case = pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[1]}-{c[3]}-V{c[4]}")


def check_live_buffers_apart(made, outputs, lives):
    """Check that no two results that are needed at one time share a byte."""
    end = len(made.phases)
    placed = [
        (buffer.offset, buffer.offset + buffer.size_bytes, *lives[name], name)
        for name, buffer in made.buffers.items()
    ]
    placed = [(a, b, s, end if name in outputs else e, name) for a, b, s, e, name in placed]
    assert all(0 <= a and b <= made.arena_bytes and a % ALIGNMENT == 0 for a, b, *_ in placed)
    for n, (a, b, start, stop, name) in enumerate(placed):
        for c, d, start_too, stop_too, other in placed[:n]:
            together = start <= stop_too and start_too <= stop
            assert not (together and a < d and c < b), f"{name} and {other} share memory"


def check_weights_once(made, graph):
    """Check that every number of every parameter is gathered once, into a place of its own."""
    counts = {name: np.zeros(shape, int) for name, shape in graph.param_shapes.items()}
    end = 0
    for piece in made.gathers:
        assert piece.offset >= end and piece.offset * 4 % ALIGNMENT == 0
        end = piece.offset + piece.floats
        if piece.param is not None:
            table = counts[piece.param].reshape(-1, counts[piece.param].shape[-1])
            rows, columns = ([i for i in part if i >= 0] for part in (piece.rows, piece.columns))
            np.add.at(table, np.ix_(rows, columns), 1)
    assert end <= made.weights_floats
    assert all((count == 1).all() for count in counts.values())


def check_weights_in_order(made, read_by_phase):
    """Check that the weights that one node reads lie behind those of the node before."""
    by_node: dict[str, list[int]] = {}
    for phase, spans in zip(made.phases, read_by_phase, strict=True):
        by_node.setdefault(phase.node, []).extend(offset for span in spans for offset in span)
    ranges = [(min(offsets), max(offsets)) for offsets in by_node.values() if offsets]
    assert all(before[1] <= after[0] for before, after in pairwise(ranges))
    assert ranges[-1][1] <= made.weights_bytes


@each_case
def test_items_never_race_and_results_are_there_before_they_are_read(case):
    replay = Replay(planned(*case))
    check_live_buffers_apart(planned(*case), network(*case[:3]).outputs, replay.lives)
    check_weights_in_order(planned(*case), replay.weights)


@each_case
def test_every_weight_is_packed_once(case):
    check_weights_once(planned(*case), network(*case[:3]))


@each_case
def test_long_sums_are_cut_except_where_the_result_has_no_place_of_its_own(case):
    made, longest = planned(*case), 0
    for kernel, arguments in made.calls:
        if isinstance(kernel, PointwiseKernel):
            _, runs, count, _, _, target, *_ = arguments
            if kernel.pool or target.memory == SCRATCH:
                assert not kernel.joins
                continue
            first = runs.offset // 8
            longest = max(longest, sum(made.runs[first + 1 : first + 2 * count : 2]) * RUN)
    # A cut lies between two runs, which are a vector at most.
    assert 0 < longest <= AT_ONCE + made.width


@settings(max_examples=60)
@given(compilable_graphs(), st.sampled_from([*MACHINES.values(), NEON]), st.booleans(), st.data())
def test_plans_of_random_graphs_keep_the_same_promises(graph, machine, keep, data):
    if not keep:
        graph = optimize(graph, random_params(graph, 0))[0]
    sides = st.integers(graph.input.smallest, graph.input.smallest + 40)
    made = plan(graph, data.draw(sides), data.draw(sides), machine, keep=keep)
    replay = Replay(made)
    kept = set(made.buffers) if keep else graph.outputs
    check_live_buffers_apart(made, kept, replay.lives)
    check_weights_once(made, graph)
    check_weights_in_order(made, replay.weights)


def test_a_strip_that_is_too_small_for_the_largest_kernel_would_be_noticed(monkeypatch):
    def smallest_of_several(*numbers):
        return min(*numbers) if len(numbers) == 1 else max(*numbers)

    monkeypatch.setattr("minimix.engine.plan_conv.max", smallest_of_several, raising=False)
    with pytest.raises(AssertionError, match="strip too small"):
        Replay(plan(network("mixnet-m", "timm", False), 224, 224, MACHINES[16, 1]))


@each_case
def test_a_plan_can_be_printed_and_names_every_phase_kernel_and_buffer(case):
    made = planned(*case)
    text = made.describe()
    phases, buffers, _ = text.split("\n\n")
    assert len(phases.splitlines()) == len(made.phases)
    assert [line.split("  ")[2] for line in buffers.splitlines()[1:]] == list(made.buffers)
    assert all(phase.node in text and phase.work in text for phase in made.phases)
    assert all(name in text for name in made.kernels)
    assert f"{made.arena_bytes:,} bytes" in text and f"{made.weights_bytes:,} bytes" in text


@pytest.mark.parametrize("keep", [False, True])
def test_a_batch_of_plans_differs_only_where_the_size_does(keep):
    # Weights are the same for every size, so that a cached copy serves all of them.
    small, large = (
        planned("mixnet-s", "timm", keep, size, (16, 2)) for size in ((64, 64), (96, 128))
    )
    assert small.weights_floats == large.weights_floats
    assert [piece.param for piece in small.gathers] == [piece.param for piece in large.gathers]


def check_layouts(graph, width):
    """Check what layouts promise, node by node."""
    found = layouts(graph, width)
    specs = graph.infer(1, graph.input.smallest, graph.input.smallest)
    for node in graph.nodes[1:]:
        layout, C = found[node.name], specs[node.name].shape[-1]
        assert layout.channels == C
        assert [layout.channel_of_lane[lane] for lane in layout.lanes] == list(range(C))
        operator, first = node.operator, 0
        if isinstance(operator, Pointwise | MixConv):
            outs = (
                operator.group_channels(C)
                if isinstance(operator, MixConv)
                else [o for _, o in operator.group_shapes(specs[node.inputs[0]].shape[-1])]
            )
            groups = np.repeat(np.arange(len(outs)), outs)
            for block in range(layout.blocks):
                lanes = layout.channel_of_lane[block * width : (block + 1) * width]
                assert len({groups[c] for c in lanes if c >= 0}) == 1, f"{node.name}: mixed block"
        if isinstance(operator, Pointwise):
            source = found[node.inputs[0]]
            for ins, _ in operator.group_shapes(source.channels):
                check_runs(source, first, ins)
                first += ins


def check_runs(layout, first, channels):
    """Check that runs of lanes read a group's channels in order, once, and nobody else's."""
    rows = layout.rows(first, channels)
    assert [row for row in rows if row >= 0] == list(range(channels))
    runs = layout.runs(first, channels)
    assert len(rows) == RUN * sum(steps for _, _, steps in runs)
    assert all(lane + RUN * steps <= layout.width for _, lane, steps in runs)
    assert all(block < layout.blocks for block, _, _ in runs)


@pytest.mark.parametrize("width", [4, 8, 16])
@pytest.mark.parametrize("family", FAMILIES)
def test_no_block_mixes_groups_or_kernel_sizes(family, width):
    check_layouts(network(family, "timm", False), width)
    check_layouts(network(family, "omz", True), width)


@given(compilable_graphs(), st.sampled_from([4, 8, 16]))
def test_no_block_of_a_random_graph_mixes_groups_or_kernel_sizes(graph, width):
    check_layouts(graph, width)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=3), st.integers(9, 120))
def test_every_reader_of_a_map_finds_its_groups_at_the_begin_of_a_run(readers, channels):
    nodes = [Node("image", Input(3, 1)), Node("conv", Conv(channels, 3), ("image",))]
    nodes += [
        Node(f"p{n}", Pointwise(max(out, groups), groups), ("conv",))
        for n, (out, groups) in enumerate(readers)
    ]
    graph = Graph("readers", tuple(nodes), (nodes[-1].name,))
    for width in (4, 8, 16):
        check_layouts(graph, width)


@given(st.lists(st.integers(1, 70), min_size=1, max_size=6), st.sampled_from([4, 8, 16]))
def test_a_layout_gives_every_channel_a_lane_and_every_segment_whole_blocks(segments, width):
    layout = Layout(tuple(segments), width)
    assert sorted(set(layout.lanes)) == list(layout.lanes)
    assert len(layout.channel_of_lane) == layout.blocks * width
    assert all(start % width == 0 for start in layout.starts)
    first = 0
    for channels in segments:
        begin, end = layout.block_range(first, channels)
        assert (end - begin - 1) * width < channels <= (end - begin) * width
        check_runs(layout, first, channels)
        first += channels


@given(st.integers(1, 500), st.integers(1, 20))
def test_chunks_are_few_and_even_and_the_larger_come_first(blocks, most):
    found = chunks(blocks, most)
    assert sum(found) == blocks and max(found) <= most
    assert len(found) == -(-blocks // most)
    assert max(found) - min(found) <= 1 and found == sorted(found, reverse=True)


@st.composite
def requests(draw):
    first = draw(st.integers(0, 20))
    return Request(draw(st.integers(1, 2000)), first, first + draw(st.integers(0, 10)))


@given(st.lists(requests(), max_size=40))
def test_memory_of_live_requests_never_overlaps_and_little_is_wasted(wanted):
    total = assign(wanted)
    assert total == max((r.offset + r.size for r in wanted), default=0)
    assert all(r.offset >= 0 and r.offset % ALIGNMENT == 0 for r in wanted)
    for n, a in enumerate(wanted):
        for b in wanted[:n]:
            together = a.first <= b.last and b.first <= a.last
            apart = a.offset + a.size <= b.offset or b.offset + b.size <= a.offset
            assert apart or not together
    assert total <= sum(-(-r.size // ALIGNMENT) * ALIGNMENT for r in wanted)


def test_requests_of_different_times_share_their_memory():
    wanted = [Request(640, n, n) for n in range(10)]
    assert assign(wanted) == 640


@pytest.mark.parametrize("operator", [Pointwise(4), MixConv((3,))])
def test_a_node_that_reads_the_image_and_is_no_convolution_is_refused(operator):
    nodes = (Node("image", Input(3, 4)), Node("odd one", operator, ("image",)))
    with pytest.raises(GraphError, match="odd one: the compiled engine reads the image by a conv"):
        plan(Graph("g", nodes, ("odd one",)), 8, 8, NEON)


def test_a_convolution_of_a_feature_map_is_refused():
    nodes = (
        Node("image", Input(3, 4)),
        Node("first", Conv(4, 3), ("image",)),
        Node("second", Conv(4, 3), ("first",)),
    )
    with pytest.raises(GraphError, match="second: the compiled engine runs a conv on the image"):
        plan(Graph("g", nodes, ("second",)), 8, 8, NEON)


def test_a_picture_that_is_too_small_is_refused():
    with pytest.raises(GraphError, match="at least 32 px"):
        plan(network("mixnet-s", "timm", False), 31, 64, NEON)
