"""Whether a recording, which may come from anywhere, is what ``format`` describes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from minimix.errors import InputError
from minimix.explorer import schema
from minimix.explorer.buffers import fits
from minimix.explorer.format import BINS, DOCUMENT

Json = Mapping[str, Any]

_NAME = re.compile("[a-z]{1,20}")
_BASE64 = "[A-Za-z0-9+/]+={0,2}"
_JPEG = re.compile(f"data:image/jpeg;base64,{_BASE64}")
_PNG = re.compile(f"data:image/png;base64,{_BASE64}")


def check_record(document: Json, buffers: Mapping[str, bytes]) -> None:
    """Check the fields, their types, the references, and what belongs together.

    Raises:
        InputError: names the place, what was expected and what was found.
    """
    schema.check(document, DOCUMENT, "document")
    for problem in _problems(document, buffers):
        raise InputError(problem)


def _problems(document: Json, buffers: Mapping[str, bytes]) -> Iterator[str]:
    for name in buffers:
        if not _NAME.fullmatch(name):
            yield f"buffer {name!r}: expected a name of small letters"
    for where, ref in schema.refs_in(document, DOCUMENT):
        if not fits(ref, buffers):
            yield f"{where}: {ref} lies outside of its buffer"
    count = len(document["pictures"])
    if count not in (1, 2):
        yield f"document.pictures: expected 1 or 2, found {count}"
    for n, picture in enumerate(document["pictures"]):
        yield from _differing(f"document.pictures[{n}]", _picture_facts(picture, document))
    known: set[str] = set()
    stages = {name: stage["name"] for stage in document["stages"] for name in stage["nodes"]}
    for n, node in enumerate(document["nodes"]):
        where = f"document.nodes[{n}]"
        yield from _unknown(where, "reads", node["inputs"], known)
        yield from _unknown(where, "code", node["code"], document["code"])
        yield from _differing(where, _node_facts(node, count, stages))
        known.add(node["name"])
    if len(known) != len(document["nodes"]) or stages.keys() != known:
        yield "document.nodes: expected names of their own, each in one stage"
    for n, node in enumerate(document["nodes"]):
        yield from _unknown(f"document.nodes[{n}]", "ms_in", [node["ms_in"] or node["name"]], known)
    if not all(len(pair) == 2 for pair in document["model"]["source"]):
        yield "document.model.source: expected pairs"


def _differing(where: str, facts: Iterator[tuple[str, object, object]]) -> Iterator[str]:
    for what, found, expected in facts:
        if found != expected:
            yield f"{where}.{what}: expected {expected!r:.80}, found {found!r:.80}"


def _unknown(where: str, what: str, names: list[str], known: Any) -> Iterator[str]:
    for name in names:
        if name not in known:
            yield f"{where}.{what}: {name!r:.80} is not there"


_Facts = Iterator[tuple[str, object, object]]
"""What, as it was found, as it must be."""


def _picture_facts(picture: Json, document: Json) -> _Facts:
    size, classes = document["model"]["size"], len(document["labels"])
    shown = len(document["classes"])
    yield "original is a JPEG", _JPEG.fullmatch(picture["original"]) is not None, True
    is_crop = bool(_PNG.fullmatch(picture["crop"]) or _JPEG.fullmatch(picture["crop"]))
    yield "crop is a PNG or a JPEG", is_crop, True
    yield "crop_box", len(picture["crop_box"]), 4
    if picture["input"] is not None:
        values, levels = picture["input"]["values"], picture["input"]["levels"]
        yield "input.values", values["shape"], [size, size, 3]
        yield "input.levels are there", levels is not None, values["dtype"] == "u1"
        yield "input.levels", (levels or values)["shape"][-2 if levels else -1], 3
    yield "logits", picture["logits"]["shape"], [classes]
    indices = [*document["classes"], *(row["index"] for row in picture["top"])]
    yield "top", all(0 <= index < classes for index in indices), True
    activation = picture["activation"]
    yield "activation.cells", activation["cells"]["shape"][0], shown
    for key in ("bias", "sums", "logits"):
        yield f"activation.{key}", len(activation[key]), shown
    occlusion = picture["occlusion"]
    if occlusion is not None:
        cells = [len(occlusion["rows"]), len(occlusion["columns"])]
        yield "occlusion.drops", occlusion["drops"]["shape"], cells


def _node_facts(node: Json, count: int, stages: Mapping[str, str]) -> _Facts:
    shape = node["shape"]
    yield "stage", stages.get(node["name"]), node["stage"]
    yield "shape", len(shape) in (1, 3) and min(shape) > 0, True
    yield "stats", len(node["stats"]), count
    yield "dead", len(node["dead"]), count
    yield "histogram", [len(row) for row in node["histogram"]["counts"]], [BINS] * count
    for key in ("vector", "gates"):
        if node[key] is not None:
            yield key, [ref["shape"] for ref in node[key]], [shape[-1:]] * count
    if node["maps"] is not None:
        yield from _maps_facts(node["maps"], shape, count)
    for n, group in enumerate(node["groups"]):
        yield f"groups[{n}].pad", len(group["pad"]), 2
        if group["kernels"] is not None:
            yield from _kernels_facts(group, f"groups[{n}].kernels")
    for n, sample in enumerate(node["magnifier"]):
        yield from _sample_facts(sample, node, count, f"magnifier[{n}]")


def _maps_facts(maps: Json, shape: list[int], count: int) -> _Facts:
    channels = len(maps["channels"])
    for key in ("energies", "low", "high"):
        yield f"maps.{key}", len(maps[key]), channels
    expected = [[channels, *shape[:2]]] * count
    yield "maps.values", [ref["shape"] for ref in maps["values"]], expected
    yield "maps.channels", all(0 <= c < shape[-1] for c in maps["channels"]), True


def _kernels_facts(group: Json, where: str) -> _Facts:
    kernels, K = group["kernels"], group["kernel_size"]
    listed = len(kernels["channels"])
    yield f"{where}.norms", len(kernels["norms"]), listed
    yield f"{where}.weights", kernels["weights"]["shape"][:3], [listed, K, K]


def _sample_facts(sample: Json, node: Json, count: int, where: str) -> _Facts:
    groups = node["groups"]
    is_there = 0 <= sample["group"] < len(groups)
    yield f"{where}.group", is_there, True
    K = groups[sample["group"]]["kernel_size"]
    yield f"{where}.weight", sample["weight"]["shape"][:2], [K, K]
    yield f"{where}.output", [ref["shape"] for ref in sample["output"]], [node["shape"][:2]] * count
    inputs = count if sample["reads"] == "map" else 0
    yield f"{where}.input", len(sample["input"]), inputs
    yield f"{where}.channel", 0 <= sample["channel"] < node["shape"][-1], True
