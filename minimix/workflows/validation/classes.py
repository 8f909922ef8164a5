"""Pictures with true classes; which class a word means: a synset, an index, a name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from minimix.errors import UsageError, brief
from minimix.labels import imagenet_classes, imagenet_wnids
from minimix.model import Model

SHOWN = 5
"""Unknown words that a message lists."""

_WNID = re.compile(r"n\d{8}")
_MOST_DIGITS = 10


@dataclass(frozen=True)
class Classes:
    """A model's classes, by index, and their synsets if they are ImageNet's."""

    model: str
    names: tuple[str, ...]
    wnids: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: Model) -> Classes:
        """Return a model's classes."""
        wnids = imagenet_wnids() if model.labels == imagenet_classes() else ()
        return cls(model.name, tuple(model.labels), wnids)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Labelled:
    """A picture and its true classes, by index: one, or several of which any counts."""

    path: str
    truth: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """What was recognised.

    Attributes:
        description: in words.
        pictures: in order.
        left_out: how many pictures the labels say are to be left out.
        is_single: whether every picture has one class, so that each class has its accuracy.
    """

    description: str
    pictures: tuple[Labelled, ...]
    left_out: int = 0
    is_single: bool = True


def is_number(word: str) -> bool:
    """Whether a word is a whole number that can count classes.

    >>> is_number("388"), is_number("-1"), is_number("\u00b2"), is_number("9" * 5000)
    (True, False, False, False)
    """
    return word.isascii() and word.isdigit() and len(word) < _MOST_DIGITS


def resolve(words: Iterable[str], classes: Classes, what: str) -> tuple[str, dict[str, int]]:
    """Words that all name classes in one way -> that way, and each word's class.

    The ways are synset (n02510455), index (from 0) and name, in which case and underscores for
    spaces do not count.

    >>> resolve(["Polar_bear", "fox"], Classes("tiny", ("fox", "polar bear")), "folders")
    ('name', {'Polar_bear': 1, 'fox': 0})

    Raises:
        UsageError: a word is no class, or all are in two ways that differ.
    """
    distinct = dict.fromkeys(words)
    found: dict[str, dict[str, int]] = {}
    for way, find in _ways(classes).items():
        read_as = {word: find(word) for word in distinct}
        found[way] = {word: index for word, index in read_as.items() if index is not None}
    complete = {way: read for way, read in found.items() if len(read) == len(distinct)}
    if not complete:
        raise UsageError(_unknown(list(distinct), found, classes, what))
    (way, chosen), *others = complete.items()
    for other, read in others:
        for word in distinct:
            if read[word] != chosen[word]:
                one = f"class {chosen[word]} ({classes.names[chosen[word]]}) by {way}"
                two = f"class {read[word]} ({classes.names[read[word]]}) by {other}"
                raise UsageError(
                    f"{what}: {_quoted(word)} is {one} and {two}; give "
                    "--labels FILE with names that are not numbers of other classes"
                )
    return way, chosen


def _ways(classes: Classes) -> Mapping[str, Callable[[str], int | None]]:
    wnids = {wnid: n for n, wnid in enumerate(classes.wnids)}
    folded = [_fold(name) for name in classes.names]
    times = Counter(folded)
    names = {name: n for n, name in enumerate(folded) if times[name] == 1}

    def index(word: str) -> int | None:
        return int(word) if is_number(word) and int(word) < len(classes) else None

    return {
        "synset": wnids.get,
        "index": index,
        "name": lambda word: names.get(_fold(word)),
    }


def _fold(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()


def _quoted(word: str) -> str:
    return brief(repr(word), 80)


def _unknown(
    words: list[str], found: Mapping[str, Mapping[str, int]], classes: Classes, what: str
) -> str:
    """Why words are no classes, and what to do."""
    way = max(found, key=lambda way: len(found[way]))
    unknown = [word for word in words if word not in found[way]]
    listed = ", ".join(map(_quoted, unknown[:SHOWN])) + (", ..." if len(unknown) > SHOWN else "")
    if len(unknown) < len(words):
        message = (
            f"{what}: {len(unknown):,} of {len(words):,} are no {way} of {classes.model}'s "
            f"{len(classes):,} classes: {listed}. "
        )
    else:
        ways = "synset (n02510455), index or name" if classes.wnids else "index or name"
        message = (
            f"{what}: none is a class of {classes.model} by {ways}; found {listed}; expected such "
            f"as {classes.names[0]!r}. "
        )
    numbers = [int(word) for word in words if is_number(word)]
    if len(numbers) == len(words) and max(numbers) == len(classes) and 0 not in numbers:
        return message + "They look counted from 1; indices count from 0"
    if not classes.wnids and all(_WNID.fullmatch(word) for word in words):
        return message + "They are ImageNet's; give --model mixnet-s or another ImageNet model"
    return message + "Remove what does not belong, or is this another model's data set?"
