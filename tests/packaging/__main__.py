"""``python -m tests.packaging``: build both archives, and try the wheel where no checkout is.

Needs hatchling and mypy, and pip a network or a folder of wheels.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.packaging.archives import PackagingError, build, check, check_equal, rebuilt, sha256
from tests.packaging.components import ROOT
from tests.packaging.trial import tried

FAILED = 5
"""The exit code of a check that did not hold."""


def main(arguments: list[str]) -> int:
    """Print what holds, line by line; 5 at the first thing that does not."""
    parser = argparse.ArgumentParser(prog="python -m tests.packaging", description=__doc__)
    parser.add_argument("--out", type=Path, help="folder in which the archives stay")
    parser.add_argument(
        "--python", action="append", help="an interpreter to try the wheel with; may be repeated"
    )
    options = parser.parse_args(arguments)
    with TemporaryDirectory(prefix="minimix-packaging-") as name:
        scratch = Path(name)
        try:
            archives = build(ROOT, options.out or scratch / "dist")
            check(archives)
            for path in (archives.sdist, archives.wheel):
                print(f"{path.name}: {path.stat().st_size:,} bytes, sha256 {sha256(path)}")
            check_equal(archives.wheel, rebuilt(archives.sdist, scratch / "sdist").wheel)
            print("ok: the sdist builds the same wheel, to the byte")
            for n, python in enumerate(options.python or [sys.executable]):
                for worked in tried(archives.wheel, scratch / str(n), python):
                    print(f"ok: {worked}", flush=True)
        except PackagingError as error:
            print(f"failed: {error}", file=sys.stderr)
            return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
