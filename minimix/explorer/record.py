"""A recording, and the file that keeps it: an ``.npz`` of bytes, without pickles.

A file may come from anywhere.  What ``load`` returns has every field that the page reads, and no
reference leaves its buffer.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from minimix.errors import InputError, brief
from minimix.explorer import buffers as in_buffers
from minimix.explorer.format import VERSION
from minimix.explorer.validation import check_record
from minimix.files import replacing
from minimix.limits import in_force
from minimix.streams import Whole

_START = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(rb"\{'descr': '\|u1', 'fortran_order': False, 'shape': \((\d{1,9}),\), \}\s*")
"""What NumPy writes before bytes."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

MAX_BYTES = 1 << 26
"""Of a recording's content; those of the released networks take up to 9 MB."""


@dataclass(frozen=True)
class Record:
    """What ``minimix.explorer.format`` describes: a document and its buffers.

    Raises:
        InputError: the document or a buffer is not as described; the message names the place.
    """

    document: dict[str, Any]
    buffers: dict[str, bytes]

    def __post_init__(self) -> None:
        version = self.document.get("version")
        if isinstance(version, int) and version > VERSION:
            raise InputError(
                f"recording of version {version}; this minimix reads up to {VERSION}. Upgrade: "
                "pip install --upgrade minimix"
            )
        check_record(self.document, self.buffers)

    def array(self, ref: dict[str, Any]) -> NDArray[Any]:
        """Return the array that a reference of the document names; read-only."""
        return in_buffers.resolve(ref, self.buffers)

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Write the recording; the same one gives the same bytes.

        Raises:
            UsageError: ``path`` exists and ``force`` is not given.
            OutputError: the folder cannot be written, or the disk is full.
        """
        text = json.dumps(self.document, separators=(",", ":")).encode()
        arrays = {f"buffer.{name}": content for name, content in self.buffers.items()}
        stream = io.BytesIO()
        np.savez_compressed(
            stream,
            allow_pickle=False,
            **{
                name: np.frombuffer(content, np.uint8)
                for name, content in {"document": text, **arrays}.items()
            },
        )
        with replacing(Path(path), force=force) as temporary:
            temporary.write_bytes(stream.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> Record:
        """Read a recording and check all of it.

        Raises:
            InputError: the file is missing, damaged, too new, or no recording.
        """
        path = Path(path)
        try:
            found = _read(path)
            document = json.loads(found.pop("document").decode(), parse_constant=_refuse)
            if not isinstance(document, dict):
                raise InputError("document: expected an object")
            return cls(document, {name.removeprefix("buffer."): b for name, b in found.items()})
        except InputError as error:
            raise InputError(f"{path}: {brief(error, 1000)}") from error
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
        except (
            *(EOFError, ValueError, KeyError, RuntimeError, NotImplementedError, OverflowError),
            *(zipfile.BadZipFile, zlib.error),
        ) as error:  # what zipfile and json trip over
            raise InputError(
                f"{path}: no recording of the explorer, or a damaged one ({brief(error)}). Record "
                "it again: minimix explore IMAGE -o PAGE --save-trace FILE"
            ) from error


def is_recording(path: Path) -> bool:
    """Whether a file's name says that it keeps a recording."""
    return path.suffix.lower() == ".npz"


def _refuse(constant: str) -> None:
    raise InputError(f"document: {constant} is no JSON")


def _read(path: Path) -> dict[str, bytes]:
    """The arrays of an ``.npz``, each a run of bytes."""
    with Whole(path.open("rb", buffering=0)) as file, zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        size = sum(member.file_size for member in members)
        most = in_force("MINIMIX_MAX_RECORDING_BYTES", MAX_BYTES)
        if size > most:  # before anything is decompressed
            raise InputError(
                f"{size:,} bytes of content; a recording has at most {most:,}. If you trust it, "
                "raise MINIMIX_MAX_RECORDING_BYTES"
            )
        found = {}
        for member in members:
            if member.compress_type not in _METHODS:  # others raise errors of their own
                raise InputError(f"{member.filename}: packed by method {member.compress_type}")
            with archive.open(member) as stream:
                found[member.filename.removesuffix(".npy")] = _bytes_of(stream, member.filename)
        return found


def _bytes_of(stream: IO[bytes], name: str) -> bytes:
    """The content of an ``.npy`` of bytes.

    NumPy's own reader would believe any shape, and evaluates what a header says.
    """
    start = stream.read(len(_START) + 2)
    header = stream.read(int.from_bytes(start[len(_START) :], "little"))
    content = stream.read()
    found = _HEADER.fullmatch(header) if start.startswith(_START) else None
    if found is None or int(found[1]) != len(content):
        raise InputError(
            f"{name}: expected {len(content)} bytes, found {start + header.rstrip()!r:.120}"
        )
    return content
