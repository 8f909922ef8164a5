"""The object in a torch file -> its state dict -> arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from weights_tools.readers.checkpoint import Array, Tensors, checked_name, shown
from weights_tools.readers.scalars import SCALARS, owned
from weights_tools.readers.source import Source
from weights_tools.readers.torch_objects import TensorStub

WRAPPER_KEYS = ("state_dict", "model", "model_state_dict", "net", "state_dict_ema", "model_ema")
"""Keys under which training scripts keep the state dict, in order of preference."""

MAX_LISTED = 50
"""The most ignored entries that the metadata lists."""

PARALLEL_PREFIX = "module."
"""What ``torch.nn.DataParallel`` puts before every name."""


@dataclass(frozen=True)
class StateDict:
    """The tensors chosen from a torch file, and a note on the choice."""

    stubs: Mapping[str, TensorStub]
    metadata: dict[str, str]


def choose_state_dict(loaded: Any) -> StateDict:
    """Unpickled object -> its state dict.

    A dict of tensors is taken as it is.  Of a wrapper such as ``{"state_dict": ..., "epoch": 7}``
    the first of ``WRAPPER_KEYS`` that holds tensors is taken, else the only entry that does;
    the metadata says which (``taken``), and what was left (``ignored``).  A ``module.`` before
    all names is removed (``prefix_removed``).

    Raises:
        ValueError: there are no tensors, or several dicts to choose from under unknown keys.
    """
    if type(loaded) is not dict:
        found = "one tensor" if isinstance(loaded, TensorStub) else type(loaded).__name__
        raise ValueError(f"expected a dict of tensors, found {found}")
    taken, entries = _unwrap(loaded)
    stubs = {checked_name(k): v for k, v in entries.items() if isinstance(v, TensorStub)}
    metadata: dict[str, str] = {}
    if taken is not None:
        metadata["taken"] = str(taken)
    beside = [item for item in loaded.items() if item[0] != taken] if taken is not None else []
    ignored = [item for item in entries.items() if not isinstance(item[1], TensorStub)] + beside
    if ignored:
        metadata["ignored"] = _listing(ignored)
    if all(name.startswith(PARALLEL_PREFIX) and name != PARALLEL_PREFIX for name in stubs):
        stubs = {name.removeprefix(PARALLEL_PREFIX): stub for name, stub in stubs.items()}
        metadata["prefix_removed"] = PARALLEL_PREFIX
    return StateDict(stubs, metadata)


def _unwrap(loaded: dict[Any, Any]) -> tuple[Any, dict[Any, Any]]:
    """Return the key taken and the dict under it; None and the whole where it is no wrapper."""
    if any(isinstance(value, TensorStub) for value in loaded.values()):
        return None, loaded
    holders = [key for key, value in loaded.items() if _holds_tensors(value)]
    known = [key for key in WRAPPER_KEYS if key in holders]
    if not known and len(holders) != 1:
        found = ", ".join(shown(key) for key in holders[:5]) or "none"
        raise ValueError(
            f"expected a state dict, or one under {' or '.join(WRAPPER_KEYS)}; dicts of tensors "
            f"in the file: {found}. Save model.state_dict() alone where the file is trusted"
        )
    key = (known or holders)[0]
    return key, loaded[key]


def _holds_tensors(value: Any) -> bool:
    return type(value) is dict and any(isinstance(v, TensorStub) for v in value.values())


def _listing(items: list[tuple[Any, Any]]) -> str:
    parts = []
    for key, value in items[:MAX_LISTED]:
        name = key if type(key) is str and key.isidentifier() else shown(key)
        if type(value) is str:
            parts.append(f"{name}={shown(value)}")
        elif value is None or type(value) in (bool, int, float):
            parts.append(f"{name}={str(value)[:80]}")
        else:
            parts.append(f"{name} ({type(value).__name__})")
    more = len(items) - MAX_LISTED
    return ", ".join(parts) + (f", and {more} more" if more > 0 else "")


def to_arrays(
    source: Source, stubs: Mapping[str, TensorStub], starts: Mapping[str, int], big_endian: bool
) -> Tensors:
    """Stubs and the position of each storage in the file, in bytes -> arrays.

    A tensor under two names gives one array twice.  Any other overlap is refused: with it, a
    small file could name arrays of any total size.

    Raises:
        WeightsError: two tensors overlap.
    """
    _check_disjoint(source, stubs)
    arrays: dict[TensorStub, Array] = {}
    for stub in stubs.values():
        if stub not in arrays:
            start = starts[stub.storage.key] + stub.extent[0]
            arrays[stub] = _array(source, stub, start, big_endian)
    return {name: arrays[stub] for name, stub in stubs.items()}


def _array(source: Source, stub: TensorStub, start: int, big_endian: bool) -> Array:
    dtype = SCALARS[stub.scalar].newbyteorder(">" if big_endian else "<")
    first, after = stub.extent
    if first == after:
        return owned(np.zeros(stub.shape, dtype), stub.scalar)
    flat = np.frombuffer(source.data, dtype, (after - first) // dtype.itemsize, start)
    strides = [stride * dtype.itemsize for stride in stub.strides]
    # The extent was checked against the storage, and the storage against the file.
    return owned(np.lib.stride_tricks.as_strided(flat, stub.shape, strides), stub.scalar)


def _check_disjoint(source: Source, stubs: Mapping[str, TensorStub]) -> None:
    by_stub = {stub: name for name, stub in stubs.items() if stub.extent != (0, 0)}
    ordered = sorted(by_stub, key=lambda stub: (stub.storage.key, stub.extent))
    for before, after in zip(ordered, ordered[1:], strict=False):
        same_storage = before.storage.key == after.storage.key
        if same_storage and after.extent[0] < before.extent[1]:
            raise source.fail(
                f"tensors {shown(by_stub[before])} and {shown(by_stub[after])} overlap in the "
                f"storage {shown(before.storage.key)}; expected each to have its own elements. "
                "Save copies of them where the file is trusted"
            )
