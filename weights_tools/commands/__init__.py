"""The commands of ``python -m weights_tools``, a file each; only here is printed."""

from __future__ import annotations

import argparse

from minimix.cli.parser import CommandParser
from weights_tools.commands import convert, diff, export, fetch, inspect, verify

_DESCRIPTION = """\
Released checkpoints in, minimix model files out.  No framework is needed, and nothing in a file is
executed.

  python -m weights_tools fetch mixnet-s --weights tf -o mixnet-s.tar.gz
  python -m weights_tools inspect mixnet-s.tar.gz
  python -m weights_tools convert mixnet-s.tar.gz -o mixnet-s.h5
  python -m weights_tools verify mixnet-s.h5 --against mixnet-s_ref.npz
  python -m weights_tools diff mixnet-s.h5 tf_mixnet_s-89d3354b.pth
  python -m weights_tools export mixnet-s.h5 -o tf_mixnet_s.safetensors"""


def build_parser() -> CommandParser:
    """Return the parser of all commands; each adds itself."""
    parser = CommandParser(
        prog="python -m weights_tools",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=_DESCRIPTION,
        epilog="python -m weights_tools COMMAND --help says more about a command.",
    )
    parser.nest()
    for module in (fetch, inspect, convert, verify, diff, export):
        module.add_command(parser)
    return parser
