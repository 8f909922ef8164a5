"""Texts from outside: block strings, headers of model files, lists of labels and of paths, pins."""

from __future__ import annotations

import io
import json
import os
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import h5py

from minimix import inputs, weights
from minimix.errors import UsageError
from minimix.hub import pins
from minimix.hub.partial import PartialFile
from minimix.hub.releases import find_release
from minimix.labels import imagenet_classes, imagenet_wnids
from minimix.workflows.validation.classes import Classes, Layout
from minimix.workflows.validation.labels import labelled_layout
from minimix.zoo import Architecture, architecture, format_block, parse_block
from tests.fuzz.declared import Files
from tests.fuzz.mutations import Seed
from tests.fuzz.parser_rule import NothingError, check
from tests.fuzz.samples import single
from tests.model_files import saved, write_header

# --- block strings ----------------------------------------------------------------------------

_GRAMMAR = tuple(b"r k3.5 a1.1 p1.1 s22 e6 i40 o40 se0.5 se1 noskip sw dilated _ .".split())


def blocks() -> list[Seed]:
    """One block string a file."""
    texts = {format_block(block) for block in architecture("mixnet-m").blocks}
    texts |= {"r9_k3.5.7_a1_p1_s11_e1_i8_o8_noskip_dilated", "r1_k3_a1_p1_s22_e6_i16_o24_se1"}
    return [Seed(single(text.encode()), tokens=_GRAMMAR) for text in sorted(texts)]


def parse_blocks(path: Path, files: Files) -> None:
    """Read a block string; what is read is written back unchanged."""
    text = path.read_bytes().decode("utf-8", "backslashreplace")
    found = parse_block(text)
    check(format_block(found) == text, f"{text!r} is written as {format_block(found)!r}")


# --- headers of model files -------------------------------------------------------------------

_MODEL = "model.h5"


@cache
def _saved() -> tuple[bytes, bytes]:
    """A model file, and its header."""
    with TemporaryDirectory() as folder:
        path = saved(Path(folder) / _MODEL)
        with h5py.File(path, "r") as file:
            header: bytes = file["header"][()].tobytes()
        return path.read_bytes(), header


def headers() -> list[Seed]:
    """The JSON of a model file, with a checksum that fits: dialect, pipeline, blocks, labels."""
    words = ("architecture", "dialect", "pipeline", "labels", "provenance", "checksums", "null")
    words += ("NaN", "1e999", "[[", "{}", "same", "opencv-cubic", "BGR", "short-side")
    tokens = (*(word.encode() for word in words), *_GRAMMAR)
    return [Seed(single(_saved()[1]), tokens=tokens)]


def prepare_header(path: Path, files: Files) -> None:
    """Put a header into a model file."""
    model = path.with_name(_MODEL)
    model.write_bytes(_saved()[0])
    write_header(model, path.read_bytes())


def parse_header(path: Path, files: Files) -> None:
    """Load the model that has the header."""
    model = weights.load(path.with_name(_MODEL))
    again = Architecture.from_json(model.architecture.to_json())
    check(again == model.architecture, "the architecture does not come back")
    check(len(model.labels) == model.architecture.num_classes, "labels and classes differ")


# --- labels of validation sets ----------------------------------------------------------------

_IMAGENET = Classes("mixnet-s", imagenet_classes(), imagenet_wnids())
_TINY = Classes("tiny", ("panda", "polar bear", "köttur", "7"))
_NUMBERED = [f"ILSVRC2012_val_{n:08d}.JPEG" for n in range(1, 9)]
_NAMED = ["a.jpg", "b c.png", "sub/d.jpg", "köttur.webp", "a.png"]
_WORDS = tuple(
    word.encode()
    for word in ("n02510455", "n02119022", "388", "giant panda", "polar_bear", "a.jpg", "\t", ",")
    + ("ILSVRC2012_val_00000001", "\r\n", "\x85", '"', "sub/d.jpg", " ", "[388, 277]", "[", "²")
)
LABELS, MAP = "labels", "map"


def _set(labels: str, mapping: str = "") -> Seed:
    return Seed({LABELS: labels.encode(), MAP: mapping.encode()}, tokens=_WORDS)


def labels(ending: str) -> list[Seed]:
    """Labels in one spelling each, beside the mapping of the devkit where there is one."""
    if ending == ".json":
        return [_set(json.dumps([[388], [277, 388], [], [5], [6], [7], [8], [9]]))]
    if ending == ".csv":
        rows = [f"{name.removesuffix('.JPEG')},n02510455 1 2 3 4 " for name in _NUMBERED]
        return [
            _set("\n".join(["ImageId,PredictionString", *rows])),
            _set("file,label\n" + "\n".join(f'"{name}",panda' for name in _NAMED)),
        ]
    mapping = "\n".join(f"{n} n02510455" for n in range(1, 9))
    return [
        _set("\n".join(f"{name} n02510455" for name in _NUMBERED)),
        _set("\n".join(["n02119022"] * 8)),
        _set("\n".join(f"{name} polar bear" for name in _NAMED)),
        _set("\n".join(f"{name}\tpanda" for name in _NAMED)),
        _set("\n".join(map(str, range(1, 9))), mapping),
    ]


class LabelsOf:
    """Reads labels for each of two sets of pictures, with and without the devkit's mapping."""

    def __init__(self, ending: str) -> None:
        self.ending = ending

    def __call__(self, path: Path, files: Files) -> None:
        """Read them; one of the ways must be fine for the file to be accepted."""
        folder, content = path.parent, files.get(LABELS)
        file, mapping = folder / f"labels{self.ending}", folder / MAP
        if content is not None:
            file.write_bytes(content)
        devkit = mapping if files.get(MAP) else None
        error: UsageError | None = None
        for pictures, classes in ((_NUMBERED, _IMAGENET), (_NAMED, _TINY)):
            try:
                self._check(labelled_layout(folder, list(pictures), classes, file, devkit), classes)
                return
            except UsageError as refused:
                check(str(refused).isprintable(), f"does not print: {str(refused)!r:.300}")
                error = refused
        assert error is not None
        raise error

    def _check(self, layout: Layout, classes: Classes) -> None:
        for picture in layout.pictures:
            inside = picture.truth and all(0 <= n < len(classes) for n in picture.truth)
            check(bool(inside), f"{picture} has classes that there are not")


# --- lists of paths ---------------------------------------------------------------------------


def lists() -> list[Seed]:
    """Lists of paths, with line feeds and with NULs."""
    names = ("a.jpg", "sub/b c.png", "köttur.webp", "https://host/a.jpg", "*.jpg", "-")
    texts = ["\n".join(names), "\r\n".join(names), "\0".join(names), "\ufeff" + "\n".join(names)]
    return [Seed(single(text.encode()), tokens=(b"\n", b"\0", b"\r\n")) for text in texts]


def parse_list(path: Path, files: Files) -> None:
    """Split a list; nothing is opened: a name may be any folder of this machine."""
    content = path.read_bytes()
    found = list(inputs.entries_of(io.BytesIO(content)))
    check(all(found), "an empty name")
    check(sum(len(os.fsencode(name)) for name in found) <= len(content), "more than there is")


# --- what the cache says of downloads ---------------------------------------------------------

_DIGEST = "0123456789abcdef" * 4
_RELEASE = find_release("mixnet-s")


def pin_lines() -> list[Seed]:
    """The line of a pin."""
    line = f"{_DIGEST}  {_RELEASE.file}\n"
    return [Seed(single(line.encode()), tokens=(b"  ", b"\n", _DIGEST.encode()))]


def parse_pin(path: Path, files: Files) -> None:
    """Read a pin."""
    with TemporaryDirectory() as folder, patch.dict(os.environ, {"MINIMIX_CACHE_DIR": folder}):
        place = pins.pin_path(_RELEASE)
        place.parent.mkdir(parents=True)
        place.write_bytes(path.read_bytes())
        found = pins.read_pin(_RELEASE)
    check(len(found) == len(_DIGEST), f"a digest of {len(found)} digits")


_ADDRESS = "https://host/a.pth"
PART = "a.pth.part"


def origins() -> list[Seed]:
    """A download on its way, with its origin beside it."""
    made = []
    for validator, total in (('"abc"', 7), ("Mon, 01 Jan 2024 00:00:00 GMT", None)):
        stated = {"address": _ADDRESS, "validator": validator, "total_bytes": total}
        files = {PART: b"content", f"{PART}.json": json.dumps(stated).encode()}
        made.append(Seed(files, tokens=(b"null", b'"', b"total_bytes", b"[", b"{")))
    return made


def parse_origin(path: Path, files: Files) -> None:
    """Read where the bytes that are here come from."""
    part = PartialFile(path)
    origin = part.origin(_ADDRESS)
    if origin is None:
        raise NothingError("begins anew")
    part.check_ours()
    check(origin.address == _ADDRESS and bool(origin.validator), f"goes on from {origin}")
