"""Loading the model that a command names, with progress if it has to be fetched first."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from minimix.cli.fetching import fetch_progress

if TYPE_CHECKING:
    from minimix.engine import EngineName
    from minimix.model import Model


def load_model(arguments: argparse.Namespace, engine: EngineName, threads: int | None) -> Model:
    """Load what --model, --weights, --size and --offline say; -q silences the progress."""
    from minimix.model import load  # brings NumPy and h5py

    with fetch_progress(quiet=getattr(arguments, "quiet", False)) as progress:
        return load(
            arguments.model,
            weights=arguments.weights,
            engine=engine,
            size=arguments.size,
            threads=threads,
            offline=arguments.offline,
            progress=progress,
        )
