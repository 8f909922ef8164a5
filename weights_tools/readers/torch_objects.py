"""What a state dict's pickle may name, and the stubs that stand for its tensors.

A stub says which elements of which storage a tensor is; no data is read while unpickling.
Argument orders are those of ``torch/_utils.py`` and of ``persistent_id`` in
``torch/serialization.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weights_tools.readers.checkpoint import checked_sizes, element_count, shown, shown_size
from weights_tools.readers.scalars import SCALARS
from weights_tools.readers.unpickler import Constructor, add_items


@dataclass(frozen=True)
class StorageType:
    """A storage class of PyTorch: its element type, or bytes whose type the tensor says."""

    scalar: str
    is_untyped: bool = False


@dataclass(frozen=True)
class StorageStub:
    """A run of elements in the file, by key."""

    key: str
    type: StorageType
    count: int

    @property
    def size_bytes(self) -> int:
        """Bytes that the storage takes in the file."""
        return self.count * SCALARS[self.type.scalar].itemsize


@dataclass(frozen=True)
class TensorStub:
    """A tensor as a view into a storage; ``offset`` and ``strides`` in elements."""

    storage: StorageStub
    scalar: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def extent(self) -> tuple[int, int]:
        """First byte and byte after the last within the storage; empty tensors give (0, 0)."""
        if element_count(self.shape) == 0:
            return 0, 0
        steps = (size - 1 for size in self.shape)
        last = self.offset + sum(n * d for n, d in zip(steps, self.strides, strict=True))
        item_bytes = SCALARS[self.scalar].itemsize
        return self.offset * item_bytes, (last + 1) * item_bytes


class StorageTable:
    """The storages that a pickle names, each of one type and length."""

    def __init__(self) -> None:
        self.by_key: dict[str, StorageStub] = {}

    def persistent_load(self, identifier: Any) -> StorageStub:
        """Return the stub of a persistent id; ValueError for anything but a known storage."""
        if type(identifier) is not tuple or len(identifier) not in (5, 6):
            raise ValueError("expected a storage of 5 or 6 fields as persistent id")
        tag, storage_type, key, _location, count = identifier[:5]
        if tag != "storage" or not isinstance(storage_type, StorageType):
            raise ValueError("the persistent id is no storage; whole modules cannot be read")
        if not isinstance(key, str) or type(count) is not int or count < 0:
            found = shown(key) if isinstance(key, str) else _kind(key)
            raise ValueError(f"storage {found}: expected a text key and a length")
        if identifier[5:] not in ((), (None,)):
            raise ValueError(f"storage {shown(key)}: views of storages (PyTorch before 0.4)")
        stub = StorageStub(key, storage_type, count)
        if self.by_key.setdefault(key, stub) != stub:
            raise ValueError(f"storage {shown(key)} is named with two types or lengths")
        return stub


def _rebuild_tensor(arguments: tuple[Any, ...]) -> TensorStub:
    """Build from (storage, offset, size, stride[, requires_grad, hooks[, metadata]])."""
    if len(arguments) not in (4, 6, 7):
        raise ValueError(f"a tensor of {len(arguments)} fields; expected 4, 6 or 7")
    storage, offset, shape, strides = arguments[:4]
    if not isinstance(storage, StorageStub) or storage.type.is_untyped:
        raise ValueError("expected a storage of a known element type")
    _check_no_metadata(arguments[6:])
    return _checked_tensor(storage, storage.type.scalar, offset, shape, strides)


def _rebuild_tensor_v3(arguments: tuple[Any, ...]) -> TensorStub:
    """Build from (storage, offset, size, stride, requires_grad, hooks, type[, metadata])."""
    if len(arguments) not in (7, 8):
        raise ValueError(f"a tensor of {len(arguments)} fields; expected 7 or 8")
    storage, offset, shape, strides, _, _, scalar = arguments[:7]
    if not isinstance(storage, StorageStub) or not isinstance(scalar, ScalarName):
        raise ValueError("expected a storage and an element type")
    _check_no_metadata(arguments[7:])
    return _checked_tensor(storage, scalar.name, offset, shape, strides)


def _check_no_metadata(metadata: tuple[Any, ...]) -> None:
    """Refuse what else a tensor may be told to be: the negative of its elements, for one."""
    if metadata not in ((), (None,), ({},)):
        raise ValueError("a tensor with metadata, as lazily negated ones have; expected none")


def _checked_tensor(
    storage: StorageStub, scalar: str, offset: Any, shape: Any, strides: Any
) -> TensorStub:
    shape, strides = checked_sizes(shape, "shape"), checked_sizes(strides, "strides")
    if type(offset) is not int or offset < 0 or len(shape) != len(strides):
        raise ValueError(f"expected an offset and a stride per dimension, found {_kind(offset)}")
    element_count(shape)
    stub = TensorStub(storage, scalar, offset, shape, strides)
    _check_distinct(stub)
    if stub.extent[1] > storage.size_bytes:
        raise ValueError(
            f"a tensor of shape {shape} ends at byte {stub.extent[1]} of its storage, "
            f"which has {storage.size_bytes}"
        )
    return stub


def _check_distinct(stub: TensorStub) -> None:
    """Refuse strides that reach one element twice: they make an array larger than its file."""
    reach = 0
    for stride, size in sorted(zip(stub.strides, stub.shape, strict=True)):
        if size > 1 and stride <= reach and 0 not in stub.shape:
            raise ValueError(f"shape {stub.shape} with strides {stub.strides} overlaps itself")
        reach += (size - 1) * stride


def _kind(value: object) -> str:
    return shown_size(value) if type(value) is int else type(value).__name__


def _rebuild_parameter(arguments: tuple[Any, ...]) -> TensorStub:
    """Build from (tensor, requires_grad, hooks): a parameter is its tensor."""
    if len(arguments) != 3 or not isinstance(arguments[0], TensorStub):
        raise ValueError("expected a parameter of a tensor and two fields")
    return arguments[0]


def _ordered_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """Build from () as Python 3 writes it, or (list of [key, value],) as Python 2 does."""
    pairs = arguments[0] if len(arguments) == 1 else []
    if len(arguments) > 1 or type(pairs) is not list:
        raise ValueError("expected an OrderedDict of nothing, or of a list of pairs")
    if any(type(pair) not in (list, tuple) or len(pair) != 2 for pair in pairs):
        raise ValueError("expected an OrderedDict of pairs")
    result: dict[Any, Any] = {}
    add_items(result, pairs)
    return result


def _size(arguments: tuple[Any, ...]) -> tuple[int, ...]:
    if len(arguments) != 1:
        raise ValueError("expected a torch.Size of one tuple")
    return checked_sizes(arguments[0], "torch.Size")


@dataclass(frozen=True)
class ScalarName:
    """An element type that the pickle names, such as ``torch.float32``."""

    name: str


_STORAGE_CLASSES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
_BYTES = StorageType("uint8", is_untyped=True)

ALLOWED_GLOBALS: Mapping[str, object] = {
    "collections.OrderedDict": Constructor(_ordered_dict),
    "torch._utils._rebuild_tensor": Constructor(_rebuild_tensor),
    "torch._utils._rebuild_tensor_v2": Constructor(_rebuild_tensor),
    "torch._utils._rebuild_tensor_v3": Constructor(_rebuild_tensor_v3),
    "torch._utils._rebuild_parameter": Constructor(_rebuild_parameter),
    "torch.Size": Constructor(_size),
    "torch.storage.UntypedStorage": _BYTES,
    "torch.storage._UntypedStorage": _BYTES,  # its name in PyTorch 1.11 and 1.12
    **{f"torch.{name}": StorageType(scalar) for name, scalar in _STORAGE_CLASSES.items()},
    **{f"torch.{scalar}": ScalarName(scalar) for scalar in SCALARS},
}
"""Every global a state dict may name -> what stands for it here; all others are refused."""
