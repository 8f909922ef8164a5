"""The table of containers: how each is known by its bytes, and what reads it.

A reader joins by a row.  Rows are asked from the first to the last, so the surer sign stands
above the weaker; a row without a reader serves the error, which then says what the file is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from weights_tools.readers.checkpoint import Contents
from weights_tools.readers.mindspore import is_mindspore, read_mindspore
from weights_tools.readers.onnx_model import is_onnx, read_onnx
from weights_tools.readers.openvino_ir import is_openvino, read_openvino
from weights_tools.readers.safetensors import is_safetensors, read_safetensors
from weights_tools.readers.source import Source
from weights_tools.readers.tensorflow_bundle import is_bundle_index, read_bundle_index
from weights_tools.readers.tensorflow_tar import is_gzip, is_tar, read_tar
from weights_tools.readers.torch_legacy import is_torch_legacy, legacy_globals, read_torch_legacy
from weights_tools.readers.torch_zip import is_torch_zip, is_zip, read_torch_zip, zip_globals

Reader = Callable[[Source], Contents]


@dataclass(frozen=True)
class Format:
    """One container.

    Attributes:
        name: what ``detect`` returns.
        matches: whether an open file is one, by its bytes.
        read: open file -> its contents; None where minimix has no reader.
        advice: what to do with such a file where there is no reader.
        list_globals: open file -> the globals that its pickles name; None without pickles.
    """

    name: str
    matches: Callable[[Source], bool]
    read: Reader | None = None
    advice: str = ""
    list_globals: Callable[[Source], list[str]] | None = None


def _starts(*prefixes: bytes) -> Callable[[Source], bool]:
    return lambda source: source.data[:64].lstrip().lower().startswith(prefixes)


def _magic(magic: bytes, position: int = 0) -> Callable[[Source], bool]:
    return lambda source: source.data[position : position + len(magic)] == magic


_UNPACK = "Unpack it and name the checkpoint inside"
_STATE_DICT = "Save model.state_dict() with torch.save, or ask the publisher for safetensors"

FORMATS: tuple[Format, ...] = (
    Format("torch-legacy", is_torch_legacy, read_torch_legacy, list_globals=legacy_globals),
    Format("torch-zip", is_torch_zip, read_torch_zip, list_globals=zip_globals),
    Format("zip", is_zip, advice=_UNPACK),
    Format(
        "hdf5",
        _magic(b"\x89HDF\r\n\x1a\n"),
        advice="A minimix model loads as it is (minimix --model); Keras weights are not supported",
    ),
    Format("tensorflow-bundle", is_bundle_index, read_bundle_index),
    Format("tensorflow-tar-gz", is_gzip, read_tar),
    Format("npy", _magic(b"\x93NUMPY"), advice="A single array is no checkpoint"),
    Format("tensorflow-tar", is_tar, read_tar),
    Format("safetensors", is_safetensors, read_safetensors),
    Format("pickle", _magic(b"\x80"), advice=_STATE_DICT),
    Format(
        "html", _starts(b"<!doctype html", b"<html"), advice="A web page: fetch the file itself"
    ),
    Format("openvino-ir", is_openvino, read_openvino),
    Format("xml", _starts(b"<?xml", b"<net "), advice="No reader takes it"),
    Format("onnx", is_onnx, read_onnx),
    Format("mindspore", is_mindspore, read_mindspore),
    Format(
        "git-lfs-pointer",
        _starts(b"version https://git-lfs"),
        advice="The repository holds a pointer only: run git lfs pull",
    ),
)
"""Every container known, readable or not."""


def find_format(source: Source) -> Format:
    """Open file -> its row of the table.

    Raises:
        WeightsError: no row knows its bytes.
    """
    for row in FORMATS:
        if row.matches(source):
            return row
    readable = ", ".join(row.name for row in FORMATS if row.read)
    network = source.path.with_suffix(".xml")
    is_half = source.path.suffix == ".bin" and network.is_file()
    advice = f"Name the network that it belongs to: {network}" if is_half else "Is it complete?"
    raise source.fail(
        f"starts with {source.data[:8]!r}, which no known checkpoint does. Readable are: "
        f"{readable}. {advice}"
    )
