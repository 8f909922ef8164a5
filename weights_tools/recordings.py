"""What another framework recorded of a network: an .npz of inputs, logits, and samples of layers.

Two forms are read.  The layered one holds ``images``, ``logits`` (N, classes), ``inputs`` (the
first n images, channels first or last), ``layers``, ``layer_sample_idx`` (L, S) and
``layer_sample_val`` (L, n, S), the samples at flat indices in that framework's own layout.  The
other is Open Model Zoo's: ``images``, ``logits_f64_reference`` and ``inputs_bgr_u8``, no layers.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minimix.arrays import Array
from minimix.dialect import Pipeline
from minimix.errors import WeightsError

_Arrays = dict[str, NDArray[Any]]
# Key -> dimensions, and the kinds of NumPy's types that it may have.
_LAYERED = {
    "images": (1, "U"),
    "logits": (2, "f"),
    "inputs": (4, "f"),
    "layers": (1, "U"),
    "layer_sample_idx": (2, "iu"),
    "layer_sample_val": (3, "f"),
}
_PIXELS = {"images": (1, "U"), "logits_f64_reference": (2, "f"), "inputs_bgr_u8": (4, "u")}


@dataclass(frozen=True)
class Recording:
    """One recording, its arrays known to belong together.

    Attributes:
        images: names, in the order of ``logits``.
        logits: (N, classes).
        inputs: (n, H, W, 3), n at most N.
        channels: of ``inputs``, where they are pixels for sure; empty where their range must tell.
        channels_first: whether samples were taken at flat indices of (C, H, W), not (H, W, C).
        positions: (L, S) flat indices; no rows where no layers were recorded.
        values: (L, n, S).
    """

    path: Path
    images: tuple[str, ...]
    logits: Array
    inputs: NDArray[Any]
    channels: str
    channels_first: bool
    positions: NDArray[np.integer[Any]]
    values: Array


def read_recording(path: Path) -> Recording:
    """Path -> the recording.

    Raises:
        WeightsError: the file is no recording, or its arrays do not belong together.
    """
    try:
        # The stream is ours to close: np.load leaves it open where the archive is damaged.
        with path.open("rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("a single array")
            form = _PIXELS if "inputs_bgr_u8" in archive else _LAYERED
            found = {key: archive[key] for key in form if key in archive}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path}: no readable recording (.npz): {error}") from error
    missing = [key for key in form if key not in found]
    if missing:
        raise WeightsError(f"{path}: the recording has no {', '.join(missing)}")
    _check_arrays(path, found, form)
    return _of_pixels(path, found) if form is _PIXELS else _layered(path, found)


def _check_arrays(path: Path, found: _Arrays, form: dict[str, tuple[int, str]]) -> None:
    for key, (dimensions, kinds) in form.items():
        shape, dtype = found[key].shape, found[key].dtype
        if len(shape) != dimensions or 0 in shape:
            raise WeightsError(
                f"{path}: {key} is {shape}; expected {dimensions} dimensions, none empty"
            )
        if dtype.kind not in kinds:
            raise WeightsError(f"{path}: {key} is of type {dtype}")


def _check_shapes(path: Path, found: _Arrays, expected: dict[str, tuple[int, ...]]) -> None:
    for key, shape in expected.items():
        if found[key].shape != shape:
            raise WeightsError(
                f"{path}: {key} is {found[key].shape}; the rest of it expects {shape}"
            )


def _of_pixels(path: Path, found: _Arrays) -> Recording:
    inputs, logits = found["inputs_bgr_u8"], found["logits_f64_reference"]
    _check_shapes(path, found, {"images": (len(logits),)})
    if inputs.shape[3] != 3 or inputs.dtype != np.uint8 or len(inputs) > len(logits):
        raise WeightsError(
            f"{path}: inputs_bgr_u8 is {inputs.shape} of {inputs.dtype}; expected (N, H, W, 3) of "
            f"uint8, at most {len(logits)} images"
        )
    none: Array = np.zeros((0, len(inputs), 0), np.float32)
    images = tuple(map(str, found["images"]))
    positions = np.zeros((0, 0), np.int64)
    return Recording(path, images, logits, inputs, "BGR", False, positions, none)


def _layered(path: Path, found: _Arrays) -> Recording:
    inputs, logits = found["inputs"], found["logits"]
    layers, count, samples = found["layer_sample_val"].shape
    _check_shapes(
        path,
        found,
        {
            "inputs": (count, *inputs.shape[1:]),
            "layers": (layers,),
            "layer_sample_idx": (layers, samples),
            "images": (len(logits),),
        },
    )
    if 3 not in (inputs.shape[1], inputs.shape[3]) or count > len(logits):
        raise WeightsError(
            f"{path}: inputs is {inputs.shape}; expected (N, 3, H, W) or (N, H, W, 3) of at "
            f"most {len(logits)} images"
        )
    channels_first = inputs.shape[1] == 3
    return Recording(
        path,
        tuple(map(str, found["images"])),
        logits,
        inputs.transpose(0, 2, 3, 1) if channels_first else inputs,
        "",
        channels_first,
        found["layer_sample_idx"],
        found["layer_sample_val"],
    )


def normalised(pixels: NDArray[Any], pipeline: Pipeline, channels: str = "RGB") -> Array:
    """(N, H, W, 3) in 0..255 -> the network's input, as ``minimix.images.preprocess`` ends.

    >>> from minimix.dialect import PIPELINES
    >>> normalised(np.full((1, 1, 1, 3), 255, np.uint8), PIPELINES["omz"]).tolist()
    [[[[255.0, 255.0, 255.0]]]]
    """
    ordered = pixels if channels == pipeline.channels else pixels[..., ::-1]
    mean, std = np.array((pipeline.mean, pipeline.std), np.float32)
    x = ordered.astype(np.float32) / np.float32(255.0 / pipeline.range)
    return np.asarray((x - mean) / std, np.float32)


def network_input(recording: Recording, pipeline: Pipeline) -> tuple[Array, str]:
    """Recording, the model's pipeline -> (n, H, W, 3) as the network sees it, and how it was made.

    A recording does not say whether its inputs were taken before or after mean and standard
    deviation.  Their range does: none is negative, and some are far above the pipeline's white.

    >>> from minimix.dialect import PIPELINES
    >>> blank = np.zeros((0, 0)), np.zeros((0, 1, 0))
    >>> seen = np.linspace(0, 255, 12).reshape(1, 2, 2, 3)
    >>> recording = Recording(Path(), ("a",), np.zeros((1, 2)), seen, "", False, *blank)
    >>> network_input(recording, PIPELINES["tensorflow"])[1]
    '0..255, RGB: normalised by the pipeline tensorflow'
    """
    inputs = recording.inputs
    white = max((pipeline.range - m) / s for m, s in zip(pipeline.mean, pipeline.std, strict=True))
    is_before = inputs.min() >= 0 and 2 * white < inputs.max() <= 255
    if not recording.channels and not is_before:
        return np.ascontiguousarray(inputs, np.float32), "as the network sees them"
    channels = recording.channels or "RGB"
    x = normalised(inputs, pipeline, channels)
    turned = "" if channels == pipeline.channels else f", turned into {pipeline.channels}"
    return x, f"0..255, {channels}{turned}: normalised by the pipeline {pipeline.name}"
