"""Is the conversion right?  Our results against what another framework recorded, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minimix.arrays import Array
from minimix.errors import GraphError, InputError, WeightsError
from minimix.graph import Graph
from minimix.model import Model
from minimix.tolerances import RECORDED_LAYER, RECORDED_LOGITS
from weights_tools.recordings import Recording, network_input, read_recording


@dataclass(frozen=True)
class Check:
    """One comparison: the largest difference that was found, and the largest that is allowed.

    Attributes:
        engine: the one of ours that computed it.
    """

    name: str
    engine: str
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


def _check_fits(model: Model, recording: Recording) -> None:
    """Check that the recording can be one of this network."""
    path, (count, classes) = recording.path, (len(recording.values), recording.logits.shape[1])
    layers = len(recorded_layers(model.graph)) if count else 0
    if layers != count or classes != len(model.labels):
        raise WeightsError(
            f"{path}: a recording of {count} layers and {classes} classes; {model.name} has "
            f"{layers} and {len(model.labels)}"
        )
    try:
        model.graph.infer(*recording.inputs.shape[:3])
    except GraphError as error:
        raise WeightsError(f"{path}: inputs is {recording.inputs.shape}: {error}") from error


def _layer(recording: Recording, n: int, layer: str, output: Array) -> float:
    """Largest difference of one layer's samples, as a share of the largest sample."""
    if recording.channels_first and output.ndim == 4:
        output = output.transpose(0, 3, 1, 2)
    ours = output.reshape(len(output), -1)
    positions, values = recording.positions[n], recording.values[n]
    if positions.min() < 0 or positions.max() >= ours.shape[1]:
        raise WeightsError(f"{recording.path}: {layer} has fewer values than were recorded")
    return float(np.abs(ours[:, positions] - values).max() / np.abs(values).max())


def check_layers(model: Model, path: Path) -> list[Check]:
    """Compare layers and logits on the recorded inputs; differences of layers are relative.

    The logits are those of an ordinary run, which an engine may compute otherwise than a watched
    one.

    Raises:
        WeightsError: the file is no recording, or one of another network.
    """
    recording = read_recording(path)
    _check_fits(model, recording)
    x, _ = network_input(recording, model.pipeline)
    checks, engine = [], model.engine.name
    if len(recording.values):
        layers = recorded_layers(model.graph)
        with model.trace(x, keep=layers) as trace:
            for n, layer in enumerate(layers):
                largest = _layer(recording, n, layer, trace[layer].output)
                checks.append(Check(layer, engine, largest, RECORDED_LAYER))
    difference = np.abs(model(x) - recording.logits[: len(x)]).max()
    return [*checks, Check("logits", engine, float(difference), RECORDED_LOGITS)]


def check_images(model: Model, path: Path, folder: Path) -> list[Check]:
    """Compare the logits of the recorded images, read from a folder by our own pipeline.

    EXIF orientation is ignored, as by the frameworks that recorded.

    Raises:
        InputError: an image is not in the folder.
        WeightsError: the file is no recording.
    """
    recording = read_recording(path)
    files = {file.stem: file for file in sorted(folder.glob("*"))}
    checks = []
    for name, logits in zip(recording.images, recording.logits, strict=True):
        if name not in files:
            raise InputError(f"{folder}: no image called {name}, which {path.name} recorded")
        ours = model(model.preprocess(files[name], exif="ignore"))[0]
        if ours.shape != logits.shape:
            raise WeightsError(f"{path}: {len(logits)} classes; {model.name} has {len(ours)}")
        largest = float(np.abs(ours - logits).max())
        checks.append(Check(name, model.engine.name, largest, RECORDED_LOGITS))
    return checks
