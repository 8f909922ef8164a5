"""What kept work is of: a manifest and a list of inputs, and how two of them differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

from minimix.errors import OutputError, UsageError, brief

FORMAT, VERSION = "minimix-parts", 1
MANIFEST, INPUTS, LOCK, PART = "manifest.json", "inputs.ndjson", "lock", "part-"


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
    if holds_work(folder):
        found = _read_manifest(folder)
        if found != json.loads(text):
            differences = _differences(found, json.loads(text), folder)
            listing.unlink()
            raise UsageError(
                f"{folder}: holds other work; {differences}. Run the same as then to go on with "
                "it, or give --restart to discard it"
            )
        # The list that is there is the same, unless somebody changed it.
        listing.replace(folder / INPUTS)
    else:
        _clear_but(folder, listing)
        listing.replace(folder / INPUTS)
        write_whole(folder / MANIFEST, text)
    return hashlib.sha256(text).digest()


def holds_work(folder: Path) -> bool:
    """Whether something has been done in a folder, and is known of what; else it is nobody's."""
    has_parts = any(path.name.startswith(PART) for path in folder.iterdir())
    return has_parts and (folder / MANIFEST).exists()


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
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise UsageError(f"{folder / MANIFEST}: is damaged; give --restart to begin anew")
    return found


def _differences(found: dict[str, Any], wanted: dict[str, Any], folder: Path) -> str:
    """What two manifests do not have in common, in words."""
    old, new = _flat(found), _flat(wanted)
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    said = [
        f"{brief(key, 80)} was {_value(old, key)}, is {_value(new, key)}"
        for key in keys
        if not key.startswith("inputs.")
    ]
    if len(said) < len(keys):
        said.append(_first_other_input(folder))
    return brief("; ".join(said), 2000)


def _value(facts: Mapping[str, Any], key: str) -> str:
    return brief(facts.get(key, "not there"), 200)


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
        number = 1
        for was, now in zip_longest(old, new):
            inputs = _inputs_in(now)
            if was != now:
                return _other_input(_inputs_in(was), inputs, number)
            number += len(inputs)
    return "the list of its inputs is damaged"


def _other_input(old: list[Any], new: list[Any], number: int) -> str:
    pairs = zip_longest(old, new, fillvalue=("none", None))
    for place, ((before, was), (after, now)) in enumerate(pairs, start=number):
        if before != after:
            return f"input {place} was {brief(before, 200)}, is {brief(after, 200)}"
        if was != now:
            return f"input {place}, {brief(after, 200)}, has changed since"
    return f"input {number}, {brief(new[0][0], 200)}, and those after it are read in other parts"


def _inputs_in(line: bytes | None) -> list[Any]:
    """Names of a line's inputs, and what else is stated of each."""
    if line is None:
        return []
    try:
        names, *rest = json.loads(line)
        if not isinstance(names, list):
            names, rest = [names], [[rest]]
        return list(zip(names, rest[0], strict=True))
    except (ValueError, LookupError, TypeError, RecursionError):
        return [("damaged", line)]


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
