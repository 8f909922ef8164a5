"""Model files: as minimix writes them, as others may rewrite them, and as nobody should."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py

from minimix import weights
from tests.fuzz.declared import Declared, Files, UndecidedError
from tests.fuzz.hdf5_pieces import Pieces
from tests.fuzz.mutations import Seed
from tests.model_files import REWRITES, STRANGE, rewritten, tiny_file


def undecided(files: Files) -> Declared:
    """No tensors are declared but a model's; ``tests.fuzz.model_rule`` knows which."""
    raise UndecidedError("a model file")


def _file(seed_model: weights.ModelFile, rewrite: str, change: Callable[..., Any] | None) -> Pieces:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.h5"
        weights.save(path, seed_model)
        if rewrite:
            rewritten(path, **REWRITES[rewrite])
        if change:
            with h5py.File(path, "r+", libver="earliest" if "old" in rewrite else "latest") as file:
                change(file)
        return Pieces(path.read_bytes(), _old_headers(path))


def _old_headers(path: Path) -> list[int]:
    """Addresses of object headers that have no signature."""
    data = path.read_bytes()
    if data[8] != 0:
        return []
    with h5py.File(path, "r") as file:
        found = [int.from_bytes(data[64:72], "little")]
        for group in (file, file.get("params", {})):
            links = (group.id.links.get_info(name.encode()) for name in group)
            found += [link.u for link in links if link.type == h5py.h5l.TYPE_HARD]
    return sorted({at for at in found if data[at] == 1})


def model_files() -> list[Seed]:
    """Valid files first; the strange ones are refused from the start."""
    single, half = tiny_file(), tiny_file(dtype="float16")
    valid = [_file(single, "", None), _file(half, "", None)]
    valid += [_file(single, rewrite, None) for rewrite in REWRITES]
    strange = [
        _file(single, rewrite, change) for rewrite in ("", "old") for change in STRANGE.values()
    ]
    return [
        *(made.seed(frequency=20) for made in valid),
        *(made.seed(frequency=2, is_valid=False) for made in strange if len(made.data) < 10**5),
    ]
