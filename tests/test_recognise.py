"""Architectures are told from what their tensors show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimix.dialect import DIALECTS
from minimix.errors import WeightsError
from minimix.operators import SqueezeExcite
from minimix.zoo import FAMILIES, Architecture, BlockSpec, architecture, build
from weights_tools.recognise import ObservedBlock, recognise

Blocks = list[ObservedBlock]


def observed(block: BlockSpec) -> ObservedBlock:
    return ObservedBlock(
        kernel_sizes=block.kernel_sizes,
        expand_groups=block.expand_groups,
        project_groups=block.project_groups,
        expansion=block.expansion,
        in_channels=block.in_channels,
        out_channels=block.out_channels,
        se_channels=int(block.in_channels * block.se_ratio),
    )


def told(arch: Architecture, blocks: Blocks | None = None, **options: Any) -> Architecture:
    return recognise(
        blocks or [observed(block) for block in arch.blocks],
        stem_channels=arch.stem_channels,
        head_channels=arch.head_channels,
        num_classes=arch.num_classes,
        **options,
    )


def changed(name: str, n: int, **changes: Any) -> Blocks:
    """The blocks of a family, one of them changed."""
    blocks = [observed(block) for block in architecture(name).blocks]
    blocks[n] = replace(blocks[n], **changes)
    return blocks


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("num_classes", [1, 10, 1000])
def test_every_family_is_recognised_with_any_number_of_classes(name: str, num_classes: int) -> None:
    arch = architecture(name, num_classes=num_classes)
    assert told(arch) == arch
    assert told(arch, expected=name) == arch


@pytest.mark.parametrize("field", ["stem_channels", "head_channels"])
@pytest.mark.parametrize("name", FAMILIES)
def test_other_widths_are_a_custom_architecture(name: str, field: str) -> None:
    width: dict[str, Any] = {field: 104}
    arch = replace(architecture(name), **width)
    found = told(arch)
    assert found.name.endswith("-custom")
    assert replace(found, name=name) == arch


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("mixnet-s", {"kernel_sizes": (3, 7)}, r"kernel_sizes \(3, 7\), expected \(3, 5\)"),
        ("mixnet-s", {"expand_groups": 1}, "expand_groups 1, expected 2"),
        ("mixnet-m", {"project_groups": 4}, "project_groups 4, expected 2"),
        ("mixnet-l", {"expansion": 3}, "expansion 3, expected 6"),
        ("mixnet-m", {"se_channels": 0}, "squeeze-excite absent"),
    ],
)
def test_a_near_miss_names_the_block_and_what_differs(
    name: str, change: dict[str, Any], problem: str
) -> None:
    blocks = changed(name, 4, **change)
    nearest = "mixnet-m" if name == "mixnet-l" else name
    with pytest.raises(WeightsError, match=rf"nearest is {nearest}: blocks\.4: {problem}$"):
        told(architecture(name), blocks)
    with pytest.raises(WeightsError, match=rf"^not {name}: blocks\.4: {problem}$"):
        told(architecture(name), blocks, expected=name)


def test_squeeze_excite_where_none_belongs_is_a_near_miss() -> None:
    with pytest.raises(WeightsError, match=r"blocks\.1: squeeze-excite present"):
        told(architecture("mixnet-s"), changed("mixnet-s", 1, se_channels=4))


def test_a_missing_block_is_counted() -> None:
    arch = architecture("mixnet-s")
    blocks = [observed(block) for block in arch.blocks][:-1]
    with pytest.raises(WeightsError, match="15 blocks, expected "):
        told(arch, blocks)


def test_many_differences_make_a_short_message() -> None:
    blocks = [observed(block) for block in architecture("mixnet-s").blocks] + [
        observed(block) for block in architecture("mixnet-m").blocks[16:]
    ]
    with pytest.raises(WeightsError, match="nearest is ") as caught:
        told(architecture("mixnet-s"), blocks)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("found", "expected", "problem"),
    [
        ("mixnet-s", "mixnet-m", "not mixnet-m: 16 blocks, expected 19"),
        (
            "mixnet-l",
            "mixnet-m",
            "expected mixnet-m, found mixnet-l: stem_channels 32, expected 24",
        ),
        ("mixnet-s", "mixnet-q", "expected mixnet-q, found mixnet-s: known: mixnet-s, mixnet-m"),
    ],
)
def test_another_architecture_than_the_expected_one_is_an_error(
    found: str, expected: str, problem: str
) -> None:
    with pytest.raises(WeightsError, match=problem):
        told(architecture(found), expected=expected)


def test_a_width_inside_that_differs_from_the_expected_is_named() -> None:
    blocks = changed("mixnet-s", 15, out_channels=208)
    with pytest.raises(WeightsError, match=r"blocks\.15: 208 channels out, expected 200"):
        told(architecture("mixnet-s"), blocks, expected="mixnet-s")
    blocks = changed("mixnet-s", 0, in_channels=24)
    with pytest.raises(WeightsError, match=r"blocks\.0: 24 channels in, expected 16"):
        told(architecture("mixnet-s"), blocks, expected="mixnet-s")
    blocks = changed("mixnet-s", 3, se_channels=13)
    with pytest.raises(
        WeightsError, match=r"blocks\.3: 13 channels inside squeeze-ex.*, expec.* 12"
    ):
        told(architecture("mixnet-s"), blocks, expected="mixnet-s")


@given(st.integers(2, 1000), st.data())
def test_any_width_of_squeeze_excite_is_kept_through_storage(
    in_channels: int, data: st.DataObject
) -> None:
    reduced = data.draw(st.integers(1, in_channels))
    blocks = changed("mixnet-s", 3, se_channels=reduced, in_channels=in_channels)
    blocks[2] = replace(blocks[2], out_channels=in_channels)
    arch = told(architecture("mixnet-s"), blocks)
    again = Architecture.from_json(arch.to_json())
    assert again == arch
    operator = build(again, DIALECTS["timm"])["blocks.3.se"].operator
    assert isinstance(operator, SqueezeExcite) and operator.reduced_channels == reduced


def test_a_squeeze_excite_wider_than_its_block_is_an_error() -> None:
    blocks = changed("mixnet-s", 3, se_channels=25)
    with pytest.raises(WeightsError, match=r"blocks\.3: .*25"):
        told(architecture("mixnet-s"), blocks)
