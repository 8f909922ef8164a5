"""``python -m tests.packaging.sizes WHEEL onnxruntime 'torch timm'``: what pip fetches and writes.

Each argument is one installation, of one or several requirements.  Needs pip's network; several
gigabytes go through the temporary folder where torch is asked for.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory


def sizes_of(requirements: list[str], scratch: Path) -> tuple[int, int, int]:
    """(archives, their bytes, bytes of all files when installed, bytecode left out)."""
    archives, target = scratch / "archives", scratch / "target"
    _pip("download", "--dest", str(archives), *requirements)
    offline = ("--no-index", "--find-links", str(archives))
    _pip("install", *offline, "--no-compile", "--target", str(target), *requirements)
    found = sorted(archives.iterdir())
    return len(found), _bytes_of(found), _bytes_of(target.rglob("*"))


def _pip(*arguments: str) -> None:
    command = (sys.executable, "-m", "pip", *arguments, "--quiet", "--no-cache-dir")
    kept = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run(command, env=kept, check=True, stdout=subprocess.DEVNULL)


def _bytes_of(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file() and not path.is_symlink())


def main(arguments: list[str]) -> None:
    """Print a table."""
    print("| pip install | archives | download, MB | on disk, MB |\n|---|--:|--:|--:|", flush=True)
    for asked in arguments:
        with TemporaryDirectory(prefix="minimix-sizes-") as scratch:
            count, fetched, written = sizes_of(asked.split(), Path(scratch))
        name = Path(asked).name
        print(f"| {name} | {count} | {fetched / 1e6:.1f} | {written / 1e6:.1f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
