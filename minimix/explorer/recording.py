"""Run a model on a picture, or on two, and write down what the page shows.

model, pictures -> trace of every node -> document and buffers, within the page's limits
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minimix import __version__
from minimix.arrays import Array
from minimix.attribution import activation_of, occlusion
from minimix.collapsed import Collapsed, collapse
from minimix.explorer import pictures
from minimix.explorer.buffers import Buffers
from minimix.explorer.format import CLASSES, FORMAT, TOP, VERSION
from minimix.explorer.formulas import sources
from minimix.explorer.limits import DEFAULT, FULL
from minimix.explorer.nodes import NodesRecorder
from minimix.explorer.page import json_text
from minimix.explorer.record import Record
from minimix.explorer.times import NodeTimes, measure
from minimix.images import Exif, Source, open_image
from minimix.ops import softmax
from minimix.outputs import brief
from minimix.zoo import format_block

if TYPE_CHECKING:
    from minimix.model import Model

OCCLUSION_STEPS = 12
"""Covering squares begin every 12th of the picture's side: 144 of them are run."""

Progress = Callable[[int, int], None]
"""Called with the covered pictures that have run, and how many there are."""


@dataclass(frozen=True)
class Shot:
    """One picture: its fields, the network's input, and what every node made of it."""

    fields: dict[str, Any]
    x: Array
    outputs: dict[str, Array]
    logits: Array

    @property
    def best(self) -> list[int]:
        """Classes, the best first; of equals the one with the smaller index."""
        return [int(k) for k in np.argsort(-self.logits[0], kind="stable")]


def record(
    model: Model,
    image: Source,
    *,
    compare: Source | None = None,
    full: bool = False,
    times: bool = True,
    machine: str = "",
    exif: Exif = "apply",
    progress: Progress | None = None,
) -> Record:
    """Run a model on a picture and keep what the explorer's page shows of it.

    Args:
        model: the network.
        image: a path, bytes, a stream, a Pillow image or an (H, W, 3) uint8 array.
        compare: a second picture, shown beside the first.
        full: keep more maps, kernels and samples: for pages of up to 10 MB instead of 3 MB.
        times: measure; without it the record is a function of model and pictures alone.
        machine: what the measured machine is called.
        exif: turn pictures as their EXIF orientation says, or not.
        progress: told about the occlusion, which takes longest.

    Raises:
        InputError: a picture is missing, unreadable or refused.
    """
    named = [image] if compare is None else [image, compare]
    shots = [_shoot(model, source, exif) for source in named]
    nodes = collapse(model.graph)
    limits, buffers = (FULL if full else DEFAULT), Buffers()
    measured = measure(model, shots[0].x, nodes) if times else None
    classes = list(dict.fromkeys(k for shot in shots for k in shot.best[:CLASSES]))
    described = [
        _picture(
            model,
            shot,
            classes,
            buffers,
            limits.inputs_bytes // len(shots),
            _part(progress, n, len(shots)),
        )
        for n, shot in enumerate(shots)
    ]
    recorder = NodesRecorder(model, nodes, [shot.outputs for shot in shots], measured)
    listed = recorder.put(
        buffers,
        limits,
        texts_bytes=len(json_text([described, model.labels])),
        has_inputs=all(p["input"] is not None for p in described),
    )
    document = {
        "format": FORMAT,
        "version": VERSION,
        "made_by": f"minimix {__version__}",
        "full": full,
        "model": _model(model),
        "labels": list(model.labels),
        "classes": classes,
        "times": None if measured is None else _times(model, measured, machine),
        "pictures": described,
        "stages": _stages(model, nodes),
        "nodes": listed,
        "code": sources([name for node in listed for name in node["code"]]),
        "limits": {"page_bytes": limits.page_bytes},
    }
    return Record(document, buffers.finished())


def _part(progress: Progress | None, n: int, count: int) -> Progress | None:
    """Of several occlusions of one length each, the progress of one."""
    if progress is None:
        return None
    told = progress
    return lambda done, total: told(n * total + done, count * total)


def _shoot(model: Model, source: Source, exif: Exif) -> Shot:
    image = open_image(source, exif=exif)
    fields = pictures.describe(image, pictures.short_name(source), model.pipeline)
    x = model.preprocess(image)
    with model.trace(x) as trace:
        outputs = {step.name: step.output for step in trace}
    return Shot(fields, x, outputs, trace.logits)


def _picture(
    model: Model,
    shot: Shot,
    classes: Sequence[int],
    buffers: Buffers,
    input_bytes: int,
    progress: Progress | None,
) -> dict[str, Any]:
    logits = shot.logits[0]
    p = softmax(shot.logits)[0]
    return {
        **shot.fields,
        "input": pictures.put_input(buffers, shot.x, input_bytes),
        "logits": buffers.put("results", logits),
        "top": [
            {"index": k, "label": model.labels[k], "logit": float(logits[k]), "p": float(p[k])}
            for k in shot.best[:TOP]
        ],
        "activation": _activation(model, shot, classes, buffers),
        "occlusion": _occlusion(model, shot, buffers, progress),
    }


def _activation(
    model: Model, shot: Shot, classes: Sequence[int], buffers: Buffers
) -> dict[str, Any]:
    features = shot.outputs[model.graph["pool"].inputs[0]]
    found = [activation_of(model, features, shot.logits, index) for index in classes]
    return {
        "cells": buffers.put("results", np.stack([each.cells for each in found])),
        "bias": [each.bias for each in found],
        "sums": [float(each.cells.sum(dtype=np.float64)) + each.bias for each in found],
        "logits": [each.logit for each in found],
    }


def _occlusion(
    model: Model, shot: Shot, buffers: Buffers, progress: Progress | None
) -> dict[str, Any]:
    stride = max(1, model.size // OCCLUSION_STEPS)
    found = occlusion(model, shot.x, shot.best[0], stride=stride, progress=progress)
    return {
        "index": found.index,
        "label": found.label,
        "logit": found.logit,
        "patch": found.patch,
        "stride": found.stride,
        "rows": list(found.rows),
        "columns": list(found.columns),
        "drops": buffers.put("results", found.drops),
    }


def _model(model: Model) -> dict[str, Any]:
    provenance = model.file.provenance
    source = provenance.get("source", {})
    return {
        "name": model.name,
        "size": model.size,
        "engine": model.engine.name,
        "parameters": sum(map(model.graph.param_count, model.graph)),
        "macs": sum(model.graph.macs(model.size, model.size).values()),
        "dialect": model.file.dialect.to_json(),
        "pipeline": model.pipeline.to_json(),
        "dtype": model.file.dtype,
        "license": provenance.get("license", ""),
        "tool": provenance.get("tool", ""),
        "source": [[str(key), str(value)] for key, value in source.items()],
    }


def _times(model: Model, measured: NodeTimes, machine: str) -> dict[str, Any]:
    return {
        "machine": machine,
        "threads": getattr(model.engine, "threads", 1),
        "runs": measured.runs,
        "inference_ms": brief(measured.inference_ms),
        "nodes_ms": brief(sum(measured.by_node.values())),
    }


def _stages(model: Model, nodes: Sequence[Collapsed]) -> list[dict[str, Any]]:
    blocks = {f"blocks.{n}": block for n, block in enumerate(model.file.architecture.blocks)}
    by_stage: dict[str, list[str]] = {}
    for node in nodes:
        by_stage.setdefault(node.root.stage, []).append(node.name)
    return [
        {
            "name": stage,
            "nodes": names,
            "spec": format_block(blocks[stage]) if stage in blocks else None,
            "residual": stage in blocks and blocks[stage].has_residual,
        }
        for stage, names in by_stage.items()
    ]
