"""A folder -> pictures with their classes, or a refusal before any work.

FOLDER/CLASS/....jpg, at any depth below CLASS; the name of the class folder is the label.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minimix.errors import UsageError
from minimix.inputs import PICTURE_ENDINGS, Input, find_inputs
from minimix.workflows.resuming.manifest import LOCK, MANIFEST
from minimix.workflows.wording import counted

FEWEST = 2
"""Pictures of a class: one to learn from, and another to be asked about."""

_SHOWN = 5
_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})


@dataclass(frozen=True)
class Pictures:
    """Pictures to learn from.

    Attributes:
        folder: where they lie, as it was named.
        labels: names of the classes.
        inputs: pictures, class by class.
        classes: index of each picture's class.
        repeated: (a file that is left out, the one of the same class that it equals).
    """

    folder: str
    labels: tuple[str, ...]
    inputs: tuple[Input, ...]
    classes: tuple[int, ...]
    repeated: tuple[tuple[str, str], ...] = ()

    @property
    def counts(self) -> list[int]:
        """Pictures of every class."""
        found = Counter(self.classes)
        return [found[k] for k in range(len(self.labels))]


def gather(folder: Path) -> Pictures:
    """Find the pictures of every class folder.  Links to folders are followed one level down.

    Files with the same bytes are one picture: in one class the first is used; in two classes they
    contradict each other.

    Raises:
        UsageError: there are no class folders, or only one; a class has no pictures or too few;
            pictures lie beside the class folders; one picture has two classes.
    """
    if not folder.is_dir():
        what = "is a file; expected a folder" if folder.exists() else "no such folder; expected one"
        raise UsageError(f"{folder}: {what} with a folder per class")
    names = _class_folders(folder)
    found: list[tuple[Input, int]] = []
    for k, name in enumerate(names):
        found += [(item, k) for item in _pictures_of(folder, name)]
    chosen, repeated = _distinct(folder, found, names)
    inputs, classes = tuple(item for item, _ in chosen), tuple(k for _, k in chosen)
    pictures = Pictures(str(folder), tuple(names), inputs, classes, tuple(repeated))
    few = [f"{names[k]!r}" for k, count in enumerate(pictures.counts) if count < FEWEST]
    if few:
        raise UsageError(
            f"{folder}: a class needs {FEWEST} pictures that differ; {_listed(few)} has one. "
            "Add pictures, or remove the folder"
        )
    return pictures


def _class_folders(folder: Path) -> list[str]:
    """Names of the class folders: by number if all are numbers, else sorted."""
    visible = [path for path in _entries(folder) if not path.name.startswith(".")]
    names = sorted(path.name for path in visible if path.is_dir() and not _is_kept_work(path))
    loose = sorted(
        path.name
        for path in visible
        if path.suffix.lower() in PICTURE_ENDINGS and not path.is_dir()
    )
    if loose:
        folders = (
            f"beside {counted(len(names), 'class folder')}" if names else "and no class folders"
        )
        raise UsageError(
            f"{folder}: {counted(len(loose), 'picture')} (first: {loose[0]}) {folders}; expected "
            f"{folder}/CLASS/PICTURE. Move every picture into the folder of its class"
        )
    if not names:
        raise UsageError(f"{folder}: no class folders; expected {folder}/CLASS/PICTURE")
    _refuse_what_are_no_classes(folder, names)
    if all(name.isascii() and name.isdigit() for name in names):
        # So that the folder 10 is class 10, as whoever validates by index takes it.
        names.sort(key=lambda name: (int(name), name))
    return names


def _is_kept_work(folder: Path) -> bool:
    """Whether it holds what a command keeps until its result, which may lie among the classes."""
    return folder.suffix == ".parts" and any((folder / file).is_file() for file in (MANIFEST, LOCK))


def _refuse_what_are_no_classes(folder: Path, names: list[str]) -> None:
    if {name.casefold() for name in names} <= _SPLITS:
        raise UsageError(
            f"{folder}: {_listed(map(repr, names))} look like parts of a data set, not like "
            f"classes. Name one of them: {folder / names[-1]}"
        )
    if len(names) == 1:
        inner = [path.name for path in _entries(folder / names[0]) if path.is_dir()]
        hint = f" In {folder / names[0]} there are {len(inner)}: name that" if inner[1:] else ""
        raise UsageError(f"{folder}: one class folder ({names[0]!r}); expected two or more.{hint}")
    first: dict[str, str] = {}
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{folder}: {name!r} is no text for a label. Rename it") from None
        folded = " ".join(name.replace("_", " ").split()).casefold()
        if first.setdefault(folded, name) != name:
            raise UsageError(
                f"{folder}: {first[folded]!r} and {name!r} differ only in case, spaces or "
                "underscores. Merge them, or rename one"
            )


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise UsageError(f"{folder}: the folder cannot be listed: {error.strerror}") from error


def _pictures_of(folder: Path, name: str) -> Iterator[Input]:
    for item in find_inputs([os.path.join(folder, name)]):  # noqa: PTH118 - as it was named
        if item.problem:
            raise UsageError(
                f"{item.name}: {item.problem}. Add pictures of the class, or remove the folder"
            )
        yield item


def _distinct(
    folder: Path, found: list[tuple[Input, int]], names: list[str]
) -> tuple[list[tuple[Input, int]], list[tuple[str, str]]]:
    """Pictures without those that repeat an earlier one, and the latter with what they repeat."""
    by_size: dict[int, int] = defaultdict(int)
    sizes = [_size_of(item.name) for item, _ in found]
    for size in sizes:
        by_size[size] += 1
    first: dict[bytes, tuple[str, int]] = {}
    chosen, repeated, contradicting = [], [], []
    for (item, k), size in zip(found, sizes, strict=True):
        # Files of different lengths differ: only the others are read.
        digest = _digest_of(item.name) if size > 0 and by_size[size] > 1 else None
        earlier = None if digest is None else first.setdefault(digest, (item.name, k))
        if earlier is None or earlier[0] == item.name:
            chosen.append((item, k))
        elif earlier[1] == k:
            repeated.append((item.name, earlier[0]))
        else:
            contradicting.append(f"{earlier[0]} = {item.name}")
    if contradicting:
        raise UsageError(
            f"{folder}: {counted(len(contradicting), 'picture lies', 'pictures lie')} in two "
            f"classes, byte by byte the same: {_listed(contradicting)}. Keep each in the class it "
            "shows"
        )
    return chosen, repeated


def _size_of(path: str) -> int:
    """Bytes of a file; -1 if it cannot be looked at, which whoever opens it will say."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 - a name as it was found
    except OSError:
        return -1


def _digest_of(path: str) -> bytes | None:
    """A checksum of a file; None if it cannot be read, which whoever opens it will say."""
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError:
        return None


def _listed(items: Iterator[str] | list[str] | map[str]) -> str:
    several = list(items)
    more = f" and {len(several) - _SHOWN:,} more" if len(several) > _SHOWN else ""
    return ", ".join(several[:_SHOWN]) + more
