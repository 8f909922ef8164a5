"""A model file small enough to damage in every place, and ways to damage it."""

from __future__ import annotations

import json
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
