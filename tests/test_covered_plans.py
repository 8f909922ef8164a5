"""Decisions of plans that change no result, only how fast it is there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimix.dialect import DIALECTS
from minimix.engine.draft import Draft, Machine, one
from minimix.engine.kernels.conv import StemKernel
from minimix.engine.layout import layouts
from minimix.engine.plan import Call, Gather, Place
from minimix.engine.planner import plan
from minimix.graph import Graph, Node
from minimix.operators import Conv, Input
from minimix.passes import optimize
from minimix.zoo import architecture, build
from tests.strategies import random_params

AVX512, AVX2, NEON = Machine(16, 32, 2), Machine(8, 16, 2), Machine(4, 32, 2)


def network(family="mixnet-pocket"):
    graph = build(architecture(family), DIALECTS["timm"])
    return optimize(graph, random_params(graph, 0))[0]


@pytest.fixture(scope="module", params=[AVX512, AVX2, NEON], ids=["avx512", "avx2", "neon"])
def made(request):
    """(a machine, the plan of a network for it)."""
    return request.param, plan(network(), 96, 64, request.param)


@pytest.mark.parametrize(
    ("pixels", "tile"),
    # 7 x 7, 14 x 14 and 12 x 12 pixels are whole tiles; where two waste the same, the nearer to 8.
    [(1, 1), (2, 2), (4, 4), (9, 9), (16, 8), (36, 9), (49, 7), (144, 8), (196, 7), (3136, 8)],
)
def test_a_tile_of_a_product_wastes_no_pixel_where_it_need_not(pixels, tile):
    assert AVX512.tile_pixels(pixels) == tile == NEON.tile_pixels(pixels)


@pytest.mark.parametrize(("pixels", "tile"), [(1, 1), (2, 2), (3, 3), (4, 4), (49, 4), (196, 4)])
def test_with_few_registers_a_tile_of_a_product_has_four_pixels_even_where_one_is_wasted(
    pixels, tile
):
    assert AVX2.tile_pixels(pixels) == tile


@given(st.integers(1, 20000), st.sampled_from([AVX512, AVX2, NEON]))
def test_the_sums_of_a_tile_its_weights_and_a_factor_fit_the_registers(pixels, machine):
    tile = machine.tile_pixels(pixels)
    assert machine.tile_vectors == 3
    assert 1 <= tile <= pixels
    assert (tile + 1) * machine.tile_vectors + 1 <= machine.registers


def test_the_outputs_of_a_depthwise_tile_and_a_row_of_weights_fit_the_registers():
    assert (AVX512.tile_outputs, AVX2.tile_outputs, NEON.tile_outputs) == (14, 6, 14)


def test_a_map_has_room_for_whole_tiles_and_what_is_one_pixel_for_no_more(made):
    machine, found = made
    for buffer in found.buffers.values():
        whole = buffer.pixels + buffer.slack
        assert buffer.offset % 64 == 0
        if buffer.pixels == 1:
            assert buffer.slack == 0
        else:
            assert whole % machine.tile_pixels(buffer.pixels) == 0
            assert 0 <= buffer.slack < machine.tile_pixels(buffer.pixels)
        assert buffer.size_bytes == buffer.layout.blocks * whole * machine.vector_bytes


def test_the_dearest_items_of_a_phase_come_first_and_all_cost_something(made):
    for phase in made[1].phases:
        costs = [item.cost for item in phase.items]
        assert costs == sorted(costs, reverse=True), phase.node
        assert costs[-1] > 0, phase.node


def test_two_threads_find_two_items_in_every_phase_of_a_map(made):
    machine, found = made
    for phase in found.phases:
        buffer = found.buffers.get(phase.node)
        if buffer is not None and buffer.pixels > 200:
            assert len(phase.items) >= machine.threads, phase.node


def test_a_table_of_channel_runs_is_stored_once(made):
    found = made[1]
    tables = {}
    for call in found.calls:
        for place, count in zip(call.arguments, call.arguments[1:], strict=False):
            if isinstance(place, Place) and place.memory == "(runs)":
                first = place.offset // 8
                table = found.runs[first : first + 2 * count]
                assert tables.setdefault(table, place) == place
    assert sum(map(len, tables)) == len(found.runs)


def test_the_rows_of_the_image_are_shared_out_in_order_fourteen_at_a_time(made):
    found = made[1]
    stem = found.phases[0]
    buffer = found.buffers[stem.node]
    assert (buffer.height, buffer.width) == (48, 32)
    rows = [item.calls[0].arguments[4:6] for item in stem.items]
    assert sorted(rows) == sorted([(0, 14), (14, 28), (28, 42), (42, 48)] * buffer.layout.blocks)
    assert [item.cost for item in stem.items] == [last - first for first, last in rows]


def draft_of(keep=False):
    nodes = (Node("image", Input(3, 4)), Node("conv", Conv(20, 3), ("image",)))
    graph = Graph("g", nodes, ("conv",))
    return Draft(graph, graph.infer(1, 8, 8), layouts(graph, 16), AVX512, keep)


def test_pieces_of_packed_weights_begin_at_lines_of_the_cache_and_say_where_the_next_one_will():
    draft = draft_of()
    assert draft.gather("conv.weight", range(3), range(5)) == Place("(weights)", 0)
    assert draft.next_weights == Place("(weights)", 64)
    assert draft.gather("conv.weight", range(2), range(8), 0.5) == Place("(weights)", 64)
    assert draft.next_weights == Place("(weights)", 128)
    assert draft.gathers == [
        Gather("conv.weight", (0, 1, 2), (0, 1, 2, 3, 4), 1.0, 0),
        Gather("conv.weight", (0, 1), tuple(range(8)), 0.5, 16),
    ]


def test_a_bias_that_a_node_does_not_have_is_zeros():
    draft = draft_of()
    node = draft.graph["conv"]
    assert "conv.bias" not in draft.graph.param_shapes
    draft.bias(node)
    (piece,) = draft.gathers
    assert piece.param is None
    assert piece.columns == (*range(20), *[-1] * 12)


def test_what_a_phase_reads_lives_until_it_and_is_free_in_the_next():
    draft = draft_of()
    layout = draft.layout["conv"]
    kernel = StemKernel.__new__(StemKernel)
    names = ("first", "second", "third")
    for before, name in zip((None, *names), names, strict=False):
        draft.allocate(name, layout)
        if before:
            draft.place(before)
        draft.phase(draft.graph["conv"], "work", [one(Call(kernel, ()), 1)])
    draft.result(draft.graph["conv"])
    offsets = {name: buffer.offset for name, buffer in draft.finish().buffers.items()}
    assert offsets["first"] == offsets["third"] != offsets["second"]


def test_a_draft_that_keeps_everything_shares_no_memory():
    draft = draft_of(keep=True)
    for name in ("first", "second", "third"):
        draft.allocate(name, draft.layout["conv"])
        draft.phase(draft.graph["conv"], "work", [])
    offsets = [buffer.offset for buffer in draft.finish().buffers.values()]
    assert len(set(offsets)) == 3


def test_a_block_of_a_result_lies_behind_the_blocks_before_it():
    draft = draft_of()
    buffer = draft.result(draft.graph["conv"])
    assert (buffer.height, buffer.width, buffer.is_map) == (8, 8, True)
    assert draft.place("conv", 1) == Place("conv", buffer.block_bytes)
    assert buffer.block_bytes == 64 * 64


def test_runs_are_counted_in_pairs_and_known_ones_found_again():
    draft = draft_of()
    first = draft.run_table([(0, 4), (64, 1)])
    second = draft.run_table(iter([(128, 2)]))
    assert (first, second) == ((Place("(runs)", 0), 2), (Place("(runs)", 32), 1))
    assert draft.run_table([(0, 4), (64, 1)]) == first
    assert draft.runs == [0, 4, 64, 1, 128, 2]


def test_the_sizes_of_a_plan_are_those_that_it_prints(made):
    machine, found = made
    last = found.describe().splitlines()[-1]
    assert last == (
        f"{len(found.phases)} phases, {len(found.kernels)} kernels; weights "
        f"{4 * found.weights_floats:,} bytes, activations {found.arena_bytes:,} bytes, scratch "
        f"{found.scratch_bytes:,} bytes a thread"
    )
    lines = found.describe().split("\n\n")[1].splitlines()[1:]
    for line, (name, buffer) in zip(lines, found.buffers.items(), strict=True):
        numbers = [buffer.layout.blocks, buffer.pixels + buffer.slack, machine.width]
        size = np.prod(numbers) * 4
        expected = [*" x ".join(map(str, numbers)).split(), "=", f"{size:,}", "bytes", "at"]
        assert line.strip().removeprefix(name).split() == [*expected, f"{buffer.offset:,}"]
        assert size == buffer.size_bytes
