"""Block strings: strict, and written back as they were read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimix.errors import GraphError
from minimix.zoo import FAMILIES, BlockSpec, format_block, parse_block

NUMBERS = st.integers(1, 9999)
GROUPS = st.integers(1, 9)
RATIOS = st.integers(0, 10_000).map(lambda n: n / 10_000)
BLOCKS = st.builds(
    BlockSpec,
    kernel_sizes=st.lists(st.integers(1, 99), min_size=1, max_size=6).map(tuple),
    expand_groups=GROUPS,
    project_groups=GROUPS,
    stride=st.integers(1, 9),
    expansion=NUMBERS,
    in_channels=NUMBERS,
    out_channels=NUMBERS,
    repeats=NUMBERS,
    se_ratio=RATIOS,
    swish=st.booleans(),
    skip=st.booleans(),
    dilated=st.booleans(),
)
PLAIN = "r1_k3_a1_p1_s11_e1_i16_o16"


@given(BLOCKS)
def test_what_is_written_reads_back_as_the_same_block(block):
    assert parse_block(format_block(block)) == block


@st.composite
def block_strings(draw):
    """Any string of the grammar, spelled token by token."""
    number = st.integers(1, 9999).map(str)
    ones = GROUPS.map(lambda groups: ".".join("1" * groups))
    kernels = st.lists(number, min_size=1, max_size=5).map(".".join)
    stride = st.integers(1, 9).map(lambda s: f"{s}{s}")
    values = (number, kernels, ones, ones, stride, number, number, number)
    tokens = [name + draw(value) for name, value in zip("rkapseio", values, strict=True)]
    decimals = st.text("0123456789", max_size=11)
    ratio = st.tuples(decimals, st.sampled_from("123456789")).map(lambda d: "0." + "".join(d))
    if draw(st.booleans()):
        tokens.append("se" + draw(st.just("1") | ratio))
    tokens += [token for token in ("noskip", "sw", "dilated") if draw(st.booleans())]
    return "_".join(tokens)


@given(block_strings())
def test_what_is_read_is_written_back_unchanged(text):
    assert format_block(parse_block(text)) == text


@pytest.mark.parametrize("family", FAMILIES)
def test_the_families_own_strings_are_written_back_unchanged(family):
    for stage in FAMILIES[family].stages:
        assert [format_block(parse_block(text)) for text in stage] == list(stage)


def test_every_token_reaches_its_field():
    assert parse_block("r3_k3.5.11_a1.1_p1_s22_e6_i24_o40_se0.25_noskip_sw_dilated") == BlockSpec(
        kernel_sizes=(3, 5, 11),
        expand_groups=2,
        project_groups=1,
        stride=2,
        expansion=6,
        in_channels=24,
        out_channels=40,
        repeats=3,
        se_ratio=0.25,
        swish=True,
        skip=False,
        dilated=True,
    )


REFUSED = [
    ("", r"expected r .*, found ''"),
    ("r1", r"expected k .*, found the end"),
    ("k3_r1_a1_p1_s11_e1_i16_o16", r"expected r .*, found 'k3'"),
    ("r1_k3_p1_a1_s11_e1_i16_o16", r"expected a .*, found 'p1'"),
    ("r0_k3_a1_p1_s11_e1_i16_o16", r"expected r .*, found 'r0'"),
    ("r01_k3_a1_p1_s11_e1_i16_o16", r"found 'r01'"),
    ("r1_k3._a1_p1_s11_e1_i16_o16", r"expected k .*, found 'k3\.'"),
    ("r1_k3.0_a1_p1_s11_e1_i16_o16", r"found 'k3\.0'"),
    ("r1_k3_a2_p1_s11_e1_i16_o16", r"expected a .*, found 'a2'"),
    ("r1_k3_a1_p1_s12_e1_i16_o16", r"expected s .*, found 's12'"),
    ("r1_k3_a1_p1_s1_e1_i16_o16", r"found 's1'"),
    ("r1_k3_a1_p1_s11_e1.5_i16_o16", r"found 'e1\.5'"),
    ("r1_k3_a1_p1_s11_e1_i-16_o16", r"found 'i-16'"),
    (f"{PLAIN}_se0", r"'se0' is unknown, repeated or out of place"),
    (f"{PLAIN}_se0.50", r"'se0\.50' is unknown"),
    (f"{PLAIN}_se1.5", r"'se1\.5' is unknown"),
    (f"{PLAIN}_se.5", r"'se\.5' is unknown"),
    (f"{PLAIN}_se0.5_se0.5", r"'se0\.5' is unknown, repeated"),
    (f"{PLAIN}_sw_sw", r"'sw' is unknown, repeated"),
    (f"{PLAIN}_sw_se0.5", r"'se0\.5' is unknown, repeated or out of place"),
    (f"{PLAIN}_sw_noskip", r"'noskip' is unknown, repeated or out of place"),
    (f"{PLAIN}_SW", r"'SW' is unknown"),
    (f"{PLAIN}_", r"'' is unknown"),
    (f"{PLAIN}_c40", r"'c40' is unknown"),
    (f" {PLAIN}", r"found ' r1'"),
    (f"{PLAIN}\n", r"found 'o16\\n'"),
    ("ir_r3_k3.5_a1.1_p1.1_s1_e6_c40_se0.5_nsw", r"found 'ir'"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_a_malformed_block_is_refused_and_the_message_names_token_and_grammar(text, message):
    with pytest.raises(GraphError, match=message) as refusal:
        parse_block(text)
    assert "tokens in order: r k a p s e i o se noskip sw dilated" in str(refusal.value)


@given(st.integers(0, 7), st.sampled_from(["", "q1", "sw"]))
def test_a_required_token_that_is_missing_or_wrong_is_named(position, replacement):
    tokens = PLAIN.split("_")
    name = tokens[position][0]
    tokens[position : position + 1] = [replacement] if replacement else []
    with pytest.raises(GraphError, match=rf"expected {name} \("):
        parse_block("_".join(tokens))


@pytest.mark.parametrize("text", ["r1_k3_a1_p1_s11_e1_i16_o1٣", f"{PLAIN}_se0.٣5"])
def test_only_ascii_digits_are_digits(text):
    with pytest.raises(GraphError, match="tokens in order"):
        parse_block(text)


@pytest.mark.parametrize("ratio", ["0.1234567890123", "0.0000000000001", "0.10000000000000000001"])
def test_a_ratio_is_written_back_digit_by_digit_or_refused(ratio):
    text = f"{PLAIN}_se{ratio}"
    try:
        block = parse_block(text)
    except GraphError as error:
        assert f"se{ratio}" in str(error)
    else:
        assert format_block(block) == text


def test_a_number_of_five_thousand_digits_is_refused_as_a_block():
    with pytest.raises(GraphError, match="block"):
        parse_block(PLAIN.replace("o16", "o" + "1" * 5000))


@given(BLOCKS.map(lambda b: BlockSpec(**(vars(b) | {"repeats": b.repeats % 9 + 1}))))
def test_unrolled_repeats_fit_together_and_only_the_first_strides(block):
    first, *rest = block.unrolled()
    assert len(rest) == block.repeats - 1
    assert (first.in_channels, first.stride) == (block.in_channels, block.stride)
    for repeat in rest:
        assert (repeat.in_channels, repeat.stride) == (block.out_channels, 1)
        assert repeat.has_residual == block.skip
    for each in (first, *rest):
        assert each.repeats == 1
        assert each.unrolled() == (each,)
        assert each.out_channels == block.out_channels
        assert each.expanded_channels == each.in_channels * block.expansion
