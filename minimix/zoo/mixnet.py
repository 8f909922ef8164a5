"""The MixNet families as data, and how an architecture becomes a graph.

Source: Tan & Le, "MixConv: Mixed Depthwise Convolutional Kernels", BMVC 2019, figure 4 and
section 4.1; ``mixnet_builder.py`` of the original code; ``efficientnet.py`` of timm for xl, xxl.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from minimix.dialect import SMALLEST_SIZE, Dialect
from minimix.errors import GraphError, WeightsError
from minimix.graph import Graph, Node
from minimix.operators import (
    Activation,
    ActivationName,
    Add,
    BatchNorm,
    Conv,
    GlobalAveragePool,
    Input,
    Linear,
    MixConv,
    Operator,
    Pointwise,
    SqueezeExcite,
)
from minimix.zoo.arch import BlockSpec, format_block, parse_block

MAX_BLOCKS = 1000
"""Blocks of an architecture that is read from a file; the largest MixNet has 24."""

MAX_CHANNELS = 1_000_000
"""Channels, or classes, of an architecture that is read from a file."""


@dataclass(frozen=True)
class Architecture:
    """Everything that determines a graph's shapes; stored in model files as block strings."""

    name: str
    stem_channels: int
    head_channels: int
    num_classes: int
    blocks: tuple[BlockSpec, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types; ``Architecture.from_json`` reads them back."""
        return {
            "name": self.name,
            "stem_channels": self.stem_channels,
            "head_channels": self.head_channels,
            "num_classes": self.num_classes,
            "blocks": [format_block(block) for block in self.blocks],
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Architecture:
        """Build from ``to_json``'s fields.

        Raises:
            WeightsError: a field is missing, unknown, or a block string does not parse.
        """
        numbers = ("stem_channels", "head_channels", "num_classes")
        if not isinstance(fields, dict) or set(fields) != {"name", "blocks", *numbers}:
            found = ", ".join(map(str, fields)) if isinstance(fields, dict) else repr(fields)
            raise WeightsError(
                f"architecture: expected name, blocks, {', '.join(numbers)}; found {found}"
            )
        for field in numbers:
            if type(fields[field]) is not int or not 0 < fields[field] <= MAX_CHANNELS:
                raise WeightsError(
                    f"architecture: {field} is {fields[field]!r}; expected a whole number from 1 "
                    f"to {MAX_CHANNELS}"
                )
        name, texts = fields["name"], fields["blocks"]
        if not isinstance(name, str):
            raise WeightsError(f"architecture: name is {name!r}; expected text")
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise WeightsError("architecture: blocks are not a list of block strings")
        try:
            lines = [parse_block(text) for text in texts]
        except GraphError as error:
            raise WeightsError(f"architecture: {error}") from error
        if sum(line.repeats for line in lines) > MAX_BLOCKS:
            raise WeightsError(f"architecture: more than {MAX_BLOCKS} blocks")
        blocks = tuple(block for line in lines for block in line.unrolled())
        return cls(name=name, blocks=blocks, **{field: fields[field] for field in numbers})


_S_STAGES = (
    ("r1_k3_a1_p1_s11_e1_i16_o16",),
    ("r1_k3_a1.1_p1.1_s22_e6_i16_o24", "r1_k3_a1.1_p1.1_s11_e3_i24_o24"),
    ("r1_k3.5.7_a1_p1_s22_e6_i24_o40_se0.5_sw", "r3_k3.5_a1.1_p1.1_s11_e6_i40_o40_se0.5_sw"),
    ("r1_k3.5.7_a1_p1.1_s22_e6_i40_o80_se0.25_sw", "r2_k3.5_a1_p1.1_s11_e6_i80_o80_se0.25_sw"),
    (
        "r1_k3.5.7_a1.1_p1.1_s11_e6_i80_o120_se0.5_sw",
        "r2_k3.5.7.9_a1.1_p1.1_s11_e3_i120_o120_se0.5_sw",
    ),
    (
        "r1_k3.5.7.9.11_a1_p1_s22_e6_i120_o200_se0.5_sw",
        "r2_k3.5.7.9_a1_p1.1_s11_e6_i200_o200_se0.5_sw",
    ),
)
_M_STAGES = (
    ("r1_k3_a1_p1_s11_e1_i24_o24",),
    ("r1_k3.5.7_a1.1_p1.1_s22_e6_i24_o32", "r1_k3_a1.1_p1.1_s11_e3_i32_o32"),
    ("r1_k3.5.7.9_a1_p1_s22_e6_i32_o40_se0.5_sw", "r3_k3.5_a1.1_p1.1_s11_e6_i40_o40_se0.5_sw"),
    (
        "r1_k3.5.7_a1_p1_s22_e6_i40_o80_se0.25_sw",
        "r3_k3.5.7.9_a1.1_p1.1_s11_e6_i80_o80_se0.25_sw",
    ),
    ("r1_k3_a1_p1_s11_e6_i80_o120_se0.5_sw", "r3_k3.5.7.9_a1.1_p1.1_s11_e3_i120_o120_se0.5_sw"),
    (
        "r1_k3.5.7.9_a1_p1_s22_e6_i120_o200_se0.5_sw",
        "r3_k3.5.7.9_a1_p1.1_s11_e6_i200_o200_se0.5_sw",
    ),
)


@dataclass(frozen=True)
class Family:
    """One published (or embedded) variant: base stages and the two multipliers.

    Attributes:
        paper_macs: what the paper's table 2 prints, in multiply-adds; it counts otherwise.
        size: the input size it is trained at, in pixels.
    """

    stages: tuple[tuple[str, ...], ...]
    stem_channels: int
    channel_multiplier: float = 1.0
    depth_multiplier: float = 1.0
    head_channels: int = 1536
    num_classes: int = 1000
    size: int = 224
    paper_macs: int | None = None


FAMILIES: dict[str, Family] = {
    "mixnet-s": Family(_S_STAGES, 16, paper_macs=256_000_000),
    "mixnet-m": Family(_M_STAGES, 24, paper_macs=360_000_000),
    "mixnet-l": Family(_M_STAGES, 24, 1.3, paper_macs=565_000_000),
    "mixnet-xl": Family(_M_STAGES, 24, 1.6, 1.2),
    "mixnet-xxl": Family(_M_STAGES, 24, 2.4, 1.3),
    "mixnet-pocket": Family(_S_STAGES, 16, 0.5, head_channels=768, num_classes=40, size=96),
}
"""All variants by name.  xl and xxl are timm's; pocket is minimix's embedded model."""


def round_channels(channels: int, multiplier: float, divisor: int = 8) -> int:
    """Channels times multiplier, to the nearest multiple of 8, never below 90 % of the exact value.

    Source: ``round_filters`` of the original code; timm's ``make_divisible`` agrees.

    >>> round_channels(24, 1.3), round_channels(24, 0.5)
    (32, 16)
    """
    exact = channels * multiplier
    rounded = max(divisor, int(exact + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * exact else rounded


def scale_repeats(repeats: tuple[int, ...], multiplier: float) -> tuple[int, ...]:
    """Repeats of one stage's lines, scaled together and shared out from the last to the first.

    Source: timm, ``_scale_stage_depth`` with ``depth_trunc="round"``.

    >>> scale_repeats((1, 3), 1.2)
    (1, 4)
    """
    left, scaled_left = sum(repeats), max(1, round(sum(repeats) * multiplier))
    scaled: list[int] = []
    for repeat in reversed(repeats):
        count = max(1, round(repeat / left * scaled_left))
        scaled.insert(0, count)
        left, scaled_left = left - repeat, scaled_left - count
    return tuple(scaled)


def architecture(name: str, *, num_classes: int | None = None) -> Architecture:
    """Return a family's architecture, its blocks unrolled.

    Raises:
        GraphError: the name is not a family; the message lists them.

    >>> len(architecture("mixnet-s").blocks), len(architecture("mixnet-xl").blocks)
    (16, 23)
    """
    if name not in FAMILIES:
        raise GraphError(f"unknown architecture {name!r}; known: {', '.join(FAMILIES)}")
    family = FAMILIES[name]
    lines: list[BlockSpec] = []
    for stage in family.stages:
        blocks = [parse_block(text) for text in stage]
        repeats = scale_repeats(tuple(b.repeats for b in blocks), family.depth_multiplier)
        lines += [replace(b, repeats=r) for b, r in zip(blocks, repeats, strict=True)]
    width = family.channel_multiplier
    scaled = [
        replace(
            block,
            in_channels=round_channels(block.in_channels, width),
            out_channels=round_channels(block.out_channels, width),
        )
        for block in lines
    ]
    return Architecture(
        name=name,
        stem_channels=round_channels(family.stem_channels, width),
        head_channels=family.head_channels,
        num_classes=family.num_classes if num_classes is None else num_classes,
        blocks=tuple(block for line in scaled for block in line.unrolled()),
    )


class _Builder:
    """Appends nodes one after another; each convolution brings its batch norm along."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.nodes = [Node("image", Input(channels=3, smallest=SMALLEST_SIZE))]

    @property
    def last(self) -> str:
        return self.nodes[-1].name

    def add(self, name: str, operator: Operator, *more_inputs: str) -> None:
        self.nodes.append(Node(name, operator, (self.last, *more_inputs)))

    def add_convolution(
        self, name: str, operator: Operator, activation: ActivationName | None
    ) -> None:
        self.add(name, operator)
        if self.dialect.batch_norm_eps is not None:
            self.add(f"{name}_bn", BatchNorm(self.dialect.batch_norm_eps))
        if activation is not None:
            self.add(f"{name}_act", Activation(activation))


def _add_block(builder: _Builder, path: str, block: BlockSpec) -> None:
    dialect, bias = builder.dialect, builder.dialect.is_folded
    activation: ActivationName = "swish" if block.swish else "relu"
    block_input = builder.last
    if block.expansion != 1:
        expand = Pointwise(block.expanded_channels, block.expand_groups, bias)
        builder.add_convolution(f"{path}.expand", expand, activation)
    kernel_sizes, dilations = block.kernel_sizes, (1,) * len(block.kernel_sizes)
    if block.dilated and block.stride == 1:
        # The original code simulates a K x K kernel by a 3 x 3 one, dilated (K - 1) // 2 times,
        # and only where nothing strides: custom_layers.py, MixConv.
        wrong = [k for k in kernel_sizes if k < 3 or k % 2 == 0]
        if wrong:
            raise GraphError(
                f"{path}: a dilated 3x3 kernel cannot simulate {wrong[0]}x{wrong[0]}; dilated "
                "blocks take odd kernel sizes from 3 up"
            )
        dilations = tuple((k - 1) // 2 for k in kernel_sizes)
        kernel_sizes = (3,) * len(kernel_sizes)
    mixconv = MixConv(kernel_sizes, block.stride, dialect.padding, dilations, bias)
    builder.add_convolution(f"{path}.mixconv", mixconv, activation)
    if block.se_ratio:
        reduced = max(1, int(block.in_channels * block.se_ratio))
        inner: ActivationName = "relu" if dialect.se_activation == "relu" else activation
        builder.add(f"{path}.se", SqueezeExcite(reduced, inner))
    project = Pointwise(block.out_channels, block.project_groups, bias)
    builder.add_convolution(f"{path}.project", project, None)
    if block.has_residual:
        builder.add(f"{path}.add", Add(), block_input)


def build(arch: Architecture, dialect: Dialect) -> Graph:
    """Return the graph of an architecture as a dialect reads it.

    Stages are ``stem``, ``blocks.0`` and on, ``head``; then ``pool`` and ``classifier``, whose
    (N, num_classes) logits are the output.  With a folded dialect the convolutions have biases
    and no batch norm follows them.

    Raises:
        GraphError: the blocks do not fit together; the message names the node.
    """
    builder = _Builder(dialect)
    stem = Conv(arch.stem_channels, 3, 2, dialect.padding, dialect.is_folded)
    builder.add_convolution("stem.conv", stem, "relu")
    channels = arch.stem_channels
    for n, block in enumerate(arch.blocks):
        if block.in_channels != channels:
            raise GraphError(
                f"blocks.{n}: takes {block.in_channels} channels, but {channels} arrive"
            )
        _add_block(builder, f"blocks.{n}", block)
        channels = block.out_channels
    head = Pointwise(arch.head_channels, 1, dialect.is_folded)
    builder.add_convolution("head.conv", head, "relu")
    builder.add("pool", GlobalAveragePool())
    builder.add("classifier", Linear(arch.num_classes))
    return Graph(arch.name, tuple(builder.nodes), ("classifier",))
