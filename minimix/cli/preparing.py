"""How pictures become a network's input: the options that decide it, and a note that says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minimix.cli.parser import CommandParser, add_engine, add_exif, positive_int

if TYPE_CHECKING:
    from minimix.images import Exif
    from minimix.model import Model


def add_preparing(parser: CommandParser, exif: Exif, why: str = "") -> None:
    """Add --engine, --exif with its default (and the reason for it), --batch and -v."""
    add_engine(parser)
    add_exif(parser, exif, why)
    parser.add_argument(
        "--batch",
        type=positive_int,
        default=16,
        metavar="N",
        help="pictures computed together (default: 16)",
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="say how pictures are prepared"
    )


def describe_pipeline(model: Model, exif: Exif) -> str:
    """Which part of a picture is seen, at which size, in which numbers; two lines."""
    p = model.pipeline
    how = {
        "short-side": f"short side to {p.short_side} px, centre {p.size} px",
        "short-side-floor": f"short side to {p.short_side} px, centre {p.size} px, rounded down",
        "center-square": f"centre square of {p.crop_fraction} of the short side, to {p.size} px",
        "center-fraction": f"centre {p.crop_fraction} of each side, to {p.size} x {p.size} px",
    }[p.crop]
    turned = "applied" if exif == "apply" else "ignored"
    return (
        f"pipeline {p.name}: {how}, {p.resize}; EXIF orientation {turned}\n"
        f"  {p.channels} in 0..{p.range:g}, mean {p.mean}, std {p.std}"
    )
