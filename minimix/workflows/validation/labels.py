"""Files of labels, in the spellings in which they come.

    FILE LABEL               a line each, separated by a tab, a comma or white space; a heading, and
                             Kaggle's LOC_val_solution.csv, are understood
    LABEL                    one a line, in the order of the files' names: synsets, names, indices
    ID                       the same with the ids of ImageNet's devkit, which only the mapping
                             that comes with it explains (--devkit-map, "id synset" a line)
    [[index, ...], ...]      ReaL's real.json: any of the classes counts, none leaves a picture out

Labels without a file's name are counted by the numbers in ILSVRC2012_val_00000001.JPEG, or, where
the files are called otherwise, need exactly as many files.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePath

from minimix.errors import UsageError, brief
from minimix.inputs import PICTURE_ENDINGS
from minimix.workflows.validation.classes import (
    Classes,
    Labelled,
    Layout,
    is_number,
    resolve,
)
from minimix.workflows.wording import counted

_NUMBERED = re.compile(r"ILSVRC2012_val_(\d{8})$")
_WITH_BOXES = re.compile(r"(n\d{8})( \d+)+( \1( \d+)+)*")
LONGEST_LINE = 8192
"""Characters of a line that spaces separate: trying where a name ends takes its square."""

_DEVKIT = (
    "the ids of ImageNet's devkit have an order of their own. Give --devkit-map FILE, one "
    '"id synset" a line (1 n02119789), as in the meta file of the devkit. Indices from 0 need '
    'a file with "NAME LABEL" a line'
)


def labelled_layout(
    folder: Path, pictures: list[str], classes: Classes, file: Path, devkit_map: Path | None
) -> Layout:
    """Pictures (paths from the folder on) and a file of labels -> the layout.

    Raises:
        UsageError: the file is no list of labels, or does not fit the pictures or the model.
    """
    content = _read(file)
    if file.suffix.lower() == ".json":
        return _real(folder, pictures, classes, file, content)
    lines = [line for line in content.splitlines() if line.strip()]
    if not lines:
        raise UsageError(f"{file}: is empty; expected a label a line")
    known = _Names(pictures)
    pairs = _pairs(lines, file, known)
    if pairs is None:
        words = [line.strip() for line in lines]
        order = _in_order(folder, pictures, len(words), file)
        truth = _devkit_or_words(words, classes, file, devkit_map)
        chosen = [(path, (truth[n],)) for path, n in order]
        return _layout(folder, chosen, f"files in order of {file.name}")
    if devkit_map is not None:
        truth = _devkit_or_words([word for _, word in pairs], classes, file, devkit_map)
    else:
        way, index = resolve([word for _, word in pairs], classes, f"{file}: labels")
        truth = [index[word] for _, word in pairs]
    return _named(folder, pictures, pairs, truth, file, known)


def check_there(file: Path) -> None:
    """Check that a file of labels, or of what they mean, exists.

    Raises:
        UsageError: it does not.
    """
    if not file.exists():
        raise UsageError(
            f"{file}: no such file; name one that you have. ReaL's real.json and the devkit's ids "
            "are not part of minimix"
        )


def _read(file: Path) -> str:
    check_there(file)
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot be read as UTF-8 text: {error}") from error


class _Names:
    """Finds pictures by how label files call them: path, name, name without its ending."""

    def __init__(self, pictures: Sequence[str]) -> None:
        self.paths: dict[str, str | None] = {}
        for path in pictures:
            pure = PurePath(path)
            for spelling in {pure.as_posix(), pure.name, pure.stem}:
                # Two pictures of one name: only the path tells them apart.
                is_taken = spelling in self.paths and self.paths[spelling] != path
                self.paths[spelling] = None if is_taken else path
        for path in pictures:
            self.paths[PurePath(path).as_posix()] = path

    def find(self, name: str) -> str | None:
        name = name.replace("\\", "/").removeprefix("./")
        return self.paths.get(name) or self.paths.get(name.rpartition("/")[2])


def _pairs(lines: list[str], file: Path, known: _Names) -> list[tuple[str, str]] | None:
    """(name, label) of every line; None if the lines hold labels only."""
    delimiter = _delimiter(lines, file, known)
    if delimiter is None:
        split = [
            _split(line.strip(), known, f"{file}: line {n}") for n, line in enumerate(lines, 1)
        ]
        names = [name for name, _ in split]
        return split if any(map(known.find, names)) or any(map(_is_picture, names)) else None
    try:
        rows = list(csv.reader(lines, delimiter=delimiter))
    except csv.Error as error:
        raise UsageError(f"{file}: no table of files and labels: {error}") from error
    short = next((n for n, row in enumerate(rows, 1) if len(row) < 2), None)
    if short is not None:
        raise UsageError(
            f"{file}: line {short}: expected a file and a label, found {_shown(rows[short - 1])}"
        )
    if known.find(rows[0][0].strip()) is None and len(rows) > 1 and known.find(rows[1][0].strip()):
        rows = rows[1:]  # the heading
    return [(row[0].strip(), _without_boxes(row[1].strip())) for row in rows]


def _without_boxes(label: str) -> str:
    """Kaggle's ``n02510455 1 2 3 4 n02510455 5 6 7 8`` -> the synset."""
    found = _WITH_BOXES.fullmatch(label)
    return found[1] if found else label


def _shown(found: object) -> str:
    """What stands in a file -> how messages quote it."""
    return brief(repr(found), 80)


def _is_picture(name: str) -> bool:
    return PurePath(name).suffix.lower() in PICTURE_ENDINGS


def _delimiter(lines: list[str], file: Path, known: _Names) -> str | None:
    """A tab, or a comma; None if lines are separated by spaces, or hold a label only.

    A label may hold commas of its own: they separate where a picture is on one side of the first.
    """
    if "\t" in lines[0]:
        return "\t"
    if file.suffix.lower() == ".csv":
        return ","
    halves = (line.strip().partition(",") for line in lines if "," in line)
    cells = ((a.strip(' "'), b.strip(' "')) for a, _, b in halves)
    is_table = any(known.find(a) or _is_picture(a) or _is_picture(b) for a, b in cells)
    return "," if is_table else None


def _split(line: str, known: _Names, where: str) -> tuple[str, str]:
    """A line with spaces -> (name, label); both may hold spaces, so the pictures decide."""
    if len(line) > LONGEST_LINE:
        raise UsageError(f"{where} has {len(line):,} characters; at most {LONGEST_LINE:,} are read")
    end = len(line)
    while (end := line.rfind(" ", 0, end)) >= 0:
        name, label = line[:end].strip(), line[end:].strip()
        if label and known.find(name) is not None:
            return name, label
    name, _, label = line.rpartition(" ")
    return (name.strip(), label.strip()) if name else (line, "")


def _named(
    folder: Path,
    pictures: list[str],
    pairs: list[tuple[str, str]],
    truth: list[int],
    file: Path,
    known: _Names,
) -> Layout:
    """The pictures that are named, in the file's order; those that are not there will fail."""
    chosen: dict[str, tuple[int, ...]] = {}
    there = 0
    for (name, _), index in zip(pairs, truth, strict=True):
        found = known.find(name)
        there += found is not None
        path = name if found is None else found
        if chosen.setdefault(path, (index,)) != (index,):
            two = f"{chosen[path][0]} and {index}"
            raise UsageError(f"{file}: {brief(name, 80)} has two labels, {two}")
    if 2 * there < len(pairs):
        missing = brief(next(name for name, _ in pairs if known.find(name) is None), 80)
        raise UsageError(
            f"{file}: only {there:,} of {counted(len(pairs), 'file')} found in {folder} (first "
            f"that is not: {missing}). Is it another data set's, or does its other column hold the "
            "names?"
        )
    without = [path for path in pictures if path not in chosen]
    if without:
        raise UsageError(
            f"{folder}: {len(without):,} of {counted(len(pictures), 'picture')} without a label in "
            f"{file} (first: {without[0]}). Label them, or move them away"
        )
    return _layout(folder, list(chosen.items()), f"files with labels in {file.name}")


def _layout(
    folder: Path, chosen: Sequence[tuple[str, tuple[int, ...]]], description: str
) -> Layout:
    labelled = tuple(
        Labelled(os.path.join(folder, path), truth)  # noqa: PTH118 - spelt as given
        for path, truth in chosen
    )
    return Layout(description, labelled)


def _in_order(folder: Path, pictures: list[str], count: int, file: Path) -> list[tuple[str, int]]:
    """Pictures and the line (from 0) that each has in a file that names none."""
    numbers = [_NUMBERED.fullmatch(PurePath(path).stem) for path in pictures]
    if all(numbers):
        order = [(path, int(m[1]) - 1) for path, m in zip(pictures, numbers, strict=True) if m]
        without = next((path for path, n in order if not 0 <= n < count), None)
        if without is not None:
            raise UsageError(f"{file}: has {counted(count, 'label')}, and none for {without}")
        if len({n for _, n in order}) != len(order):
            raise UsageError(f"{folder}: two files have one number; labels by order need one each")
        return order
    if len(pictures) != count:
        raise UsageError(
            f"{file}: {counted(count, 'label')} without file names for "
            f"{counted(len(pictures), 'picture')} in "
            f'{folder}; expected as many. Give a file with "NAME LABEL" a line'
        )
    if any(os.sep in path for path in pictures):
        raise UsageError(
            f"{file}: labels without file names for pictures in several folders; their order is "
            'unclear. Give a file with "NAME LABEL" a line'
        )
    return [(path, n) for n, path in enumerate(sorted(pictures))]


def _devkit_or_words(
    words: list[str], classes: Classes, file: Path, devkit_map: Path | None
) -> list[int]:
    """Labels by order -> classes.  ImageNet's, as numbers without a 0, may be the devkit's ids."""
    if devkit_map is None:
        if classes.wnids and all(map(is_number, words)) and "0" not in words:
            raise UsageError(
                f"{file}: numbers from 1 to {max(map(int, words)):,} without names: {_DEVKIT}"
            )
        _, index = resolve(words, classes, f"{file}: labels")
        return [index[word] for word in words]
    synset = _mapping(devkit_map)
    unknown = next((word for word in words if word not in synset), None)
    if unknown is not None:
        raise UsageError(f"{file}: {_shown(unknown)} is no id in {devkit_map}; {_DEVKIT}")
    used = [synset[word] for word in words]
    _, index = resolve(used, classes, f"{devkit_map}: synsets")
    return [index[word] for word in used]


def _mapping(file: Path) -> dict[str, str]:
    """Id -> synset, of lines with both in either order."""
    mapping: dict[str, str] = {}
    for number, line in enumerate(_read(file).splitlines(), start=1):
        fields = re.split(r"[\s,;]+", line.strip())[:2]
        if fields == [""]:
            continue
        ids = [word for word in fields if is_number(word)]
        synsets = [word for word in fields if re.fullmatch(r"n\d{8}", word)]
        if (
            len(ids) != 1
            or len(synsets) != 1
            or mapping.setdefault(ids[0], synsets[0]) != synsets[0]
        ):
            raise UsageError(
                f'{file}: line {number}: expected "id synset" once, found {_shown(line)}'
            )
    return mapping


def _real(folder: Path, pictures: list[str], classes: Classes, file: Path, content: str) -> Layout:
    """ReaL labels: by the pictures' numbers, the classes any of which counts."""
    try:
        listed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file}: not JSON: {error}") from error
    if not isinstance(listed, list) or not all(_is_classes(item, len(classes)) for item in listed):
        raise UsageError(
            f"{file}: expected ReaL's labels, a list of lists of indices below {len(classes):,}"
        )
    order = _in_order(folder, pictures, len(listed), file)
    if not all(_NUMBERED.fullmatch(PurePath(path).stem) for path, _ in order):
        raise UsageError(f"{file}: ReaL's labels are for ILSVRC2012_val_........ files only")
    chosen = [(path, tuple(listed[n])) for path, n in order if listed[n]]
    if not chosen:
        raise UsageError(f"{file}: leaves out every picture of {folder}")
    plain = _layout(folder, chosen, f"ReaL labels of {file.name}")
    return Layout(plain.description, plain.pictures, len(order) - len(chosen), is_single=False)


def _is_classes(item: object, count: int) -> bool:
    return isinstance(item, list) and all(type(n) is int and 0 <= n < count for n in item)
