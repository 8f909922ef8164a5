"""Networks that tests of the topology mapping start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from minimix.dialect import DIALECTS, Dialect
from minimix.zoo import Architecture, architecture, build
from tests.graph_checkpoints import Written
from tests.graph_operations import SPELLINGS
from tests.graph_writers import Form, write
from tests.strategies import random_params

FOLDED = {name: DIALECTS[name].folded() for name in ("timm", "timm-tf", "mindcv")}
PLAIN = {what: options[0] for what, options in SPELLINGS.items()}
"""One spelling of everything."""


def narrow(
    family: str, widths: Mapping[int, int], head_channels: int = 8, num_classes: int = 5
) -> Architecture:
    """A family's blocks with other channels: the released width -> the narrow one."""
    released = architecture(family, num_classes=num_classes)
    blocks = tuple(
        replace(
            block, in_channels=widths[block.in_channels], out_channels=widths[block.out_channels]
        )
        for block in released.blocks
    )
    # Of families with the same structure the first lends its name.
    name = f"{family.replace('mixnet-l', 'mixnet-m')}-custom"
    return replace(
        released,
        name=name,
        stem_channels=widths[released.stem_channels],
        head_channels=head_channels,
        blocks=blocks,
    )


@st.composite
def narrow_architectures(draw: st.DrawFn) -> Architecture:
    """A family with narrow widths of its own, and a few classes."""
    family = draw(st.sampled_from(["mixnet-s", "mixnet-m", "mixnet-l", "mixnet-xl"]))
    released = architecture(family)
    channels = {released.stem_channels} | {block.out_channels for block in released.blocks}
    widths = {width: draw(st.integers(2, 9)) for width in sorted(channels)}
    return narrow(family, widths, draw(st.integers(1, 12)), draw(st.integers(1, 9)))


NARROW = narrow("mixnet-s", {16: 4, 24: 6, 40: 8, 80: 10, 120: 12, 200: 14})
"""A mixnet-s in which every width of the release has its own."""


def plain(
    arch: Architecture = NARROW,
    dialect: Dialect = FOLDED["timm-tf"],
    seed: int = 0,
    **fields: Any,
) -> Written:
    """A network spelled in one way, for tests to change.

    Args:
        fields: those of ``Form``, and spellings.
    """
    spelled = {what: fields.pop(what) for what in SPELLINGS if what in fields}
    params = random_params(build(arch, dialect), seed)  # type: ignore[no-untyped-call]
    return write(arch, dialect, params, Form(**fields), seed=seed, fixed=PLAIN | spelled)
