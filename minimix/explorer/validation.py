"""Whether a recording, which may come from anywhere, is what ``format`` describes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Sized
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
    for key in ("labels", "classes", "nodes"):
        yield from _empty(f"document.{key}", document[key])
    count = len(document["pictures"])
    if count not in (1, 2):
        yield f"document.pictures: expected 1 or 2, found {count}"
    for n, picture in enumerate(document["pictures"]):
        where = f"document.pictures[{n}]"
        yield from _empty(f"{where}.top", picture["top"])
        yield from _differing(where, _picture_facts(picture, document))
        for key in ("rows", "columns") if picture["occlusion"] is not None else ():
            yield from _empty(f"{where}.occlusion.{key}", picture["occlusion"][key])
    yield from _stage_problems(document["stages"])
    known: set[str] = set()
    stages = {name: stage["name"] for stage in document["stages"] for name in stage["nodes"]}
    for n, node in enumerate(document["nodes"]):
        where = f"document.nodes[{n}]"
        yield from _unknown(where, "reads", node["inputs"], known)
        yield from _unknown(where, "code", node["code"], document["code"])
        for m, group in enumerate(node["groups"]):
            if group["kernels"] is not None:
                listed = group["kernels"]["channels"]
                yield from _empty(f"{where}.groups[{m}].kernels.channels", listed)
        yield from _differing(where, _node_facts(node, document, stages))
        known.add(node["name"])
    if len(known) != len(document["nodes"]) or stages.keys() != known:
        yield "document.nodes: expected names of their own, each in one stage"
    for n, node in enumerate(document["nodes"]):
        yield from _unknown(f"document.nodes[{n}]", "ms_in", [node["ms_in"] or node["name"]], known)
    if not all(len(pair) == 2 for pair in document["model"]["source"]):
        yield "document.model.source: expected pairs"


def _empty(where: str, listed: Sized) -> Iterator[str]:
    if not len(listed):
        yield f"{where}: expected at least one"


def _stage_problems(stages: Sequence[Json]) -> Iterator[str]:
    if len({stage["name"] for stage in stages}) != len(stages):
        yield "document.stages: expected names of their own"
    for n, stage in enumerate(stages):
        yield from _empty(f"document.stages[{n}].nodes", stage["nodes"])
        if stage["name"] in stage["nodes"] and len(stage["nodes"]) > 1:
            yield f"document.stages[{n}] is named like one of its nodes, and has others"


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
    yield "width and height", min(picture["width"], picture["height"]) > 0, True
    yield "crop_box", len(picture["crop_box"]), 4
    if picture["input"] is not None:
        values, levels = picture["input"]["values"], picture["input"]["levels"]
        yield "input.values", values["shape"], [size, size, 3]
        yield "input.levels are there", levels is not None, values["dtype"] == "u1"
        yield "input.levels", (levels or values)["shape"][-2 if levels else -1], 3
    yield "logits", picture["logits"]["shape"], [classes]
    indices = [*document["classes"], *(row["index"] for row in picture["top"])]
    yield "top", all(0 <= index < classes for index in indices), True
    for n, row in enumerate(picture["top"]):
        yield f"top[{n}].p", 0 <= row["p"] <= 1, True
    activation = picture["activation"]
    yield "activation.cells", activation["cells"]["shape"][0], shown
    yield "activation.cells are there", min(activation["cells"]["shape"]) > 0, True
    for key in ("bias", "sums", "logits"):
        yield f"activation.{key}", len(activation[key]), shown
    occlusion = picture["occlusion"]
    if occlusion is not None:
        cells = [len(occlusion["rows"]), len(occlusion["columns"])]
        yield "occlusion.drops", occlusion["drops"]["shape"], cells
        for key in ("patch", "stride"):
            yield f"occlusion.{key}", occlusion[key] > 0, True


def _node_facts(node: Json, document: Json, stages: Mapping[str, str]) -> _Facts:
    shape, is_input, count = node["shape"], node["kind"] == "input", len(document["pictures"])
    yield "stage", stages.get(node["name"]), node["stage"]
    yield "shape", len(shape) in (1, 3) and min(shape) > 0, True
    yield "stats", len(node["stats"]), count
    yield "dead", len(node["dead"]), count
    yield "histogram", [len(row) for row in node["histogram"]["counts"]], [BINS] * count
    size = document["model"]["size"]
    yield "shape", shape if is_input else None, [size, size, 3] if is_input else None
    yield "maps are there", node["maps"] is not None, len(shape) == 3 and not is_input
    yield "vector is there", node["vector"] is not None, len(shape) == 1
    yield "gates are there", node["gates"] is not None, node["kind"] == "squeeze_excite"
    for key in ("vector", "gates"):
        if node[key] is not None:
            yield key, [ref["shape"] for ref in node[key]], [shape[-1:]] * count
    if node["maps"] is not None:
        yield from _maps_facts(node["maps"], shape, count)
    for n, group in enumerate(node["groups"]):
        yield f"groups[{n}].pad", len(group["pad"]), 2
        yield f"groups[{n}].kernel_size", group["kernel_size"] > 0, True
        if group["kernels"] is not None:
            yield from _kernels_facts(group, f"groups[{n}].kernels")
    has_inputs = all(picture["input"] is not None for picture in document["pictures"])
    for n, sample in enumerate(node["magnifier"]):
        yield "stride is there", node["stride"] is not None, True
        is_there = has_inputs or sample["reads"] != "picture"
        yield f"magnifier[{n}] reads a picture that is there", is_there, True
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
