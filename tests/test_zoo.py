"""The families: tables, counts, and how dialects change a graph."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimix.dialect import DIALECTS
from minimix.errors import GraphError, WeightsError
from minimix.operators import BatchNorm, Conv, MixConv, Pointwise, SqueezeExcite
from minimix.zoo import FAMILIES, Architecture, architecture, build, parse_block
from minimix.zoo.mixnet import round_channels, scale_repeats
from tests.test_zoo_grammar import BLOCKS

TIMM = DIALECTS["timm"]

# (repeats, kernels, expand groups, project groups, stride, expansion, channels, SE, swish)
TABLE_S = [
    (1, (3,), 1, 1, 1, 1, 16, 0, False),
    (1, (3,), 2, 2, 2, 6, 24, 0, False),
    (1, (3,), 2, 2, 1, 3, 24, 0, False),
    (1, (3, 5, 7), 1, 1, 2, 6, 40, 0.5, True),
    (3, (3, 5), 2, 2, 1, 6, 40, 0.5, True),
    (1, (3, 5, 7), 1, 2, 2, 6, 80, 0.25, True),
    (2, (3, 5), 1, 2, 1, 6, 80, 0.25, True),
    (1, (3, 5, 7), 2, 2, 1, 6, 120, 0.5, True),
    (2, (3, 5, 7, 9), 2, 2, 1, 3, 120, 0.5, True),
    (1, (3, 5, 7, 9, 11), 1, 1, 2, 6, 200, 0.5, True),
    (2, (3, 5, 7, 9), 1, 2, 1, 6, 200, 0.5, True),
]
TABLE_M = [
    (1, (3,), 1, 1, 1, 1, 24, 0, False),
    (1, (3, 5, 7), 2, 2, 2, 6, 32, 0, False),
    (1, (3,), 2, 2, 1, 3, 32, 0, False),
    (1, (3, 5, 7, 9), 1, 1, 2, 6, 40, 0.5, True),
    (3, (3, 5), 2, 2, 1, 6, 40, 0.5, True),
    (1, (3, 5, 7), 1, 1, 2, 6, 80, 0.25, True),
    (3, (3, 5, 7, 9), 2, 2, 1, 6, 80, 0.25, True),
    (1, (3,), 1, 1, 1, 6, 120, 0.5, True),
    (3, (3, 5, 7, 9), 2, 2, 1, 3, 120, 0.5, True),
    (1, (3, 5, 7, 9), 1, 1, 2, 6, 200, 0.5, True),
    (3, (3, 5, 7, 9), 1, 2, 1, 6, 200, 0.5, True),
]


def rows_of(arch):
    """The blocks of an architecture in the columns of the tables, each with one repeat."""
    return [
        (1, b.kernel_sizes, b.expand_groups, b.project_groups, b.stride, b.expansion)
        + (b.out_channels, b.se_ratio, b.swish)
        for b in arch.blocks
    ]


@pytest.mark.parametrize(
    ("family", "table", "stem"), [("mixnet-s", TABLE_S, 16), ("mixnet-m", TABLE_M, 24)]
)
def test_the_blocks_are_those_of_the_published_table(family, table, stem):
    arch = architecture(family)
    assert (arch.stem_channels, arch.head_channels, arch.num_classes) == (stem, 1536, 1000)
    expected = []
    for repeats, kernels, expand, project, stride, *rest in table:
        expected.append((1, kernels, expand, project, stride, *rest))
        expected += [(1, kernels, expand, project, 1, *rest)] * (repeats - 1)
    assert rows_of(arch) == expected
    arriving = [stem] + [block.out_channels for block in arch.blocks]
    assert [block.in_channels for block in arch.blocks] == arriving[:-1]


COUNTS = [
    ("mixnet-s", 4_134_606, 239_173_360),
    ("mixnet-m", 5_014_382, 339_172_672),
    ("mixnet-l", 7_329_252, 555_251_792),
    ("mixnet-xl", 11_896_768, 904_010_880),
    ("mixnet-xxl", 23_961_752, 1_992_725_184),
]


@pytest.mark.parametrize(("family", "parameters", "macs"), COUNTS)
def test_parameters_and_multiply_adds_are_the_published_ones(family, parameters, macs):
    graph = build(architecture(family), TIMM)
    assert sum(graph.param_count(node) for node in graph) == parameters
    for dialect in ("timm", "timm-tf", "mindcv", "omz"):
        same = build(architecture(family), DIALECTS[dialect])
        assert sum(same.macs(224, 224).values()) == macs


def test_the_pocket_network_is_mixnet_s_at_half_width():
    small, pocket = architecture("mixnet-s"), architecture("mixnet-pocket")
    assert (pocket.stem_channels, pocket.head_channels, pocket.num_classes) == (8, 768, 40)
    for half, whole in zip(pocket.blocks, small.blocks, strict=True):
        assert half.out_channels == round_channels(whole.out_channels, 0.5)
        channels = {"in_channels": 1, "out_channels": 1}
        assert replace(half, **channels) == replace(whole, **channels)
    graph = build(pocket, TIMM)
    assert sum(graph.param_count(node) for node in graph) == 808_762


@given(st.integers(1, 3000), st.floats(0.1, 4))
def test_rounded_channels_are_multiples_of_8_near_the_exact_value(channels, multiplier):
    rounded, exact = round_channels(channels, multiplier), channels * multiplier
    assert rounded % 8 == 0
    assert rounded >= 8
    assert rounded >= 0.9 * exact
    assert rounded <= max(8, exact + 8)


@given(st.integers(1, 300), st.floats(0.1, 4), st.floats(0.1, 4))
def test_more_width_never_gives_fewer_channels(eighths, a, b):
    narrow, wide = (round_channels(8 * eighths, m) for m in sorted((a, b)))
    assert narrow <= wide
    assert round_channels(8 * eighths, 1.0) == 8 * eighths


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple), st.floats(1, 4))
def test_deeper_stages_have_the_scaled_total_and_lose_no_line(repeats, multiplier):
    scaled = scale_repeats(repeats, multiplier)
    assert len(scaled) == len(repeats)
    assert all(count >= 1 for count in scaled)
    assert sum(scaled) >= round(sum(repeats) * multiplier)
    assert sum(scaled) <= round(sum(repeats) * multiplier) + len(repeats)
    assert scale_repeats(repeats, 1.0) == repeats


@pytest.mark.parametrize(("family", "depth"), [("mixnet-xl", 23), ("mixnet-xxl", 24)])
def test_depth_multipliers_repeat_the_later_lines_of_a_stage(family, depth):
    assert len(architecture(family).blocks) == depth
    assert scale_repeats((1, 3), 1.2) == (1, 4)


def test_an_unknown_family_is_refused_with_the_known_ones():
    with pytest.raises(GraphError, match=r"unknown architecture 'mixnet-q'; known: mixnet-s, "):
        architecture("mixnet-q")


@pytest.mark.parametrize("family", FAMILIES)
def test_architectures_survive_json(family):
    arch = architecture(family, num_classes=7)
    assert arch.num_classes == 7
    assert Architecture.from_json(json.loads(json.dumps(arch.to_json()))) == arch


@given(st.lists(BLOCKS, max_size=3), st.integers(1, 99), st.integers(1, 99), st.integers(1, 99))
def test_any_unrolled_architecture_survives_json(blocks, stem, head, classes):
    single = tuple(replace(block, repeats=1) for block in blocks)
    arch = Architecture("any", stem, head, classes, single)
    assert Architecture.from_json(json.loads(json.dumps(arch.to_json()))) == arch


FIELDS = architecture("mixnet-s").to_json()
DAMAGED = [
    ({k: v for k, v in FIELDS.items() if k != "blocks"}, "architecture: .*blocks"),
    ({k: v for k, v in FIELDS.items() if k != "name"}, "architecture: .*name"),
    (FIELDS | {"blocks": ["r1_k3"]}, "architecture: .*expected a"),
    (FIELDS | {"blocks": "r1_k3"}, "architecture: "),
    (FIELDS | {"blocks": [3]}, "architecture: "),
    (FIELDS | {"blocks": None}, "architecture: "),
    (FIELDS | {"stem_channels": None}, "architecture: "),
    (FIELDS | {"stem_channels": "many"}, "architecture: .*many"),
    ([], "architecture: "),
]


@pytest.mark.parametrize(("fields", "message"), DAMAGED)
def test_a_damaged_architecture_is_refused(fields, message):
    with pytest.raises(WeightsError, match=message):
        Architecture.from_json(fields)


@pytest.mark.parametrize(
    "change",
    [{"depth": 3}, {"stem_channels": 16.7}, {"num_classes": True}, {"head_channels": "1536"}],
)
def test_fields_that_no_architecture_writes_are_refused(change):
    with pytest.raises(WeightsError, match=next(iter(change))):
        Architecture.from_json(FIELDS | change)


@pytest.mark.parametrize("origin", ["timm", "tensorflow", "mindcv"])
def test_a_folded_build_has_biases_and_no_batch_norm(origin):
    dialect = DIALECTS[origin]
    arch = architecture("mixnet-pocket")
    plain, folded = build(arch, dialect), build(arch, dialect.folded())
    norms = [node.name for node in plain if isinstance(node.operator, BatchNorm)]
    without = [node.name for node in plain if node.name not in norms]
    assert [node.name for node in folded] == without
    for graph, bias in ((plain, False), (folded, True)):
        convolutions = [n for n in graph if isinstance(n.operator, Conv | MixConv | Pointwise)]
        assert len(convolutions) == len(norms)
        assert {node.operator.bias for node in convolutions} == {bias}
    eps = {node.operator.eps for node in plain if node.name in norms}
    assert eps == {dialect.batch_norm_eps}
    assert all(name.endswith("_bn") for name in norms)


@pytest.mark.parametrize(
    ("origin", "activations"),
    [("timm", {"swish"}), ("tensorflow", {"swish"}), ("mindcv", {"relu"})],
)
def test_inside_squeeze_excite_mindcv_uses_relu_and_others_the_blocks_own(origin, activations):
    graph = build(architecture("mixnet-s"), DIALECTS[origin])
    operators = [n.operator for n in graph if isinstance(n.operator, SqueezeExcite)]
    assert len(operators) == 13
    assert {operator.activation for operator in operators} == activations


def tiny(*texts, dialect=TIMM):
    """The graph of a network of a few blocks; the first takes 16 channels."""
    blocks = tuple(block for text in texts for block in parse_block(text).unrolled())
    return build(Architecture("tiny", 16, 32, 5, blocks), dialect)


def test_the_block_own_activation_is_relu_without_sw():
    graph = tiny("r1_k3_a1_p1_s11_e1_i16_o16_se0.5")
    assert graph["blocks.0.se"].operator == SqueezeExcite(8, "relu")
    assert graph["blocks.0.mixconv_act"].operator.function == "relu"


def test_squeeze_excite_is_reduced_from_the_block_input_and_never_to_nothing():
    graph = tiny("r1_k3_a1_p1_s11_e6_i16_o16_se0.2", "r1_k3_a1_p1_s11_e1_i16_o16_se0.01")
    reduced = [graph[f"blocks.{n}.se"].operator.reduced_channels for n in (0, 1)]
    assert reduced == [3, 1]


def test_dilated_blocks_simulate_large_kernels_only_where_nothing_strides():
    graph = tiny(
        "r1_k3.5.7_a1_p1_s22_e1_i16_o16_dilated", "r1_k3.5.7.11_a1_p1_s11_e1_i16_o16_dilated"
    )
    strided, dilated = graph["blocks.0.mixconv"], graph["blocks.1.mixconv"]
    assert strided.operator.kernel_sizes == strided.operator.extents == (3, 5, 7)
    assert strided.operator.dilations == (1, 1, 1)
    assert dilated.operator.kernel_sizes == (3, 3, 3, 3)
    assert dilated.operator.extents == dilated.kernel_sizes == (3, 5, 7, 11)


@pytest.mark.parametrize("kernels", ["4.6", "1.3"])
def test_a_kernel_that_no_dilated_3x3_can_simulate_is_refused(kernels):
    with pytest.raises(GraphError, match="dilated"):
        tiny(f"r1_k{kernels}_a1_p1_s11_e1_i16_o16_dilated", dialect=DIALECTS["timm-tf"])


RESIDUALS = [
    ("r1_k3_a1_p1_s11_e1_i16_o16", True),
    ("r1_k3_a1_p1_s11_e1_i16_o16_noskip", False),
    ("r1_k3_a1_p1_s22_e1_i16_o16", False),
    ("r1_k3_a1_p1_s11_e1_i16_o24", False),
]


@pytest.mark.parametrize(("text", "has_residual"), RESIDUALS)
def test_a_block_adds_its_input_where_shapes_stay_and_noskip_is_not_given(text, has_residual):
    graph = tiny(text)
    assert ("blocks.0.add" in graph) == has_residual
    if has_residual:
        assert graph["blocks.0.add"].inputs == ("blocks.0.project_bn", "stem.conv_act")


def test_blocks_that_do_not_fit_together_are_refused_by_name():
    with pytest.raises(GraphError, match=r"blocks\.1: takes 24 channels, but 16 arrive"):
        tiny("r1_k3_a1_p1_s11_e1_i16_o16", "r1_k3_a1_p1_s11_e1_i24_o24")
    with pytest.raises(GraphError, match=r"blocks\.0\.project: cannot split 2 channels into 3"):
        tiny("r1_k3_a1_p1.1.1_s11_e1_i16_o2")


def test_a_graph_has_stem_blocks_and_head_in_order():
    graph = build(architecture("mixnet-s"), TIMM)
    blocks = [f"blocks.{n}" for n in range(16)]
    assert list(graph.stages) == ["image", "stem", *blocks, "head", "pool", "classifier"]
    assert graph.outputs == ("classifier",)
    assert "blocks.0.expand" not in graph
    assert [node.name for node in graph.stages["blocks.3"]] == [
        f"blocks.3.{part}"
        for part in (
            *("expand", "expand_bn", "expand_act", "mixconv", "mixconv_bn", "mixconv_act"),
            *("se", "project", "project_bn"),
        )
    ]


@pytest.mark.parametrize(
    ("origin", "padding"), [("timm", "symmetric"), ("tensorflow", "same"), ("omz", "same")]
)
def test_the_padding_of_a_dialect_reaches_every_convolution(origin, padding):
    graph = build(architecture("mixnet-s"), DIALECTS[origin])
    found = {n.operator.padding for n in graph if isinstance(n.operator, Conv | MixConv)}
    assert found == {padding}
