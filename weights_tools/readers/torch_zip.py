"""The torch format since 1.6: an uncompressed zip of a pickle and one member per storage.

``<root>/data.pkl`` holds the object, ``<root>/data/<key>`` the elements of a storage, and
``<root>/byteorder`` says ``little`` or ``big`` (absent before 2.1: little).  Elements of a
big-endian file are swapped.  Format: ``_save`` in ``torch/serialization.py``.
"""

from __future__ import annotations

from minimix.errors import WeightsError
from weights_tools.readers.checkpoint import Contents, shown
from weights_tools.readers.pickle_program import (
    TRUNCATED,
    PickleStream,
    list_globals,
    most_pickle_bytes,
)
from weights_tools.readers.source import Source
from weights_tools.readers.torch_objects import ALLOWED_GLOBALS, StorageStub, StorageTable
from weights_tools.readers.torch_tensors import choose_state_dict, to_arrays
from weights_tools.readers.unpickler import load
from weights_tools.readers.zip_members import Member, list_members

PICKLE_NAME = "data.pkl"


def is_zip(source: Source) -> bool:
    """Whether the file starts with a zip member."""
    return source.data[:4] == b"PK\x03\x04"


def is_torch_zip(source: Source) -> bool:
    """Whether the file is a zip with a ``data.pkl``: first, or listed in an intact directory."""
    if not is_zip(source):
        return False
    # torch writes the pickle first, which still tells a damaged file from other archives.
    if f"/{PICKLE_NAME}".encode() in source.data[30:1024]:
        return True
    try:
        return any(name.endswith(f"/{PICKLE_NAME}") for name in list_members(source))
    except WeightsError:
        return False


def read_torch_zip(source: Source) -> Contents:
    """Open torch zip -> tensors and metadata.

    Raises:
        WeightsError: the archive is damaged or compressed, is no state dict, asks to run code.
    """
    members = list_members(source)
    # Those that are not needed too: a damaged file is not to be trusted in part.
    for member in members.values():
        member.check(source)
    root, pickle = _pickle_member(source, members)
    big_endian = _is_big_endian(source, members.get(f"{root}/byteorder"))
    pickled = _pickled(source, pickle)
    stream = PickleStream(pickled, f"{source.path}: {shown(pickle.name)}")
    storages = StorageTable()
    loaded = load(stream, ALLOWED_GLOBALS, storages.persistent_load)
    if stream.tell() != len(pickled):
        raise source.fail(f"{shown(pickle.name)} goes on after its pickle. {TRUNCATED}")
    try:
        chosen = choose_state_dict(loaded)
    except ValueError as error:
        raise source.fail(f"{shown(pickle.name)}: {error}") from error
    used = {stub.storage.key: stub.storage for stub in chosen.stubs.values()}
    starts = {key: _start(source, members, root, stub) for key, stub in used.items()}
    return Contents(to_arrays(source, chosen.stubs, starts, big_endian), chosen.metadata)


def zip_globals(source: Source) -> list[str]:
    """Open torch zip -> the globals that its pickle names.

    Raises:
        WeightsError: the archive is damaged or compressed.
    """
    _, pickle = _pickle_member(source, list_members(source))
    return list_globals(_pickled(source, pickle))


def _pickle_member(source: Source, members: dict[str, Member]) -> tuple[str, Member]:
    """Return the archive's root folder and its pickle; there must be exactly one."""
    found = [name for name in members if name.endswith(f"/{PICKLE_NAME}")]
    if len(found) != 1:
        raise source.fail(f"{len(found)} members named {PICKLE_NAME}; expected 1. {TRUNCATED}")
    return found[0].removesuffix(f"/{PICKLE_NAME}"), members[found[0]]


def _pickled(source: Source, member: Member) -> bytes:
    return _content(source, member, most_pickle_bytes(), " (MINIMIX_MAX_PICKLE_BYTES)")


def _content(source: Source, member: Member, limit: int, override: str = "") -> bytes:
    if member.size_bytes > limit:
        found = f"{shown(member.name)} has {member.size_bytes} bytes"
        raise source.fail(f"{found}; accepted are {limit}{override}")
    member.check(source)
    return source.data[member.start : member.end]


def _is_big_endian(source: Source, member: Member | None) -> bool:
    if member is None:
        return False
    order = _content(source, member, limit=16)
    if order not in (b"little", b"big"):
        raise source.fail(f"{shown(member.name)} says {order!r}; expected b'little' or b'big'")
    return order == b"big"


def _start(source: Source, members: dict[str, Member], root: str, storage: StorageStub) -> int:
    """Return where a storage's elements begin, after comparing its length."""
    member = members.get(f"{root}/data/{storage.key}")
    if member is None or member.size_bytes != storage.size_bytes:
        found = f"it has {member.size_bytes}" if member else "there is no such member"
        name = shown(f"{root}/data/{storage.key}")
        raise source.fail(f"expected {storage.size_bytes} bytes in {name}, {found}. {TRUNCATED}")
    return member.start
