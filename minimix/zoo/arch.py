"""The block grammar of the original MixNet code: ``r3_k3.5_a1.1_p1.1_s11_e6_i40_o40_se0.5_sw``.

| token | meaning | token | meaning |
|---|---|---|---|
| ``r3`` | repeats | ``i40`` | input channels |
| ``k3.5`` | kernel sizes, one per MixConv group | ``o40`` | output channels |
| ``a1.1`` | 1x1 kernels, one per group of the expansion | ``se0.5`` | squeeze-excite ratio |
| ``p1.1`` | the same for the projection | ``sw`` | swish in place of ReLU |
| ``s22`` | stride, rows and columns | ``noskip`` | no residual connection |
| ``e6`` | expansion of the channels | ``dilated`` | 3x3 kernels, dilated |

Tokens stand in this order; those from ``se`` on are optional.
Source: ``mixnet/mixnet_builder.py``, class ``MixnetDecoder``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from minimix.errors import GraphError, brief


@dataclass(frozen=True)
class BlockSpec:
    """One line of the grammar: a block, repeated.  Only the first repeat strides and widens."""

    kernel_sizes: tuple[int, ...]
    expand_groups: int
    project_groups: int
    stride: int
    expansion: int
    in_channels: int
    out_channels: int
    repeats: int = 1
    se_ratio: float = 0.0
    swish: bool = False
    skip: bool = True
    dilated: bool = False

    @property
    def expanded_channels(self) -> int:
        """Channels between expansion and projection."""
        return self.in_channels * self.expansion

    @property
    def has_residual(self) -> bool:
        """Whether the input is added to the output: same size, same channels, not forbidden."""
        return self.skip and self.stride == 1 and self.in_channels == self.out_channels

    def unrolled(self) -> tuple[BlockSpec, ...]:
        """The repeats one by one, each with ``repeats=1``."""
        first = replace(self, repeats=1)
        rest = replace(first, in_channels=self.out_channels, stride=1)
        return (first,) + (rest,) * (self.repeats - 1)


_NUMBER = "[1-9][0-9]{0,5}"
_GRAMMAR: tuple[tuple[str, str, bool], ...] = (
    ("r", _NUMBER, True),
    ("k", rf"{_NUMBER}(?:\.{_NUMBER})*", True),
    ("a", r"1(?:\.1)*", True),
    ("p", r"1(?:\.1)*", True),
    ("s", r"([1-9])\1", True),
    ("e", _NUMBER, True),
    ("i", _NUMBER, True),
    ("o", _NUMBER, True),
    ("se", r"0\.[0-9]{0,11}[1-9]|1", False),
    ("noskip", "", False),
    ("sw", "", False),
    ("dilated", "", False),
)
"""(token, pattern of its value, required), in order."""


def _tokens(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    shown = brief(repr(text), 200)
    parts = text.split("_")
    names = [name for name, _, _ in _GRAMMAR]
    for name, pattern, required in _GRAMMAR:
        # "s22" is a stride and "se0.5" is not: a token is its name and a value that fits.
        if parts and re.fullmatch(f"{name}(?:{pattern})", parts[0]):
            values[name] = parts.pop(0)[len(name) :]
        elif required:
            found = brief(repr(parts[0]), 80) if parts else "the end"
            raise GraphError(
                f"block {shown}: expected {name} ({pattern}), found {found}; "
                f"tokens in order: {' '.join(names)}"
            )
    if parts:
        raise GraphError(
            f"block {shown}: {brief(repr(parts[0]), 80)} is unknown, repeated or out of place; "
            f"tokens in order: {' '.join(names)}"
        )
    return values


def parse_block(text: str) -> BlockSpec:
    """Read one block string; ``format_block`` writes it back unchanged.

    Raises:
        GraphError: names the token that is unknown, malformed or out of order.

    >>> parse_block("r1_k3.5_a1_p1.1_s22_e6_i24_o40_se0.5_sw").kernel_sizes
    (3, 5)
    """
    values = _tokens(text)
    return BlockSpec(
        kernel_sizes=tuple(int(k) for k in values["k"].split(".")),
        expand_groups=len(values["a"].split(".")),
        project_groups=len(values["p"].split(".")),
        stride=int(values["s"][0]),
        expansion=int(values["e"]),
        in_channels=int(values["i"]),
        out_channels=int(values["o"]),
        repeats=int(values["r"]),
        se_ratio=float(values.get("se", 0.0)),
        swish="sw" in values,
        skip="noskip" not in values,
        dilated="dilated" in values,
    )


def format_block(block: BlockSpec) -> str:
    """Write one block as the grammar spells it.

    >>> format_block(parse_block("r3_k3.5_a1.1_p1.1_s11_e6_i40_o40_se0.5_sw"))
    'r3_k3.5_a1.1_p1.1_s11_e6_i40_o40_se0.5_sw'
    """
    tokens = [
        f"r{block.repeats}",
        "k" + ".".join(str(k) for k in block.kernel_sizes),
        "a" + ".".join("1" * block.expand_groups),
        "p" + ".".join("1" * block.project_groups),
        f"s{block.stride}{block.stride}",
        f"e{block.expansion}",
        f"i{block.in_channels}",
        f"o{block.out_channels}",
    ]
    if block.se_ratio:
        # Fixed notation: 5e-05 is no token.
        tokens.append("se" + f"{block.se_ratio:.12f}".rstrip("0").rstrip("."))
    tokens += [
        name
        for name, present in (
            ("noskip", not block.skip),
            ("sw", block.swish),
            ("dilated", block.dilated),
        )
        if present
    ]
    return "_".join(tokens)
