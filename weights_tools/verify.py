"""Is the conversion right?  Our results against what another framework recorded, layer by layer.

The recording is an .npz with ``images``, ``logits`` (N, classes), ``inputs`` (two images as the
network sees them), ``layers``, ``layer_shapes``, ``layer_sample_idx`` and ``layer_sample_val``
(layers, 2, samples), samples at flat indices in that framework's own layout.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minimix.arrays import Array
from minimix.errors import GraphError, InputError, WeightsError
from minimix.graph import Graph
from minimix.model import Model
from minimix.tolerances import RECORDED_LAYER, RECORDED_LOGITS

_DIMENSIONS = {
    "images": 1,
    "logits": 2,
    "inputs": 4,
    "layers": 1,
    "layer_sample_idx": 2,
    "layer_sample_val": 3,
}
_KEYS = tuple(_DIMENSIONS)


@dataclass(frozen=True)
class Check:
    """One comparison: the largest difference that was found, and the largest that is allowed."""

    name: str
    largest: float
    budget: float

    @property
    def ok(self) -> bool:
        """Whether the difference is within the budget; a NaN never is."""
        return self.largest <= self.budget


def recorded_layers(graph: Graph) -> list[str]:
    """Names of our nodes that recordings hold: stem, every block, head, pooled.

    >>> from minimix.dialect import DIALECTS
    >>> from minimix.zoo import architecture, build
    >>> recorded_layers(build(architecture("mixnet-s"), DIALECTS["timm"]))[:3]
    ['stem.conv_act', 'blocks.0.add', 'blocks.1.project_bn']
    """
    skipped = ("image", "classifier")
    return [nodes[-1].name for stage, nodes in graph.stages.items() if stage not in skipped]


def _read_recording(path: Path) -> dict[str, np.ndarray]:
    try:
        # The stream is ours to close: np.load leaves it open where the archive is damaged.
        with path.open("rb") as stream:
            recording = np.load(stream, allow_pickle=False)
            if not isinstance(recording, np.lib.npyio.NpzFile):
                raise ValueError("a single array")
            found = {key: recording[key] for key in _KEYS if key in recording}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path}: no readable recording (.npz): {error}") from error
    missing = [key for key in _KEYS if key not in found]
    if missing:
        raise WeightsError(f"{path}: the recording has no {', '.join(missing)}")
    _check_shapes(path, found)
    return found


def _check_shapes(path: Path, recording: dict[str, np.ndarray]) -> None:
    """Check that the arrays of a recording belong together."""
    shapes = {key: array.shape for key, array in recording.items()}
    for key, dimensions in _DIMENSIONS.items():
        if len(shapes[key]) != dimensions or 0 in shapes[key]:
            raise WeightsError(
                f"{path}: {key} is {shapes[key]}; expected {dimensions} dimensions, none empty"
            )
        kinds = {"images": "U", "layers": "U", "layer_sample_idx": "iu"}.get(key, "f")
        if recording[key].dtype.kind not in kinds:
            raise WeightsError(f"{path}: {key} is of type {recording[key].dtype}")
    layers, count, samples = shapes["layer_sample_val"]
    expected = {
        "inputs": (count, *shapes["inputs"][1:]),
        "layers": (layers,),
        "layer_sample_idx": (layers, samples),
        "images": (len(recording["logits"]),),
    }
    for key, shape in expected.items():
        if shapes[key] != shape:
            raise WeightsError(f"{path}: {key} is {shapes[key]}; the rest of it expects {shape}")
    if 3 not in (shapes["inputs"][1], shapes["inputs"][3]) or count > len(recording["logits"]):
        raise WeightsError(
            f"{path}: inputs is {shapes['inputs']}; expected (N, 3, H, W) or (N, H, W, 3) of at "
            f"most {len(recording['logits'])} images"
        )


def _in_layout(array: Array, channels_first: bool) -> Array:
    """(N, ...) -> (N, values), in the flat order of the framework that recorded."""
    if channels_first and array.ndim == 4:
        array = array.transpose(0, 3, 1, 2)
    return array.reshape(len(array), -1)


def check_layers(model: Model, path: Path) -> list[Check]:
    """Compare layers and logits on the recorded inputs; differences of layers are relative.

    Raises:
        WeightsError: the file is no recording, or one of another network.
    """
    recording = _read_recording(path)
    inputs, values = recording["inputs"], recording["layer_sample_val"]
    channels_first = inputs.shape[1] == 3
    x = inputs.transpose(0, 2, 3, 1) if channels_first else inputs
    layers = recorded_layers(model.graph)
    if len(layers) != len(values) or recording["logits"].shape[1] != len(model.labels):
        raise WeightsError(
            f"{path}: a recording of {len(values)} layers and {recording['logits'].shape[1]} "
            f"classes; {model.name} has {len(layers)} and {len(model.labels)}"
        )
    checks = []
    try:
        model.graph.infer(*x.shape[:3])
    except GraphError as error:
        raise WeightsError(f"{path}: inputs is {inputs.shape}: {error}") from error
    with model.trace(x, keep=layers) as trace:
        for n, layer in enumerate(layers):
            ours = _in_layout(trace[layer].output, channels_first)
            samples = recording["layer_sample_idx"][n]
            if samples.min() < 0 or samples.max() >= ours.shape[1]:
                raise WeightsError(f"{path}: {layer} has fewer values than were recorded")
            difference = np.abs(ours[:, samples] - values[n]).max() / np.abs(values[n]).max()
            checks.append(Check(layer, float(difference), RECORDED_LAYER))
    difference = np.abs(trace.logits - recording["logits"][: len(x)]).max()
    return [*checks, Check("logits", float(difference), RECORDED_LOGITS)]


def check_images(model: Model, path: Path, folder: Path) -> list[Check]:
    """Compare the logits of the recorded images, read from a folder by our own pipeline.

    EXIF orientation is ignored, as by the frameworks that recorded.

    Raises:
        InputError: an image is not in the folder.
        WeightsError: the file is no recording.
    """
    recording = _read_recording(path)
    files = {file.stem: file for file in sorted(folder.glob("*"))}
    checks = []
    for name, logits in zip(recording["images"], recording["logits"], strict=True):
        if str(name) not in files:
            raise InputError(f"{folder}: no image called {name}, which {path.name} recorded")
        ours = model(model.preprocess(files[str(name)], exif="ignore"))[0]
        if ours.shape != logits.shape:
            raise WeightsError(f"{path}: {len(logits)} classes; {model.name} has {len(ours)}")
        checks.append(Check(str(name), float(np.abs(ours - logits).max()), RECORDED_LOGITS))
    return checks
