"""Checkpoint files -> named arrays, without the frameworks that wrote them; nothing is executed."""

from __future__ import annotations

from pathlib import Path

from weights_tools.readers.checkpoint import Checkpoint
from weights_tools.readers.formats import FORMATS, find_format
from weights_tools.readers.source import open_source
from weights_tools.readers.torch_objects import ALLOWED_GLOBALS

__all__ = ["Checkpoint", "detect", "read", "refused_globals"]


def detect(path: Path | str) -> str:
    """Path -> the container's name, known by the file's bytes and never by its extension.

    Raises:
        WeightsError: the file cannot be read, or its bytes are those of no known container.
    """
    return find_format(open_source(path)).name


def read(path: Path | str) -> Checkpoint:
    """Path -> the checkpoint's tensors; arrays own their memory, the file may go afterwards.

    Raises:
        WeightsError: the file is missing, damaged, refused, or of a container without a reader.
    """
    source = open_source(path)
    row = find_format(source)
    if row.read is None:
        readable = ", ".join(row.name for row in FORMATS if row.read)
        raise source.fail(f"is {row.name}; readable are {readable}. {row.advice}")
    contents = row.read(source)
    return Checkpoint(
        container=row.name,
        tensors=contents.tensors,
        metadata=contents.metadata,
        path=source.path,
        size_bytes=source.size_bytes,
        sha256=source.sha256(),
        topology=contents.topology,
        parts=contents.parts,
    )


def refused_globals(path: Path | str) -> list[str]:
    """Path -> dotted names that the file's pickles would import and ``read`` refuses, in order.

    Raises:
        WeightsError: the file cannot be read or is no known container.
    """
    source = open_source(path)
    row = find_format(source)
    names = row.list_globals(source) if row.list_globals else []
    return [name for name in names if name not in ALLOWED_GLOBALS]
