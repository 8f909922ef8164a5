"""An open file as groups and datasets, each reached by one name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from minimix.hdf5 import headers
from minimix.hdf5.attributes import Value, attribute
from minimix.hdf5.datasets import Dataset, described
from minimix.hdf5.groups import links
from minimix.hdf5.source import RefusedError, Source
from minimix.hdf5.superblock import SIGNATURE, root_address

__all__ = ["SIGNATURE", "Group", "opened"]

_OF_GROUPS = {headers.LINK, headers.LINK_INFO, headers.SYMBOL_TABLE, headers.ATTRIBUTE}


@dataclass(frozen=True)
class Group:
    """A group.

    Attributes:
        name: for messages.
        members: addresses by name; all of them are hard links.
        attributes: None where the value is neither a whole number nor a text of fixed length.
    """

    source: Source
    name: str
    members: dict[str, int]
    attributes: dict[str, Value]

    def group(self, name: str) -> Group:
        """The group of this name; RefusedError: it is missing, something else, or damaged."""
        return _group(self.source, self._address(name), name)

    def dataset(self, name: str) -> Dataset:
        """Where a dataset's data lies, and of what type and shape it is.

        Raises:
            RefusedError: see ``minimix.hdf5.datasets.described``.
        """
        return described(self.source, self._address(name), name)

    def _address(self, name: str) -> int:
        if name not in self.members:
            raise RefusedError(f"{name}: missing")
        return self.members[name]


@contextmanager
def opened(path: Path) -> Iterator[Group]:
    """Open a file, without a lock, and yield its root group.

    Raises:
        RefusedError: it is damaged, or has what a model file never has.
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        source = Source(stream, os.fstat(stream.fileno()).st_size)
        yield _group(source, root_address(source), "the root group")


def _group(source: Source, address: int, name: str) -> Group:
    found = headers.messages(source, address, name, _OF_GROUPS)
    facts = [attribute(m.body, name) for m in found if m.type == headers.ATTRIBUTE]
    attributes = dict(facts)
    if len(attributes) != len(facts):
        raise RefusedError(f"{name}: two attributes have one name")
    if not found:
        raise RefusedError(f"{name}: expected a group")
    members = links(source, [m for m in found if m.type != headers.ATTRIBUTE], name)
    return Group(source, name, members, attributes)
