"""So many pictures as one task classifies.  A chunk travels to its worker, its pixels do not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from minimix.errors import InputError
from minimix.inputs import Input, named_input
from minimix.workflows.batching.stores import (
    absolute,
    check_online,
    is_elsewhere,
    is_stored,
    read_stored,
    scheme_of,
)


class Chunk(ABC):
    """Pictures in order, each with a name that says where it is."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of pictures."""

    @property
    def waits(self) -> bool:
        """Whether to open a picture is to wait for another machine."""
        return False

    @property
    def may_be_there(self) -> bool:
        """Whether one of the pictures could be had, for all that is known without asking for it."""
        return True

    @abstractmethod
    def absolute(self) -> Chunk:
        """The same for a process in another folder: with absolute paths."""

    @abstractmethod
    def names(self) -> Sequence[str]:
        """What the results call the pictures."""

    @abstractmethod
    def inputs(self, span: range) -> Iterator[Input]:
        """The pictures at these positions, in order; those that cannot be had fail when opened."""


@dataclass(frozen=True)
class FileChunk(Chunk):
    """Pictures that are files or URLs.

    Attributes:
        files: paths and URLs.
        problems: position -> why there is no picture, where that is known already.
        offline: refuse what is elsewhere.
    """

    files: tuple[str, ...]
    problems: dict[int, str] = field(default_factory=dict)
    offline: bool = False

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.files)

    @property
    def waits(self) -> bool:
        """See ``Chunk``."""
        return any(map(is_elsewhere, self.files))

    @property
    def may_be_there(self) -> bool:
        """See ``Chunk``."""
        return any(
            n not in self.problems and (scheme_of(name) or Path(name).exists())
            for n, name in enumerate(self.files)
        )

    def absolute(self) -> FileChunk:
        """See ``Chunk``."""
        return replace(self, files=tuple(map(absolute, self.files)))

    def names(self) -> Sequence[str]:
        """Paths and URLs as they were found."""
        return self.files

    def inputs(self, span: range) -> Iterator[Input]:
        """See ``Chunk``."""
        for position in span:
            yield self._input(self.files[position], self.problems.get(position, ""))

    def _input(self, name: str, problem: str) -> Input:
        if problem:
            return failing_input(name, problem)
        if not is_stored(name):
            return named_input(name, offline=self.offline)
        try:
            check_online(name, offline=self.offline)
        except InputError as error:
            return failing_input(name, str(error))
        return Input(name, partial(read_stored, name))


def too_large(size_bytes: int, most: int) -> str:
    """Why a picture inside a file is not read."""
    return f"{size_bytes:,} bytes; {most:,} at most. Raise MINIMIX_MAX_BYTES, or shrink it first"


def failing_input(name: str, problem: str) -> Input:
    """An input that cannot be had, for a reason that is known."""

    def fail() -> Path | BinaryIO:
        raise InputError(f"{name}: {problem}")

    return Input(name, fail, problem)
