"""A model file small enough to damage in every place, and ways to damage it."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from minimix import weights
from minimix.dialect import DIALECTS, PIPELINES
from minimix.errors import WeightsError
from minimix.weights import ModelFile
from minimix.zoo import Architecture, build, parse_block
from tests.strategies import random_params

ARCHITECTURE = Architecture(
    name="tiny",
    stem_channels=4,
    head_channels=6,
    num_classes=3,
    blocks=tuple(
        block
        for text in (
            "r1_k3_a1_p1_s11_e1_i4_o4",
            "r2_k3.5_a1.1_p1.1_s22_e2_i4_o6_se0.5_sw",
        )
        for block in parse_block(text).unrolled()
    ),
)


def tiny_file(seed: int = 0, **changes: Any) -> ModelFile:
    """A model of three blocks; ``changes`` are fields of ``ModelFile``."""
    dialect = changes.get("dialect", DIALECTS["timm"])
    file = ModelFile(
        architecture=ARCHITECTURE,
        dialect=dialect,
        pipeline=PIPELINES["timm"].with_size(32),
        labels=("panda", "bear", "köttur"),
        params=random_params(build(ARCHITECTURE, dialect), seed),
        provenance={"tool": "tests", "source": {"name": "random"}},
    )
    return replace(file, **changes)


def same_model(a: ModelFile, b: ModelFile) -> bool:
    """Whether two models are equal, parameters bit by bit."""
    facts = [(m.architecture, m.dialect, m.pipeline, m.labels, m.provenance) for m in (a, b)]
    return facts[0] == facts[1] and {n: p.tobytes() for n, p in a.params.items()} == {
        n: p.tobytes() for n, p in b.params.items()
    }


def saved(path: Path, file: ModelFile | None = None) -> Path:
    """Save a model, the tiny one by default, and return its path."""
    weights.save(path, file or tiny_file(), force=True)
    return path


def write_header(path: Path, text: bytes) -> None:
    """Replace the header's bytes, its checksum too."""
    with h5py.File(path, "r+") as file:
        del file["header"]
        file["header"] = np.frombuffer(text, np.uint8)
        file.attrs["header_crc32"] = zlib.crc32(text)


def edit_header(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the header's fields in place."""
    with h5py.File(path, "r") as file:
        header = json.loads(file["header"][()].tobytes())
    change(header)
    write_header(path, json.dumps(header).encode())


def edit_params(path: Path, change: Callable[[h5py.Group], object]) -> None:
    """Change the parameters' datasets in place, then make the checksums those of the result."""
    with h5py.File(path, "r+") as file:
        change(file["params"])
        checksums = {
            name: zlib.crc32(item[()].tobytes())
            for name, item in file["params"].items()
            if isinstance(item, h5py.Dataset)
        }
    edit_header(path, lambda header: header.update(checksums=checksums))


def put(group: h5py.Group, name: str, values: Any) -> None:
    """Replace one parameter."""
    del group[name]
    group[name] = values


def listing(folder: Path) -> list[str]:
    """Names of what lies in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def assert_refused(path: Path, problem: str) -> None:
    """Check that loading says which file it is and what is wrong, in a few lines."""
    with pytest.raises(WeightsError, match=rf"{path.name}: .*{problem}") as caught:
        weights.load(path)
    assert len(str(caught.value)) < 1000


# --- model files as other tools write them ----------------------------------------------------

REWRITES: dict[str, dict[str, Any]] = {
    "old": {"libver": "earliest"},
    "chunked": {"chunks": True},
    "old, chunked": {"libver": "earliest", "chunks": (2,)},
    "gzip": {"compression": "gzip"},
    "gzip and shuffle in pieces": {"compression": "gzip", "shuffle": True, "chunks": (2,)},
    "old, gzip and shuffle": {"libver": "earliest", "compression": "gzip", "shuffle": True},
}
"""What it is -> how ``rewritten`` makes it; ``chunks`` are the sizes of the last axes."""


def rewritten(path: Path, libver: str = "latest", **options: Any) -> Path:
    """Write all that a model file holds anew, as another tool may: the model is the same.

    The options are those of the header and three parameters: an index of chunks takes room.
    """
    chunks = options.pop("chunks", None)
    with h5py.File(path, "r") as file:
        attributes = dict(file.attrs)
        header = file["header"][()]
        params = {name: item[()] for name, item in file["params"].items()}
    with h5py.File(path, "w", libver=libver) as file:
        file.attrs.update(attributes)
        file.create_dataset("header", data=header, **options)
        for name, array in params.items():
            if not name.startswith(("classifier.", "stem.conv.")):
                file[f"params/{name}"] = array
                continue
            sizes = chunks
            if isinstance(chunks, tuple):
                whole = array.shape[: array.ndim - len(chunks)]
                sizes = (*whole, *map(min, chunks, array.shape[array.ndim - len(chunks) :]))
            file.create_dataset(f"params/{name}", data=array, chunks=sizes, **options)
    return path


BIAS = "classifier.bias"


def _in_place_of_bias(make: Callable[[h5py.Group], object]) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        group = file["params"]
        values = group[BIAS][()]
        del group[BIAS]
        made = make(group)
        if isinstance(made, h5py.Dataset) and made.shape == values.shape and made.dtype == "f4":
            made[()] = values

    return change


def _virtual(group: h5py.Group) -> None:
    layout = h5py.VirtualLayout((3,), np.float32)
    layout[:] = h5py.VirtualSource("other.h5", f"params/{BIAS}", (3,), np.float32)
    group.create_virtual_dataset(BIAS, layout)


def _compact(group: h5py.Group) -> None:
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((3,))
    name = BIAS.encode()
    h5py.h5d.create(group.id, name, h5py.h5t.IEEE_F32LE, space, creation).write(
        h5py.h5s.ALL, h5py.h5s.ALL, np.zeros(3, np.float32)
    )


def _named_type(group: h5py.Group) -> h5py.Dataset:
    group.file["type"] = np.dtype("<f4")
    return group.create_dataset(BIAS, (3,), dtype=group.file["type"])


def _filtered(group: h5py.Group, **options: Any) -> h5py.Dataset:
    return group.create_dataset(BIAS, (3,), np.float32, **options)


def _texts(group: h5py.Group) -> None:
    group.create_dataset(BIAS, data=["a", "b", "c"], dtype=h5py.string_dtype())


def _references(group: h5py.Group) -> None:
    group.create_dataset(BIAS, data=[group.ref] * 3, dtype=h5py.ref_dtype)


def _regions(group: h5py.Group) -> None:
    region = group.file["header"].regionref[:2]
    group.create_dataset(BIAS, data=[region] * 3, dtype=h5py.regionref_dtype)


def _compound(group: h5py.Group) -> None:
    group[BIAS] = np.zeros(3, [("a", "<f4"), ("b", "<i4")])


def _with_attribute(group: h5py.Group) -> h5py.Dataset:
    made = group.create_dataset(BIAS, (3,), np.float32)
    made.attrs["note"] = "of variable length"
    return made


def _bomb(group: h5py.Group) -> None:
    """Three terabytes that are nowhere."""
    group.create_dataset(BIAS, (3, 2**38), np.float32, chunks=(1, 2**20), compression="gzip")


def _sparse(group: h5py.Group) -> None:
    group.create_dataset(BIAS, (3,), np.float32, fillvalue=7.0)


STRANGE: dict[str, Callable[[h5py.File], object]] = {
    "a soft link": _in_place_of_bias(lambda g: g.update({BIAS: h5py.SoftLink("/header")})),
    "a soft link to itself": _in_place_of_bias(
        lambda g: g.update({BIAS: h5py.SoftLink(f"/params/{BIAS}")})
    ),
    "an external link": _in_place_of_bias(
        lambda g: g.update({BIAS: h5py.ExternalLink("other.h5", f"params/{BIAS}")})
    ),
    "a cycle": lambda file: file["params"].update(more=file["/"]),
    "a parameter that is the root": _in_place_of_bias(lambda g: g.update({BIAS: g.file["/"]})),
    "two names of one dataset": _in_place_of_bias(
        lambda g: g.update({BIAS: g["stem.conv_bn.mean"]})
    ),
    "params that are the root": lambda file: (file.pop("params"), file.update(params=file["/"])),
    "one more in the root": lambda file: file.update(more=np.zeros(3)),
    "one more group": lambda file: file.create_group("params/more/and/more"),
    "one more attribute": lambda file: file.attrs.update(note="of variable length"),
    "very many attributes": lambda file: file.attrs.update({f"a{n}": n for n in range(40)}),
    "an attribute of the group": lambda file: file["params"].attrs.update(note=1),
    "an attribute of a dataset": _in_place_of_bias(_with_attribute),
    "a virtual dataset": _in_place_of_bias(_virtual),
    "data in another file": _in_place_of_bias(
        lambda g: g.create_dataset(BIAS, (3,), np.float32, external=[(os.devnull, 0, 12)])
    ),
    "data in its header": _in_place_of_bias(_compact),
    "texts": _in_place_of_bias(_texts),
    "references": _in_place_of_bias(_references),
    "references to regions": _in_place_of_bias(_regions),
    "a compound type": _in_place_of_bias(_compound),
    "a named type": _in_place_of_bias(_named_type),
    "an array type": _in_place_of_bias(lambda g: g.update({BIAS: np.zeros(3, "(2,)f4")})),
    "a resizable dataset": _in_place_of_bias(lambda g: _filtered(g, maxshape=(None,))),
    "lzf": _in_place_of_bias(lambda g: _filtered(g, chunks=(3,), compression="lzf")),
    "scale-offset": _in_place_of_bias(lambda g: _filtered(g, chunks=(3,), scaleoffset=2)),
    "fletcher32": _in_place_of_bias(lambda g: _filtered(g, chunks=(3,), fletcher32=True)),
    "a scalar": _in_place_of_bias(lambda g: g.update({BIAS: np.float32(1)})),
    "no data, but a fill value": _in_place_of_bias(_sparse),
    "terabytes": _in_place_of_bias(_bomb),
}
"""What it is -> how an open model file becomes so; each must be refused."""
