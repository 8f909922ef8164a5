"""``minimix warmup``: compile the kernels of a model ahead of its first picture."""

from __future__ import annotations

import argparse
import time

from minimix.cli import output
from minimix.cli.loading import load_model
from minimix.cli.parser import CommandParser, add_model, add_threads
from minimix.cli.progress import compilation_bar

_EXAMPLES = """
minimix warmup                            for the embedded model
minimix warmup --model mixnet-s.h5 --size 256
"""


def add_command(parser: CommandParser) -> None:
    """Add ``warmup`` to the parser."""
    command = parser.add_command(
        "warmup",
        "[options]",
        "compile a model's kernels into the cache",
        _EXAMPLES,
        group="MANAGE",
    )
    add_model(command)
    add_threads(command)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compile what is missing; 0."""
    import numpy as np

    from minimix.cachedir import cache_folder

    model = load_model(arguments, "compiled", arguments.threads)
    started = time.perf_counter()
    with compilation_bar():
        model.prepare()
        model(np.zeros((1, model.size, model.size, 3), np.float32))
    elapsed_s = time.perf_counter() - started
    output.note(
        f"{model.name} at {model.size} px is ready after {elapsed_s:.1f} s; kernels are kept in "
        f"{cache_folder()}"
    )
    return 0
