"""Model file -> safetensors under timm's names: what ``timm`` loads with ``strict=True``.

timm's two families differ in padding and in batch norm's eps, and a state dict says neither: the
dialect decides which family the file is for, and the metadata name it.  Training's batch counters
(``num_batches_tracked``) are not written: PyTorch does not ask for them where a state dict has no
``_metadata``, which safetensors have not.

A folded model has biases where timm has batch norms.  It gets batch norms that only add:
gamma 1, mean 0, beta the bias, and the variance whose float32 sum with eps is 1.0, so that PyTorch
divides by exactly 1 and not a bit changes.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import minimix
from minimix import weights
from minimix.arrays import Array
from minimix.dialect import DIALECTS, PIPELINES, Dialect, Pipeline
from minimix.errors import UsageError
from minimix.files import check_apart, check_free, replacing
from minimix.weights import ModelFile
from minimix.zoo import build
from weights_tools.mappings.layouts import to_oihw
from weights_tools.mappings.timm_names import timm_names

RELEASED = ("mixnet-s", "mixnet-m", "mixnet-l", "mixnet-xl", "mixnet-xxl")
"""What ``timm.create_model`` builds by name; of the ``tf_`` family the first three only."""

_ALIGNMENT = 8
"""The data begin at a multiple of it, as the safetensors package writes them."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        timm_model: what ``timm.create_model`` calls the network; empty where it has no name.
        tensors: how many.
        notes: what whoever loads the file must know, in sentences; most often nothing.
    """

    timm_model: str
    tensors: int
    notes: tuple[str, ...]


def family_of(dialect: Dialect) -> Dialect:
    """Dialect -> the one of timm's two that computes the same.

    >>> family_of(DIALECTS["tensorflow"]).name, family_of(DIALECTS["omz"]).name
    ('timm-tf', 'timm-tf')

    Raises:
        UsageError: batch norm has another eps than that family's.
    """
    family = DIALECTS["timm-tf" if dialect.padding == "same" else "timm"]
    if dialect.batch_norm_eps not in (None, family.batch_norm_eps):
        raise UsageError(
            f"dialect {dialect.name}: batch norm's eps is {dialect.batch_norm_eps:g}, but timm's "
            f"networks with {dialect.padding} padding have {family.batch_norm_eps:g}"
        )
    return family


def timm_model_of(model: ModelFile) -> str:
    """Model -> the name that ``timm.create_model`` knows it by, or empty."""
    name, is_tf = model.architecture.name, family_of(model.dialect).name == "timm-tf"
    known = RELEASED[:3] if is_tf else RELEASED
    return f"{'tf_' if is_tf else ''}{name.replace('-', '_')}" if name in known else ""


def timm_tensors(model: ModelFile) -> dict[str, Array]:
    """Model -> its parameters under timm's names, in timm's layouts, for RGB pictures.

    Raises:
        UsageError: timm has no such network.
    """
    graph = build(model.architecture, family_of(model.dialect))
    params = _unfolded(model) if model.dialect.is_folded else model.params
    names = timm_names(model.architecture)
    tensors = {}
    for node in graph:
        for name in graph.param_names[node.name]:
            array = np.asarray(params[name], np.float32)
            if name == "stem.conv.weight" and model.pipeline.channels == "BGR":
                array = array[:, :, ::-1]
            tensors[names[name]] = to_oihw(array, node.operator)
    return tensors


def _unfolded(model: ModelFile) -> dict[str, Array]:
    """The parameters of a folded model, with a batch norm after each convolution that only adds."""
    family, params = family_of(model.dialect), dict(model.params)
    assert family.batch_norm_eps is not None
    variance = unit_variance(family.batch_norm_eps)
    for node in build(model.architecture, family):
        if node.kind != "batch_norm":
            continue
        bias = params.pop(f"{node.name.removesuffix('_bn')}.bias")
        params |= {
            f"{node.name}.gamma": np.ones_like(bias),
            f"{node.name}.beta": bias,
            f"{node.name}.mean": np.zeros_like(bias),
            f"{node.name}.variance": np.full_like(bias, variance),
        }
    return params


def unit_variance(eps: float) -> np.float32:
    """Eps -> the variance that makes ``sqrt(variance + eps)`` 1.0 in float32, exactly.

    >>> float(unit_variance(1e-3) + np.float32(1e-3))
    1.0
    """
    return np.float32(1) - np.float32(eps)


def _notes(model: ModelFile, timm_model: str) -> tuple[str, ...]:
    notes = []
    if not timm_model:
        notes.append(
            f"timm.create_model has no name for {model.architecture.name}: build the network with "
            "these widths, then load"
        )
    if model.dialect.se_activation == "relu":
        notes.append(
            "this model has ReLU inside squeeze-excite, where timm has the block's activation: "
            "create it with se_layer=functools.partial("
            "timm.models._efficientnet_blocks.SqueezeExcite, force_act_layer=torch.nn.ReLU), or "
            "the logits are wrong"
        )
    if model.pipeline.channels == "BGR":
        notes.append("the first convolution was turned from BGR to RGB, which timm feeds")
    if not _is_normalised_as_by_timm(model.pipeline):
        notes.append(
            "pictures must be normalised as the metadata's pipeline says, not as timm does it"
        )
    return tuple(notes)


def _is_normalised_as_by_timm(pipeline: Pipeline) -> bool:
    """Whether mean and standard deviation are timm's, in whatever range and order."""
    usual, step = PIPELINES["timm"], -1 if pipeline.channels == "BGR" else 1
    pairs = ((pipeline.mean, usual.mean), (pipeline.std, usual.std))
    return all(
        np.allclose(np.array(ours[::step]) / pipeline.range, theirs, rtol=0, atol=1e-6)
        for ours, theirs in pairs
    )


def _metadata(model: ModelFile, timm_model: str) -> dict[str, str]:
    pipeline = model.pipeline.to_json() | {"channels": "RGB"}
    if model.pipeline.channels == "BGR":
        pipeline |= {key: pipeline[key][::-1] for key in ("mean", "std")}
    return {
        # Of PyTorch: some loaders refuse a file that does not say so.
        "format": "pt",
        "architecture": model.architecture.name,
        "timm_model": timm_model,
        "dialect": family_of(model.dialect).name,
        "trained_as": json.dumps(model.dialect.to_json()),
        "pipeline": json.dumps(pipeline),
        "labels": json.dumps(model.labels, ensure_ascii=False),
        "license": str(model.provenance.get("license", "")),
        "tool": f"minimix {minimix.__version__}",
    }


def safetensors_header(tensors: dict[str, Array], metadata: dict[str, str]) -> bytes:
    """Tensors in the order of their data -> the bytes before the data.

    Format: the "Format" section of the safetensors README.
    """
    header: dict[str, object] = {"__metadata__": metadata}
    begin = 0
    for name, array in tensors.items():
        end = begin + array.nbytes
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return struct.pack("<Q", len(text)) + text


def export_safetensors(path: Path, out: Path, *, force: bool = False) -> Exported:
    """Write a model file's parameters as safetensors for timm; equal models give equal bytes.

    Args:
        path: a minimix model file.
        out: the file to write.
        force: replace ``out`` if it exists.

    Raises:
        UsageError: ``out`` exists, or timm has no such network.
        WeightsError: the model file cannot be read.
        OutputError: ``out`` cannot be written.
    """
    check_free(out, force=force)
    check_apart(out, path)
    model = weights.load(path)
    tensors, timm_model = timm_tensors(model), timm_model_of(model)
    with replacing(out, force=force) as temporary, temporary.open("wb") as stream:
        stream.write(safetensors_header(tensors, _metadata(model, timm_model)))
        for array in tensors.values():
            stream.write(array.astype("<f4", copy=False).tobytes())
    return Exported(timm_model, len(tensors), _notes(model, timm_model))
