"""The networks that minimix knows, as data."""

from minimix.zoo.arch import BlockSpec, format_block, parse_block
from minimix.zoo.mixnet import FAMILIES, Architecture, Family, architecture, build

__all__ = [
    "FAMILIES",
    "Architecture",
    "BlockSpec",
    "Family",
    "architecture",
    "build",
    "format_block",
    "parse_block",
]
