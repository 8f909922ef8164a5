"""What a network's own graph says of its input, and of the pipeline that pictures need."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from minimix.dialect import LARGEST_SIZE, PIPELINES, SMALLEST_SIZE, Channels, Pipeline
from weights_tools.mappings.graphs.values import Affine, Features, Picture
from weights_tools.readers.topology import Topology


def input_of(topology: Topology) -> dict[str, Features]:
    """Topology -> its input's name, and the picture that it is.

    Raises:
        ValueError: there is not one input, or it is no batch of square pictures of 3 channels.
    """
    if len(topology.inputs) != 1:
        raise ValueError(f"{len(topology.inputs)} inputs, expected one, the picture")
    ((name, shape),) = topology.inputs.items()
    if len(shape) != 4 or not {shape[1], shape[3]} & {0, 3}:
        raise ValueError(
            f"an input of shape {shape[:8]}; expected (N, 3, H, W) or (N, H, W, 3), 0 where free"
        )
    axis = 3 if shape[3] == 3 and shape[1] != 3 else 1
    height, width = (size for place, size in enumerate(shape) if place not in (0, axis))
    if height != width or height and not SMALLEST_SIZE <= height <= LARGEST_SIZE:
        raise ValueError(
            f"an input of {height} x {width} pixels; expected a square of {SMALLEST_SIZE} to "
            f"{LARGEST_SIZE}, or both free"
        )
    # A free size is tried at ImageNet's; TensorFlow's padding shows there.
    size = height or PIPELINES["timm"].size
    sizes = [shape[0] or 1, size, size, size]
    sizes[axis] = 3
    return {name: Features(Picture(size), tuple(sizes), axis)}


def unturned(stem: Affine, picture: Picture) -> Affine:
    """The stem for pictures in the order of the network's input, whatever the graph made of it."""
    places = np.argsort(picture.order)
    (branch,) = stem.branches
    return Affine((replace(branch, weight=branch.weight[:, places]),), stem.steps)


def pipelines(picture: Picture) -> tuple[Pipeline, ...]:
    """Picture -> the pipelines that end in it, normalisation inside the graph taken over by them.

    Red comes first in ImageNet's mean, the largest of the three: where it comes last, the input
    is BGR, as Open Model Zoo has it.  How a picture is cut and resized no graph says: only whoever
    made the file knows which pipeline it was, and anyone can turn a network to BGR.  Nor does what
    a tool has fused into the stem leave a trace: OpenVINO does so with a scale and with turned
    channels.

    Args:
        picture: as the stem reads it.

    Raises:
        ValueError: the normalisation is no mean and standard deviation.
    """
    made = tuple(pipeline.with_size(picture.size) for pipeline in PIPELINES.values())
    if picture.is_normalised:
        mean, std = _statistics(picture)
        # Means of pixels are near the middle of their range, of which a deviation is a part.
        white = 255.0 if max(*mean, *std) > 2.0 else 1.0
        channels = _channels(picture, mean)
        made = tuple(
            replace(pipeline, channels=channels, range=white, mean=mean, std=std)
            for pipeline in made
        )
    elif _channels(picture, (0.0, 0.0, 0.0)) == "BGR":
        made = tuple(_bgr(pipeline) for pipeline in made)
    return made


def omz_makes(picture: Picture) -> bool:
    """Whether pictures go in as Open Model Zoo's do: BGR, normalised by the network."""
    return picture.is_normalised and _channels(picture, _statistics(picture)[0]) == "BGR"


def _channels(picture: Picture, mean: tuple[float, float, float]) -> Channels:
    if mean[0] != mean[2]:
        return "BGR" if mean[0] < mean[2] else "RGB"
    # Every known MixNet was trained on RGB: who turns the channels feeds the other order.
    return "RGB" if picture.order[0] == 0 else "BGR"


def _bgr(pipeline: Pipeline) -> Pipeline:
    if pipeline.channels == "BGR":
        return pipeline
    (a, b, c), (d, e, f) = pipeline.mean, pipeline.std
    return replace(pipeline, channels="BGR", mean=(c, b, a), std=(f, e, d))


_Three = tuple[float, float, float]


def _statistics(picture: Picture) -> tuple[_Three, _Three]:
    """Mean and standard deviation of the input's channels, in the order of the input."""
    places = np.argsort(picture.order)
    scale = np.ones(3) if picture.scale is None else picture.scale[places]
    shift = np.zeros(3) if picture.shift is None else picture.shift[places]
    with np.errstate(all="ignore"):
        numbers = [float(number) for number in (*(-shift / scale), *(1 / scale))]
    if not np.isfinite(numbers).all() or min(numbers[3:]) <= 0:
        raise ValueError(
            f"the picture is scaled by {scale.tolist()} and shifted by {shift.tolist()}, which is "
            "no normalisation"
        )
    r, g, b, *std = numbers
    return (r, g, b), (std[0], std[1], std[2])
