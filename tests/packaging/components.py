"""What ``pip install minimix`` brings along, by the metadata of what is installed; no network."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]

_CLASSIFIER = "License :: OSI Approved :: "
_LONGEST_NAME = 60
"""Characters of a licence's name; some projects put its whole text into that field."""


@dataclass(frozen=True)
class Component:
    """One distribution.

    Attributes:
        license: as its metadata says; an SPDX expression where ``is_expression``.
        requires: names of the components that it needs here.
    """

    name: str
    version: str
    license: str
    is_expression: bool
    requires: tuple[str, ...]


def ours(root: Path = ROOT) -> Component:
    """Minimix itself, by its pyproject.toml."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    needed = _needed(project["dependencies"])
    return Component(project["name"], project["version"], project["license"], True, needed)


def closure(names: Iterable[str]) -> dict[str, Component]:
    """Names -> all that they need, themselves included, sorted by name.

    Raises:
        SystemExit: one of them is not installed.
    """
    found: dict[str, Component] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = _installed(name)
            waiting += found[name].requires
    return dict(sorted(found.items()))


def _installed(name: str) -> Component:
    try:
        installed = distribution(name)
    except PackageNotFoundError as error:
        raise SystemExit(f"{name}: is not installed here: pip install .") from error
    license_, is_expression = _license(name)
    needed = _needed(installed.requires or ())
    return Component(name, installed.version, license_, is_expression, needed)


def _license(name: str) -> tuple[str, bool]:
    metadata = distribution(name).metadata
    if "License-Expression" in metadata:
        return metadata["License-Expression"], True
    stated = metadata["License"] if "License" in metadata else ""
    if stated and len(stated) <= _LONGEST_NAME:
        return stated, False
    classifiers = metadata.get_all("Classifier") or []
    names = [text.removeprefix(_CLASSIFIER) for text in classifiers if _CLASSIFIER in text]
    return " and ".join(names) or "not stated", False


def _needed(requirements: Iterable[str]) -> tuple[str, ...]:
    """Requirements -> the names of those that hold on this machine, without extras."""
    parsed = map(Requirement, requirements)
    holding = (r for r in parsed if r.marker is None or r.marker.evaluate({"extra": ""}))
    return tuple(sorted({canonicalize_name(r.name) for r in holding}))
