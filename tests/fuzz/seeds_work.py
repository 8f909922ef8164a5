"""Shards and tables of pictures, work that a run left, recordings, and compiled kernels."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from minimix.engine.kernels import cache as kernel_cache
from minimix.errors import InputError
from minimix.explorer.page import write_page
from minimix.explorer.record import Record
from minimix.workflows.batching.chunks import Chunk, FileChunk
from minimix.workflows.batching.sources import Sources, from_line, to_line
from minimix.workflows.resuming import rows as row_files
from minimix.workflows.resuming.parts import Parts, is_product, open_parts
from minimix.workflows.resuming.rows import Rows, RowType
from tests.explorer_records import small
from tests.fuzz.declared import Files
from tests.fuzz.mutations import Seed
from tests.fuzz.parser_rule import NothingError, check
from tests.fuzz.rule import LONGEST_MESSAGE
from tests.fuzz.samples import single

# --- shards and tables ------------------------------------------------------------------------

SHARD, TABLE = "shard.tar", "table.parquet"
_CONTENT = bytes(range(250))


def shards() -> list[Seed]:
    """Tar files in the three dialects, with long names and links."""
    made = []
    for dialect in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=dialect) as archive:
            for name in ("a.jpg", "folder/köttur.png", "x" * 90 + ".jpg", "a.txt"):
                member = tarfile.TarInfo(name)
                member.size, member.mtime = len(_CONTENT), 1
                archive.addfile(member, io.BytesIO(_CONTENT))
            link = tarfile.TarInfo("link.jpg")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
        data = stream.getvalue()
        made.append(Seed({SHARD: data}, tokens=_TAR, changes=(_resum, _resum)))
    return made


_TAR = (b"ustar\x0000", b"ustar  \0", b"13 size=-512\n", b"14 size=-1024\n", b"10 size=9\n")
_TAR += (b"\xff" * 10 + b"\xfe\0", b"\xff" * 10 + b"\xfc\0", b"\xff" * 12, b"00000000012\0")
_TAR += (b"\x80\0\0\0\0\0\0\x40\0\0\0\0", b"L", b"x", b"g", b"S", b"././@LongLink")


def _resum(random: Any, data: bytearray) -> None:
    """Change a header, and make its checksum that of the result."""
    start = random.randrange(max(1, len(data) // 512)) * 512
    header = data[start : start + 512]
    if len(header) == 512:
        place, token = random.choice((0, 124, 156, 257)), random.choice(_TAR)
        header[place : place + len(token)] = token
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header[:512])
        data[start : start + 512] = header[:512]


def tables() -> list[Seed]:
    """Parquet tables of bytes and of records, packed in several ways."""
    pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    records = [{"bytes": _CONTENT, "path": "a.jpg"}, {"bytes": None, "path": None}]
    columns = {"id": [1, 2, 3], "image": [b"a", None, b"c" * 99]}
    made = []
    for table, options in (
        (pyarrow.table({"image": records}), {"compression": "none"}),
        (pyarrow.table(columns), {"compression": "none", "row_group_size": 2}),
        (pyarrow.table(columns), {"compression": "snappy", "use_dictionary": False}),
        (pyarrow.table(columns), {"compression": "gzip"}),
    ):
        stream = io.BytesIO()
        parquet.write_table(table, stream, **options)
        made.append(Seed({TABLE: stream.getvalue()}, tokens=(b"PAR1", b"bytes", b"\x15\x04")))
    return made


def parse_pictures_in(path: Path, files: Files) -> None:
    """List a shard's or table's pictures and read each, without decoding it."""
    chunks = list(Sources((str(path),)).chunks())
    for chunk in chunks:
        again = from_line(to_line(chunk))
        check(again == chunk, f"{chunk} does not come back from its line")
    if all(isinstance(chunk, FileChunk) for chunk in chunks):
        _opened(chunks)
        raise NothingError("no pictures")
    check(_opened(chunks) >= 0, "counted")


def _opened(chunks: list[Chunk]) -> int:
    """How many pictures there are; each can be had, or fails with a message."""
    found = 0
    for chunk in chunks:
        names = chunk.names()
        check(len(names) == len(chunk), f"{len(names)} names for {len(chunk)} pictures")
        for item in chunk.inputs(range(len(chunk))):
            try:
                item.open()
                found += 1
            except InputError as error:
                said = str(error)
                check(bool(said) and len(said) < LONGEST_MESSAGE, f"says {said!r:.300}")
                check("MemoryError" not in said, f"out of memory: {said!r:.300}")
    return found


# --- work that a run left ---------------------------------------------------------------------

_MANIFEST = {"command": "fuzz", "options": {"node": "pool"}}
_LINES = ['["a.jpg", 1, 2, null]', '["b.jpg", 3, 4, null]', '["c.jpg", null, null, null]']
_KIND = RowType(np.dtype("<f4"), (2,))
_ROWS = [Rows(np.full((3, 2), n, "<f4"), {1: "gone"} if n else {}) for n in range(2)]
_PART = "part-{:06d}"
MANIFEST = "manifest.json"


def _decode(index: int, content: bytes) -> Rows:
    return row_files.decode(content, _KIND, 3)


@cache
def _work() -> dict[str, bytes]:
    with TemporaryDirectory() as name:
        folder = Path(name) / "out.parts"
        with open_parts(folder, _MANIFEST, _LINES, 2) as parts:
            for n, rows in enumerate(_ROWS):
                parts.write(n, row_files.encode(rows))
        (folder / "result.json").write_text(json.dumps({"sha256": "ab" * 32}))
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def _with_checksums(pieces: Mapping[str, bytes]) -> dict[str, bytes]:
    """Contents of parts -> the files, as whoever wrote the manifest could have written them."""
    files = dict(_work())
    with TemporaryDirectory() as name:
        folder = Path(name) / "out.parts"
        with open_parts(folder, _MANIFEST, _LINES, 2) as parts:
            for n in range(2):
                parts.write(n, pieces.get(_PART.format(n), b""))
                files[_PART.format(n)] = (folder / _PART.format(n)).read_bytes()
    return files


def work() -> list[Seed]:
    """The folder of a run that was cut."""
    contents = {_PART.format(n): row_files.encode(rows) for n, rows in enumerate(_ROWS)}
    tokens = (b"{", b"[", b'"1"', b'"-1"', b"null", b'"sha256"', b"\0" * 8, b'"inputs"')
    return [Seed(_work(), contents, _with_checksums, tokens=tokens)]


def parse_work(path: Path, files: Files) -> None:
    """Go on with the work, as far as it can be used."""
    with TemporaryDirectory() as name:
        folder = Path(name) / "out.parts"
        folder.mkdir()
        for file, data in files.items():
            (folder / file).write_bytes(data)
        out = folder.with_name("out")
        out.write_bytes(b"result")
        check(not is_product(folder, out), "takes a foreign result for its own")
        with open_parts(folder, _MANIFEST, _LINES, 2) as parts:
            _check_parts(parts)


def _check_parts(parts: Parts) -> None:
    listed = (parts.folder / "inputs.ndjson").read_text("utf-8").splitlines()
    check(listed == _LINES, f"goes on with other inputs: {listed}")
    missing = parts.missing(_decode)
    for n in {0, 1} - set(missing):
        rows = parts.read(n, _decode)
        check(rows.values.shape == (3, 2) and rows.values.dtype == "<f4", "rows of another kind")
        check(all(0 <= n < 3 for n in rows.failed), "a failure of no picture")
    if len(missing) == 2:
        raise NothingError("nothing of it can be used")


# --- lines of a batch's inputs ----------------------------------------------------------------


def chunk_lines() -> list[Seed]:
    """A line of JSON each, as a run of ``batch`` keeps its chunks."""
    lines = [to_line(FileChunk(("a.jpg", "b.jpg"), {1: "gone"}, True))]
    with TemporaryDirectory() as name:
        for seed in [*shards()[:1], *(tables()[:1] if find_spec("pyarrow") else [])]:
            for file, data in seed.files.items():
                path = Path(name) / file
                path.write_bytes(data)
                lines += [to_line(chunk) for chunk in Sources((str(path),)).chunks()]
    tokens = (b"[", b"{", b"null", b"-1", b"1e9", b'"files"', b'"shard"', b'"table"', b"true")
    return [Seed(single(line.encode()), tokens=tokens) for line in lines]


def parse_chunk_line(path: Path, files: Files) -> None:
    """Read a line; ValueError is what it may raise."""
    try:
        chunk = from_line(path.read_bytes().decode("utf-8", "backslashreplace"))
    except ValueError as error:
        raise NothingError("no chunk") from error
    check(isinstance(chunk, Chunk), f"a {type(chunk).__name__}")


# --- recordings -------------------------------------------------------------------------------


def _archive(arrays: Mapping[str, bytes]) -> Files:
    stream = io.BytesIO()
    values = {name: np.frombuffer(data, np.uint8) for name, data in arrays.items()}
    np.savez_compressed(stream, allow_pickle=False, **values)
    return single(stream.getvalue())


def recordings() -> list[Seed]:
    """A recording of a small network; damaged inside of the archive too."""
    found = small()
    document = json.dumps(found.document, separators=(",", ":")).encode()
    pieces = {"document": document}
    pieces |= {f"buffer.{name}": content for name, content in found.buffers.items()}
    tokens = (b"<script>", b"</script>", b"null", b"[[", b"-1", b'"ref"', b'"buffer"', b"NaN")
    return [Seed(_archive(pieces), pieces, _archive, tokens=tokens)]


@cache
def _scripts() -> int:
    return write_page(small()).lower().count(b"<script")


def parse_recording(path: Path, files: Files) -> None:
    """Load a recording and make its page, in which nothing of it becomes an element."""
    found = Record.load(path)
    page = write_page(found)
    more = len(found.buffers) - len(small().buffers)
    check(page.lower().count(b"<script") == _scripts() + more, "a script of the recording's")


# --- compiled kernels -------------------------------------------------------------------------

_KEY, _NAME = bytes(range(32)), "relu"


def kernels() -> list[Seed]:
    """A file of the kernel cache."""
    packed = kernel_cache.pack(_KEY, _NAME, _CONTENT)
    return [Seed(single(packed), tokens=(kernel_cache.MAGIC, _KEY, _NAME.encode()))]


def parse_kernel(path: Path, files: Files) -> None:
    """Unpack it: the very code that was packed, or none."""
    code = kernel_cache.unpack(path.read_bytes(), _KEY, _NAME)
    if code is None:
        raise NothingError("compiles it anew")
    check(code == _CONTENT, "other code than was packed")
