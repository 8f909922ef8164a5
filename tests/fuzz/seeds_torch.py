"""Small valid checkpoints of safetensors and of PyTorch's two formats."""

from __future__ import annotations

import io
import json
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.checkpoint_writers import (
    Storage,
    Tensor,
    legacy_bytes,
    safetensors_bytes,
    safetensors_file,
    state_dict,
    torch_zip_bytes,
)
from tests.fuzz.mutations import Files, Seed
from tests.fuzz.narrow_model import timm_tensors
from tests.fuzz.samples import FLOATS, SAMPLE, single


def _safetensors_seed(data: bytes, **facts: Any) -> Seed:
    """A seed whose header keeps its length, and whose data may be exchanged."""
    end = 8 + int.from_bytes(data[:8], "little")
    pieces = {"header": data[8:end], "data": data[end:]}

    def assemble(pieces: Mapping[str, bytes]) -> Files:
        return single(safetensors_file(pieces.get("header", b""), pieces.get("data", b"")))

    tokens = (
        *(b'"BF16"', b'"F64"', b'"BOOL"', b"[]", b"{}", b'"__metadata__":{"a":"b"},'),
        *(b"[", b"{", b"\\u0000", b"\\ud800", b'"w":', b"null", b"-0", b"1e3", b"\xef\xbb\xbf"),
    )
    return Seed(single(data), pieces, assemble, tokens, **facts)


def safetensors() -> list[Seed]:
    bfloat16 = {
        "__metadata__": {"format": "pt"},
        "w": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]},
        "v": {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]},
    }
    return [
        _safetensors_seed(safetensors_bytes(SAMPLE)),
        _safetensors_seed(safetensors_bytes(FLOATS)),
        _safetensors_seed(safetensors_file(json.dumps(bfloat16).encode(), bytes(range(12)))),
        _safetensors_seed(safetensors_bytes(timm_tensors()), frequency=1, is_model=True),
    ]


_PICKLE_TOKENS = (
    *(b"(", b")", b"]", b"}", b"N", b"\x88", b"\x94", b"0", b"1", b"2", b"R", b"b", b"o", b"Q"),
    *(b"a", b"e", b"s", b"u", b"t", b"\x85", b"\x86", b"\x87", b"\x93", b"\x81", b"\x8f", b"."),
    *(b"h\x00", b"h\x01", b"q\x02", b"j\x00\x00\x00\x00", b"K\x01", b"J\xff\xff\xff\xff"),
    *(b"cos\nsystem\n", b"ccollections\nOrderedDict\n", b"ctorch\nFloatStorage\n"),
    *(b"ctorch\nSize\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nbfloat16\n"),
    *(b"ctorch._utils\n_rebuild_parameter\n", b"ctorch.storage\nUntypedStorage\n"),
    *(b"X\x07\x00\x00\x00storage", b"\x8a\xff" + b"\x7f" * 255, b"G" + bytes(8), b"I1\n", b"L1L\n"),
    *(b"T\xff\xff\xff\x7f", b"\x8e" + b"\xff" * 8, b"\x95" + b"\xff" * 8, b"X\x01\x00\x00\x00\x1b"),
)


def _torch_objects() -> list[Any]:
    values = np.arange(24, dtype=np.float32)
    storage = Storage("7", values)
    shared = OrderedDict(
        turned=Tensor(storage, (3, 2), (1, 3), 1),
        behind=Tensor(storage, (4,), (2,), 10),
        again=Tensor(storage, (4,), (2,), 10),
        brain=Tensor(Storage("b", np.array([0x3F80, 0xC000], np.uint16), "bfloat16"), (2,)),
    )
    return [
        state_dict(SAMPLE),
        {"epoch": 7, "state_dict": state_dict(FLOATS), "best": 0.75, "arch": "mixnet_s"},
        {"module." + name: tensor for name, tensor in shared.items()},
    ]


def _zip_seed(data: bytes, **facts: Any) -> Seed:
    """A seed whose members are stored anew, each with the checksum that it then has."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    tokens = (
        *(
            b"PK\x01\x02",
            b"PK\x03\x04",
            b"PK\x05\x06",
            b"PK\x06\x06",
            b"PK\x06\x07",
            b"\x08\x00",
        ),
        *(b"\x01\x00\x10\x00" + b"\xff" * 16, b"data/0", b"/data.pkl", b"\x1b", b"big"),
    )
    return Seed(_zipped(members), members, _zipped, (*_PICKLE_TOKENS, *tokens), **facts)


def _zipped(members: Mapping[str, bytes]) -> Files:
    """Members -> an archive that does not depend on the time of day."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, body in members.items():
            archive.writestr(zipfile.ZipInfo(name), body)
    return single(file.getvalue())


def torch_zip() -> list[Seed]:
    seeds = [
        _zip_seed(torch_zip_bytes(content, protocol, order))
        for content, protocol, order in zip(
            _torch_objects(), (2, 4, 3), ("little", None, "big"), strict=True
        )
    ]
    model = torch_zip_bytes({"state_dict": _in_one_storage(timm_tensors())})
    return [*seeds, _zip_seed(model, frequency=1, is_model=True)]


def _in_one_storage(tensors: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, Tensor]:
    """Tensors as views into one storage: hundreds of members would not fit into a small file."""
    storage = Storage("0", np.concatenate([array.reshape(-1) for array in tensors.values()]))
    views, offset = {}, 0
    for name, array in tensors.items():
        views[name] = Tensor(storage, array.shape, None, offset)
        offset += array.size
    return views


def torch_legacy() -> list[Seed]:
    objects = zip(_torch_objects(), (2, 3, 4), strict=True)
    files = [legacy_bytes(content, protocol) for content, protocol in objects]
    model = legacy_bytes(state_dict(timm_tensors()))
    return [
        *(Seed(single(data), tokens=_PICKLE_TOKENS) for data in files),
        Seed(single(model), tokens=_PICKLE_TOKENS, frequency=1, is_model=True),
    ]
