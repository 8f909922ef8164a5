"""Checkpoints as bytes, written without PyTorch: what the readers' tests read back.

Stand-ins reduce to the globals that PyTorch's objects reduce to; the pickles come out equal to
those of ``torch.save`` (``tests/test_readers.py`` compares them with the kept files).
"""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

STORAGE_CLASSES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}
SAFETENSORS_DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}


class Global:
    """Pickles as ``module.name``, which need not exist."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __reduce__(self) -> str:
        return self.name

    def __call__(self) -> None:
        raise AssertionError("a stand-in is never called")


class Storage:
    """Elements by key; ``scalar`` names their type, ``uint16`` arrays can be bfloat16."""

    def __init__(self, key: str, values: np.ndarray[Any, Any], scalar: str | None = None) -> None:
        self.key, self.values = key, values.reshape(-1)
        self.type = GLOBALS[scalar or values.dtype.name]


class Tensor:
    """A view into a storage, ``strides`` in elements: C order where they are not given."""

    def __init__(
        self,
        storage: Storage,
        shape: tuple[int, ...],
        strides: tuple[int, ...] | None = None,
        offset: int = 0,
    ) -> None:
        self.storage, self.shape, self.offset = storage, shape, offset
        steps = [int(np.prod(shape[axis + 1 :], dtype=object)) for axis in range(len(shape))]
        self.strides = tuple(steps) if strides is None else strides

    def __reduce__(self) -> tuple[Any, ...]:
        fields: tuple[Any, ...] = (
            self.storage,
            self.offset,
            self.shape,
            self.strides,
            False,
            OrderedDict(),
        )
        return REBUILD, fields


GLOBALS = {scalar: Global("torch", name) for scalar, name in STORAGE_CLASSES.items()}
REBUILD = Global("torch._utils", "_rebuild_tensor_v2")


# The pickler written in Python: its save_global can be replaced.
PythonPickler: Any = pickle._Pickler


class TorchPickler(PythonPickler):  # type: ignore[misc]
    """Pickler that writes storages as persistent ids and ``Global`` by its two names."""

    def __init__(self, file: io.BytesIO, protocol: int, legacy: bool) -> None:
        super().__init__(file, protocol)
        self.legacy = legacy
        self.storages: dict[str, Storage] = {}

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, Storage):
            return None
        self.storages[obj.key] = obj
        fields: tuple[Any, ...] = ("storage", obj.type, obj.key, "cpu", obj.values.size)
        return (*fields, None) if self.legacy else fields

    def save_global(self, obj: Any, name: str | None = None) -> None:
        if not isinstance(obj, Global):
            super().save_global(obj, name)
        elif self.proto >= 4:
            self.save(obj.module)
            self.save(obj.name)
            self.write(pickle.STACK_GLOBAL)
            self.memoize(obj)
        else:
            self.write(f"c{obj.module}\n{obj.name}\n".encode())
            self.memoize(obj)

    dispatch = PythonPickler.dispatch | {type(OrderedDict): save_global}


def pickled(
    content: Any, protocol: int = 2, legacy: bool = False
) -> tuple[bytes, dict[str, Storage]]:
    """Object -> its pickle, and the storages that it names."""
    file = io.BytesIO()
    pickler = TorchPickler(file, protocol, legacy)
    pickler.dump(content)
    return file.getvalue(), pickler.storages


def state_dict(arrays: Mapping[str, np.ndarray[Any, Any]]) -> OrderedDict[str, Tensor]:
    """Arrays -> an OrderedDict of tensors, one storage each, with a ``_metadata`` attribute."""
    state = OrderedDict(
        (name, Tensor(Storage(str(index), array), array.shape))
        for index, (name, array) in enumerate(arrays.items())
    )
    state._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    return state


def legacy_bytes(content: Any, protocol: int = 2) -> bytes:
    """Object -> a file as ``torch.save(..., _use_new_zipfile_serialization=False)`` writes it."""
    body, storages = pickled(content, protocol, legacy=True)
    sizes = {"short": 2, "int": 4, "long": 4}
    facts = {"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}
    parts = [pickle.dumps(item, protocol) for item in (0x1950A86A20F9469CFC6C, 1001, facts)]
    parts += [body, pickle.dumps(sorted(storages), protocol)]
    for key in sorted(storages):
        values = storages[key].values
        parts += [values.size.to_bytes(8, "little"), _little(values)]
    return b"".join(parts)


def torch_zip_bytes(
    content: Any, protocol: int = 2, byteorder: str | None = "little", compression: int = 0
) -> bytes:
    """Object -> a file as ``torch.save`` writes it since 1.6."""
    body, storages = pickled(content, protocol)
    members = {"archive/data.pkl": body, "archive/version": b"3\n"}
    if byteorder is not None:
        members["archive/byteorder"] = byteorder.encode()
    for key, storage in storages.items():
        swapped = storage.values.byteswap() if byteorder == "big" else storage.values
        members[f"archive/data/{key}"] = _little(swapped)
    return zip_bytes(list(members.items()), compression)


def zip_bytes(members: list[tuple[str, bytes]], compression: int = 0) -> bytes:
    """Named members -> a zip archive, at any time the same; a name may come twice."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, body in members:
            archive.writestr(zipfile.ZipInfo(name), body, compression)
    return file.getvalue()


def safetensors_bytes(arrays: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """Arrays -> a safetensors file, in their order."""
    header: dict[str, Any] = {}
    body = b""
    for name, array in arrays.items():
        begin, body = len(body), body + _little(array)
        dtype = SAFETENSORS_DTYPES[array.dtype.name]
        offsets = [begin, len(body)]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": offsets}
    return safetensors_file(json.dumps(header).encode(), body)


def safetensors_file(header: bytes, body: bytes = b"") -> bytes:
    """Header text and data -> a safetensors file, whatever the header says."""
    return len(header).to_bytes(8, "little") + header + body


def stored(folder: Path, data: bytes) -> Path:
    """Write a file whose name says nothing; a new one each time: the old may still be mapped."""
    path = folder / "checkpoint.bin"
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    return path


def same(
    found: Mapping[str, np.ndarray[Any, Any]], expected: Mapping[str, np.ndarray[Any, Any]]
) -> bool:
    """Whether names, types, shapes and bits agree."""
    return found.keys() == expected.keys() and all(
        found[name].dtype == array.dtype
        and found[name].shape == array.shape
        and found[name].tobytes() == array.tobytes()
        for name, array in expected.items()
    )


def _little(values: np.ndarray[Any, Any]) -> bytes:
    return values.astype(values.dtype.newbyteorder("<")).tobytes()
