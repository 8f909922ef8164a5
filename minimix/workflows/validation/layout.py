"""A data set's layout -> every picture with its true class, or a refusal before any work.

FOLDER/CLASS/....jpg                  class folders, named by synset, index or name
FOLDER/....jpg  and --labels FILE     flat; see ``minimix.workflows.validation.labels``
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from minimix.errors import UsageError
from minimix.inputs import PICTURE_ENDINGS
from minimix.workflows.validation.classes import Classes, Labelled, Layout, resolve
from minimix.workflows.validation.labels import check_there, labelled_layout
from minimix.workflows.wording import counted

_LABEL_FILES = (
    "val.txt",
    "labels.txt",
    "labels.csv",
    "LOC_val_solution.csv",
    "ILSVRC2012_validation_ground_truth.txt",
)


@dataclass(frozen=True)
class DataSet:
    """Pictures whose classes a folder or a file of labels tells.  Made by ``look``.

    Attributes:
        pictures: paths from the folder on.
    """

    folder: Path
    pictures: tuple[str, ...]
    labels: Path | None
    devkit_map: Path | None

    def layout(self, classes: Classes) -> Layout:
        """Find every picture's true class.

        Raises:
            UsageError: the layout is wrong or ambiguous; the message says why, and what to do.
        """
        if self.labels is None:
            return _class_folders(self.folder, _by_folder(self.pictures)[1], classes)
        pictures = list(self.pictures)
        return labelled_layout(self.folder, pictures, classes, self.labels, self.devkit_map)


def look(folder: Path, labels: Path | None = None, devkit_map: Path | None = None) -> DataSet:
    """List a data set, and refuse what is wrong whatever the model's classes are.

    Args:
        folder: the data set.
        labels: a file of labels; without one, the pictures lie in class folders.
        devkit_map: what the ids of ImageNet's devkit mean, one "id synset" a line.

    Raises:
        UsageError: there are no pictures, or it is unclear where their classes stand.
    """
    if not folder.is_dir():
        found = (
            "is a file; expected a folder" if folder.exists() else "no such folder; expected one"
        )
        raise UsageError(f"{folder}: {found} of pictures")
    if labels is None and devkit_map is not None:
        raise UsageError("--devkit-map says what the ids of a label file mean; give --labels too")
    for file in filter(None, (labels, devkit_map)):
        check_there(file)
    data_set = DataSet(folder, tuple(_pictures(folder)), labels, devkit_map)
    if labels is None:
        _refuse_unlabelled(folder, *_by_folder(data_set.pictures))
    elif not data_set.pictures:
        raise UsageError(f"{folder}: no pictures")
    return data_set


def recognise(
    folder: Path, classes: Classes, labels: Path | None = None, devkit_map: Path | None = None
) -> Layout:
    """Find every picture's true class: ``look``, then ``DataSet.layout``.

    Raises:
        UsageError: the layout is wrong or ambiguous; the message says why, and what to do.
    """
    return look(folder, labels, devkit_map).layout(classes)


def _refuse_unlabelled(folder: Path, loose: list[str], pictures: Collection[str]) -> None:
    if loose and pictures:
        raise UsageError(
            f"{folder}: {counted(len(loose), 'picture')} (first: {loose[0]}) beside "
            f"{counted(len(pictures), 'folder')} with pictures (first: {min(pictures)!r}); it is "
            "unclear which class is theirs. Move them into a class folder or away, or give "
            "--labels FILE"
        )
    if loose:
        raise UsageError(
            f"{folder}: {counted(len(loose), 'flat file')} and no labels; give --labels "
            f"{_label_file_near(folder)}"
        )
    if not pictures:
        raise UsageError(f"{folder}: no pictures; expected class folders, or files and --labels")


def _class_folders(folder: Path, pictures: dict[str, list[str]], classes: Classes) -> Layout:
    try:
        way, index = resolve(pictures, classes, f"{folder}: folders")
    except UsageError as error:
        raise UsageError(f"{error}{_better_folder(folder, classes)}") from None
    _refuse_twins(folder, index, classes)
    labelled = tuple(
        Labelled(os.path.join(folder, path), (index[name],))  # noqa: PTH118 - spelt as given
        for name in sorted(pictures)
        for path in pictures[name]
    )
    return Layout(f"{counted(len(pictures), 'class folder')} named by {way}", labelled)


def _refuse_twins(folder: Path, index: dict[str, int], classes: Classes) -> None:
    first: dict[int, str] = {}
    for name, n in index.items():
        if first.setdefault(n, name) != name:
            raise UsageError(
                f"{folder}: the folders {first[n]!r} and {name!r} are both class {n} "
                f"({classes.names[n]}). Merge them, or rename one"
            )


def _by_folder(pictures: Iterable[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Pictures in the folder itself, and by the folders in it; paths from the folder on."""
    loose: list[str] = []
    below: dict[str, list[str]] = {}
    for path in pictures:
        name, separator, _ = path.partition(os.sep)
        if separator:
            below.setdefault(name, []).append(path)
        else:
            loose.append(path)
    return loose, below


def _pictures(folder: Path) -> Iterator[str]:
    """All pictures below a folder in sorted order, as paths from it on; hidden names left out.

    Raises:
        UsageError: a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise UsageError(f"{error.filename}: the folder cannot be listed: {error.strerror}")

    # Class folders are often links to where the data really is.
    for parent, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inner = os.path.relpath(parent, folder)
        _refuse_loops(inner, folder)
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in PICTURE_ENDINGS:
                yield os.path.normpath(os.path.join(inner, name))  # noqa: PTH118


def _refuse_loops(inner: str, folder: Path) -> None:
    if inner.count(os.sep) > 16:
        raise UsageError(f"{folder}: folders nest without end, as in {inner[:80]}; a link loops?")


def _label_file_near(folder: Path) -> str:
    for place in (folder, folder.parent):
        for name in _LABEL_FILES:
            if (place / name).is_file():
                return str(place / name)
    return "val.txt"


def _better_folder(folder: Path, classes: Classes) -> str:
    """A hint, if the class folders are one level further down."""
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        names = [path.name for path in inner.iterdir() if path.is_dir()]
        try:
            resolve(names, classes, "")
        except UsageError:
            continue
        if names:
            return f" In {inner} they are: name that folder"
    return ""
