"""Running the command line: in this process, or as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from minimix.cli import main

ROOT = Path(__file__).resolve().parents[1]


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


def run(capsys, *argv, entry=main):
    """Run in this process; the code that it would exit with, and what it wrote."""
    with pytest.raises(SystemExit) as left:
        entry([str(argument) for argument in argv])
    return Outcome(left.value.code, *capsys.readouterr())


def command(*argv):
    return [sys.executable, "-m", "minimix", *map(os.fspath, argv)]


def environment(**changes):
    """The environment of a process that finds minimix and is told nothing else."""
    quiet = {"NO_COLOR", "FORCE_COLOR", "PYTHONUNBUFFERED", "PYTHONIOENCODING", "MINIMIX_OFFLINE"}
    kept = {name: value for name, value in os.environ.items() if name not in quiet}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"} | changes


def spawn(*argv, **options):
    """Run as a process; bytes in, bytes out."""
    options.setdefault("env", environment())
    options.setdefault("stdin", subprocess.DEVNULL if "input" not in options else None)
    return subprocess.run(command(*argv), capture_output=True, timeout=60, check=False, **options)
