"""What kept work is of: a manifest and a list of inputs, and how two of them differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

from minimix.errors import OutputError, UsageError

FORMAT, VERSION = "minimix-parts", 1
MANIFEST, INPUTS, LOCK = "manifest.json", "inputs.ndjson", "lock"


def begin(folder: Path, manifest: Mapping[str, Any], inputs: Iterable[str]) -> bytes:
    """Write the manifest, or check that it is the one that is there; return its digest.

    Raises:
        UsageError: it is another; the message says what differs.
    """
    listing = folder / f"{INPUTS}.new"
    count, sha256 = _write_lines(listing, inputs)
    stated = {"count": count, "sha256": sha256}
    wanted = {"format": FORMAT, "version": VERSION, **manifest, "inputs": stated}
    text = json.dumps(wanted, sort_keys=True, indent=1).encode()
    if (folder / MANIFEST).exists():
        found = _read_manifest(folder)
        if found != json.loads(text):
            differences = _differences(found, json.loads(text), folder)
            listing.unlink()
            raise UsageError(
                f"{folder}: holds other work; {differences}. Run the same as then to go on with "
                "it, or give --restart to discard it"
            )
        listing.unlink()
    else:
        _clear_but(folder, listing)
        listing.replace(folder / INPUTS)
        write_whole(folder / MANIFEST, text)
    return hashlib.sha256(text).digest()


def _clear_but(folder: Path, kept: Path) -> None:
    for path in folder.iterdir():
        if path != kept and path.name != LOCK:
            path.unlink()


def _write_lines(path: Path, lines: Iterable[str]) -> tuple[int, str]:
    """Write lines; how many, and their checksum."""
    count, checksum = 0, hashlib.sha256()
    with path.open("wb") as file:
        for line in lines:
            count += 1
            encoded = line.encode() + b"\n"
            checksum.update(encoded)
            file.write(encoded)
    return count, checksum.hexdigest()


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / MANIFEST).read_bytes())
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise UsageError(f"{folder / MANIFEST}: is damaged; give --restart to begin anew")
    return found


def _differences(found: dict[str, Any], wanted: dict[str, Any], folder: Path) -> str:
    """What two manifests do not have in common, in words."""
    old, new = _flat(found), _flat(wanted)
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    said = [
        f"{key} was {old.get(key, 'not there')}, is {new.get(key, 'not there')}"
        for key in keys
        if not key.startswith("inputs.")
    ]
    if len(said) < len(keys):
        said.append(_first_other_input(folder))
    return "; ".join(said)


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested names joined by dots.

    >>> _flat({"model": {"name": "a"}, "v": 1})
    {'model.name': 'a', 'v': 1}
    """
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            flat |= _flat(item, f"{prefix}{key}.")
        else:
            flat[prefix + key] = item
    return flat


def _first_other_input(folder: Path) -> str:
    old_lines, new_lines = folder / INPUTS, folder / f"{INPUTS}.new"
    if not old_lines.exists():
        return "the list of its inputs is lost"
    with old_lines.open("rb") as old, new_lines.open("rb") as new:
        for number, (was, now) in enumerate(zip_longest(old, new), start=1):
            if was != now:
                before, after = _name_in(was), _name_in(now)
                if before == after:
                    return f"input {number}, {after}, has changed since"
                return f"input {number} was {before}, is {after}"
    return "the list of its inputs is damaged"


def _name_in(line: bytes | None) -> str:
    if line is None:
        return "none"
    try:
        return str(json.loads(line)[0])
    except (ValueError, LookupError, TypeError):
        return "damaged"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name first, so that its own never shows half of it.

    Raises:
        OutputError: the disk is full, the folder is read-only.
    """
    temporary = path.with_name(f"{path.name}.new")
    with writing(path):
        temporary.write_bytes(content)
        temporary.replace(path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into ``unusable``."""
    try:
        yield
    except OSError as error:
        raise unusable(path, error) from error


def unusable(path: Path, error: OSError) -> OutputError:
    """What the file system refused -> an error that names the file."""
    return OutputError(f"{path}: cannot be read or written: {error.strerror or error}")
