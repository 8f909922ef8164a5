"""The torch format of 2016 to 2020, before it was a zip: five pickles, then the raw storages.

    magic number | protocol 1001 | facts of the machine | the object | list of storage keys
    then per key: element count as int64, and the elements

Numbers are little-endian whatever machine wrote them (``THPStorage_writeFileRaw`` swaps), so the
third pickle's ``little_endian`` is of no use here.  Format: ``_legacy_save`` in
``torch/serialization.py``.
"""

from __future__ import annotations

import struct
from typing import Any

from weights_tools.readers.checkpoint import Contents, shown, shown_size
from weights_tools.readers.pickle_program import TRUNCATED, PickleStream, list_globals
from weights_tools.readers.source import Source
from weights_tools.readers.torch_objects import ALLOWED_GLOBALS, StorageStub, StorageTable
from weights_tools.readers.torch_tensors import choose_state_dict, to_arrays
from weights_tools.readers.unpickler import load

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
MAGIC_BYTES = b"\x8a\x0a" + MAGIC_NUMBER.to_bytes(10, "little")
"""The magic number as every pickle protocol from 2 on writes it."""

_COUNT = struct.Struct("<q")


def is_torch_legacy(source: Source) -> bool:
    """Whether the file starts with the pickled magic number; a FRAME may come before it."""
    head = source.data[:32]
    return head[:1] == b"\x80" and MAGIC_BYTES in head


def read_torch_legacy(source: Source) -> Contents:
    """Open legacy torch file -> tensors and metadata.

    Raises:
        WeightsError: the file is damaged, is no state dict, or asks to run code.
    """
    stream = PickleStream(source.data, str(source.path))
    _expect(source, "magic number", load(stream, {}), MAGIC_NUMBER)
    _expect(source, "protocol version", load(stream, {}), PROTOCOL_VERSION)
    load(stream, {})
    storages = StorageTable()
    loaded = load(stream, ALLOWED_GLOBALS, storages.persistent_load)
    keys = load(stream, {})
    starts = _storage_starts(source, keys, storages.by_key, stream.tell())
    try:
        chosen = choose_state_dict(loaded)
    except ValueError as error:
        raise source.fail(str(error)) from error
    return Contents(to_arrays(source, chosen.stubs, starts, big_endian=False), chosen.metadata)


def legacy_globals(source: Source) -> list[str]:
    """Open legacy torch file -> the globals that its pickles name."""
    return list_globals(source.data, pickles=5)


def _expect(source: Source, what: str, found: Any, expected: int) -> None:
    if type(found) is not int or found != expected:
        raise source.fail(f"{what} is {shown_size(found)}; expected {expected}. {TRUNCATED}")


def _storage_starts(
    source: Source, keys: Any, storages: dict[str, StorageStub], position: int
) -> dict[str, int]:
    """Walk the storages from ``position``; return where the elements of each begin, in bytes."""
    if type(keys) is not list or any(type(key) is not str for key in keys):
        raise source.fail(f"expected a list of storage keys before byte {position}. {TRUNCATED}")
    if len(set(keys)) != len(keys) or set(keys) != set(storages):
        raise source.fail(
            f"the file lists {len(keys)} storages and its tensors name {len(storages)}; expected "
            f"the same, each once. {TRUNCATED}"
        )
    starts: dict[str, int] = {}
    for key in keys:
        starts[key] = position + _COUNT.size
        end = starts[key] + storages[key].size_bytes
        if end > source.size_bytes:
            raise source.fail(
                f"storage {shown(key)} ends at byte {end}, the file at {source.size_bytes}. "
                f"{TRUNCATED}"
            )
        (count,) = _COUNT.unpack_from(source.data, position)
        if count != storages[key].count:
            raise source.fail(
                f"storage {shown(key)} has {count} elements at byte {position}, its tensors "
                f"expect {storages[key].count}. {TRUNCATED}"
            )
        position = end
    if position != source.size_bytes:
        extra = source.size_bytes - position
        raise source.fail(f"{extra} bytes follow the last storage; expected none. {TRUNCATED}")
    return starts
