"""``python -m weights_tools``: fetch, inspect, convert, verify, diff, export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from minimix.cli import run_parser
from weights_tools.commands import build_parser


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit; the codes are minimix's."""
    run_parser(build_parser, argv)


if __name__ == "__main__":
    main()
