"""Oracles of safetensors and of PyTorch's two formats: json, zipfile, pickle, and slices."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections import OrderedDict
from typing import Any

from tests.fuzz.declared import (
    ITEM_BYTES,
    Declared,
    Files,
    Stored,
    UndecidedError,
    byteswapped,
    gathered,
    inside,
    require,
)

_SAFETENSORS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_SAFETENSORS |= {"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8"}
_SAFETENSORS |= {"U8": "uint8", "BOOL": "bool"}

_STORAGES = {"Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16"}
_STORAGES |= {"Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8"}
_STORAGES |= {"Byte": "uint8", "Bool": "bool"}

_WRAPPERS = ("state_dict", "model", "model_state_dict", "net", "state_dict_ema", "model_ema")


def safetensors(files: Files) -> Declared:
    """A safetensors file: each entry's bytes at its offsets, all bytes used once."""
    (data,) = files.values()
    length = int.from_bytes(data[:8], "little")
    text = inside(data, 8, length, "the header").decode()
    header = json.loads(text, object_pairs_hook=lambda pairs: pairs)
    body, used, found = data[8 + length :], 0, {}
    require(len(dict(header)) == len(header), "a name twice")
    for name, pairs in header:
        if name != "__metadata__":
            require(len(pairs) == 3, "a field twice")
            entry = dict(pairs)
            begin, end = entry["data_offsets"]
            bits = inside(body, begin, end - begin, name)
            found[name] = Stored(_SAFETENSORS[entry["dtype"]], tuple(entry["shape"]), bits)
            used += len(bits)
    require(used == len(body), "bytes without an owner, or with two")
    return found


class _Storage:
    def __init__(self, dtype: str, key: str, count: int) -> None:
        self.dtype, self.key, self.count = dtype, key, count


class _Tensor:
    fields = 2

    def __init__(self, storage: Any, offset: Any, shape: Any, strides: Any, *more: Any) -> None:
        self.storage, self.offset = storage, offset
        self.shape, self.strides, self.more = tuple(shape), tuple(strides), more
        # What is put into the metadata after the tensor is made does not count.
        self.has_metadata = any(more[self.fields :])


class _TypedTensor(_Tensor):
    """Of a storage of bytes: the element type stands behind the hooks."""

    fields = 3


def _unwrapped(tensor: _Tensor, *_: Any) -> _Tensor:
    return tensor


# The unpickler written in Python: it minds frames, and its memo is a dict, whatever the index.
_PythonUnpickler: Any = pickle._Unpickler


class _Unpickler(_PythonUnpickler):  # type: ignore[misc]
    """Python's own unpickler; of what a pickle names, it hands out the stand-ins above."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name.startswith("_rebuild_tensor"):
            return _TypedTensor if name.endswith("_v3") else _Tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _unwrapped
        if (module, name) == ("torch", "Size"):
            return tuple
        if module == "torch" and name.endswith("Storage"):
            return _STORAGES[name.removesuffix("Storage")]
        if module == "torch" and name in ITEM_BYTES:
            return name
        if module == "torch.storage":
            return "uint8"
        raise UndecidedError(f"the global {module}.{name}")

    def persistent_load(self, identifier: Any) -> _Storage:
        tag, dtype, key, _, count = identifier[:5]
        require(tag == "storage", "a persistent id that is no storage")
        return _Storage(dtype, key, count)


def _load(stream: io.BytesIO) -> Any:
    # Texts of Python 2 are bytes; pickletools, and so the reader, takes them as Latin-1.
    return _Unpickler(stream, encoding="latin-1").load()


def _is_model(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(v, _Tensor) for v in value.values())


def _tensors(loaded: Any) -> dict[str, _Tensor]:
    """The state dict in an object, by the documented order of preference."""
    if not _is_model(loaded):
        holders = [key for key, value in loaded.items() if _is_model(value)]
        known = [key for key in _WRAPPERS if key in holders]
        require(bool(known) or len(holders) == 1, "no state dict, or several")
        loaded = loaded[(known or holders)[0]]
    tensors = {name: value for name, value in loaded.items() if isinstance(value, _Tensor)}
    if all(name.startswith("module.") and len(name) > 7 for name in tensors):
        tensors = {name[7:]: value for name, value in tensors.items()}
    return tensors


def _stored(tensor: _Tensor, data: bytes, big_endian: bool) -> Stored:
    typed = isinstance(tensor, _TypedTensor)
    dtype = tensor.more[2] if typed else tensor.storage.dtype
    require(not tensor.has_metadata, "metadata of a tensor")
    item = ITEM_BYTES[dtype]
    bits = gathered(data, item, tensor.offset, tensor.shape, tensor.strides)
    return Stored(dtype, tensor.shape, byteswapped(bits, item) if big_endian else bits)


def torch_zip(files: Files) -> Declared:
    """A torch zip: zipfile gives the members, and compares every one with its checksum."""
    (data,) = files.values()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        require(len(set(names)) == len(names), "a member twice")
        members = {name: archive.read(name) for name in names}
    (program,) = (name for name in members if name.endswith("/data.pkl"))
    root = program.removesuffix("data.pkl")
    big_endian = members.get(f"{root}byteorder", b"little") == b"big"
    tensors = _tensors(_load(io.BytesIO(members[program])))
    found: Declared = {}
    for name, tensor in tensors.items():
        storage = tensor.storage
        content = members[f"{root}data/{storage.key}"]
        require(len(content) == storage.count * ITEM_BYTES[storage.dtype], "a storage's length")
        found[name] = _stored(tensor, content, big_endian)
    return found


def torch_legacy(files: Files) -> Declared:
    """A legacy torch file: five pickles, then a count and the elements for each storage."""
    (data,) = files.values()
    stream = io.BytesIO(data)
    magic, version, _, loaded, keys = (_load(stream) for _ in range(5))
    require((magic, version) == (0x1950A86A20F9469CFC6C, 1001), "magic number and version")
    tensors, at = _tensors(loaded), stream.tell()
    sizes = _storage_sizes(loaded)
    contents = {}
    for key in keys:
        count = int.from_bytes(inside(data, at, 8, "a count"), "little")
        size = count * sizes[key]
        contents[key] = inside(data, at + 8, size, f"storage {key}")
        at += 8 + size
    require(at == len(data), "bytes after the last storage")
    return {name: _stored(t, contents[t.storage.key], False) for name, t in tensors.items()}


def _storage_sizes(loaded: Any) -> dict[str, int]:
    """Bytes of an element of every storage that a tensor anywhere in the object uses."""
    sizes: dict[str, int] = {}
    left, seen = [loaded], set()
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list | tuple):
            left += value
        elif isinstance(value, _Tensor):
            left += [value.storage, *value.more]
        elif isinstance(value, _Storage):
            sizes[value.key] = ITEM_BYTES[value.dtype]
    return sizes
