"""Build the sdist and the wheel, and hold what is in them against the tree that they are of."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.packaging.components import ROOT

PACKAGES = ("minimix", "weights_tools")
AT_THE_TOP = ("CHANGELOG.md", "LICENSE", "README.md", "SECURITY.md", "pyproject.toml")


class PackagingError(Exception):
    """Something is not shipped as it should be."""


@dataclass(frozen=True)
class Archives:
    """What a release consists of."""

    sdist: Path
    wheel: Path


def build(source: Path, out: Path) -> Archives:
    """Build both; hatchling has to be installed."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PackagingError(f"hatchling build: {done.stderr.strip() or done.stdout.strip()}")
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return Archives(sdist, wheel)


def rebuilt(sdist: Path, folder: Path) -> Archives:
    """Unpack an sdist and build from it alone."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    return build(source, folder / "rebuilt")


def check(archives: Archives, source: Path = ROOT) -> None:
    """Check that everything of the packages is in the wheel, nothing else is, and the sdist's top.

    Raises:
        PackagingError: naming what is missing or too much.
    """
    expected = {
        str(path.relative_to(source)): path.read_bytes()
        for package in PACKAGES
        for path in (source / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    found = _contents(archives.wheel)
    facts = {name for name in found if ".dist-info/" in name}
    _compare(archives.wheel, expected, {n: d for n, d in found.items() if n not in facts})
    with tarfile.open(archives.sdist) as archive:
        listed = {name.partition("/")[2] for name in archive.getnames()}
    missing = {*AT_THE_TOP, *expected, "tests/packaging/archives.py", "tutorials/build.py"} - listed
    if missing:
        raise PackagingError(f"{archives.sdist.name}: without {sorted(missing)[:5]}")


def check_equal(one: Path, other: Path) -> None:
    """Check that two wheels are the same to the byte.

    Raises:
        PackagingError: naming the first files that differ.
    """
    _compare(other, _contents(one), _contents(other))
    if sha256(one) != sha256(other):
        raise PackagingError(f"{other}: the same files, packed in another way than {one}")


def sha256(path: Path) -> str:
    """Checksum of a file, 64 digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _compare(wheel: Path, expected: dict[str, bytes], found: dict[str, bytes]) -> None:
    names = expected.keys() | found.keys()
    others = sorted(name for name in names if expected.get(name) != found.get(name))
    if others:
        raise PackagingError(f"{wheel.name}: missing, left over or different: {others[:5]}")
