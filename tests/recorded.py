"""A small network, and recordings of it in the form of the reference files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minimix.dialect import DIALECTS, PIPELINES, Pipeline
from minimix.engine import EngineName
from minimix.model import Model
from minimix.weights import ModelFile
from tests.golden import seeded
from tests.golden.recordings import recording, timm_tensors
from tests.golden.seeded import CASES
from weights_tools.mappings.timm import map_timm

CASE = CASES["tf_mixnet_s-odd"]
Recording = dict[str, NDArray[Any]]


def model_of(dialect: str = "timm-tf", engine: EngineName = "reference", **params: Any) -> Model:
    """The narrow network of a recording, some of its parameters replaced."""
    mapped = map_timm(timm_tensors(CASE))
    labels = tuple(f"class {n}" for n in range(CASE.classes))
    pipeline = PIPELINES["timm"].with_size(64)
    file = ModelFile(
        mapped.architecture, DIALECTS[dialect], pipeline, labels, {**mapped.params, **params}
    )
    return Model(file, engine=engine)


def in_pipeline(model: Model, pipeline: Pipeline) -> Model:
    """The same network, fed otherwise."""
    return Model(replace(model.file, pipeline=pipeline), engine="reference")


def written(folder: Path, change: Callable[[Recording], object] = lambda recording: None) -> Path:
    """A recording in the form of the reference files, from one of ``make_timm.py``, changed."""
    stored = recording(CASE)
    places = [
        seeded.sample_positions(CASE, str(layer), int(size))
        for layer, size in zip(stored["layers"], stored["layer_sizes"], strict=True)
    ]
    content: dict[str, Any] = {
        "images": np.array(["one", "two"]),
        "logits": stored["logits"],
        "inputs": seeded.pictures(CASE).transpose(0, 3, 1, 2),
        "layers": stored["layers"],
        "layer_sample_idx": np.array(places),
        "layer_sample_val": stored["layer_values"],
    }
    content = {key: np.array(values) for key, values in content.items()}
    change(content)
    np.savez(folder / "recorded.npz", **content)
    return folder / "recorded.npz"
