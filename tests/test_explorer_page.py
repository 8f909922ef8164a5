"""The page: one file, closed to everything outside, made of the recording alone."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
import zipfile
import zlib
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimix.dialect import DIALECTS, PIPELINES
from minimix.errors import InputError, UsageError
from minimix.explorer import Record, record, recording, write_page
from minimix.model import Model
from minimix.weights import ModelFile
from minimix.zoo import architecture, build
from tests.explorer_records import BUS, PANDA, RECORDS, edited, pair, pocket, single, small, tiny
from tests.pictures import picture
from tests.strategies import random_params

LIMIT, FULL_LIMIT = 3_000_000, 10_000_000
HOSTILE = "</script><script>alert(1)</script><!--<img src=x onerror=alert(1)>&amp;'\"\u2028é大"


class Page(HTMLParser):
    """What a browser's parser finds: tags with their attributes, and the text of each element."""

    def __init__(self, content):
        super().__init__(convert_charrefs=True)
        self.tags, self.texts, self._open = [], {}, []
        self.feed(content.decode())
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open.append(len(self.tags) - 1)
        self.texts[self._open[-1]] = ""

    def handle_endtag(self, tag):
        while self._open and self.tags[self._open.pop()][0] != tag:
            pass

    def handle_data(self, data):
        if self._open:
            self.texts[self._open[-1]] += data

    def of(self, tag, **attributes):
        """(attributes, text) of every such element."""
        return [
            (found, self.texts[n])
            for n, (name, found) in enumerate(self.tags)
            if name == tag and attributes.items() <= found.items()
        ]

    @property
    def policy(self):
        ((meta, _),) = self.of("meta", **{"http-equiv": "Content-Security-Policy"})
        return dict(part.strip().split(" ", 1) for part in meta["content"].split(";"))


@pytest.fixture(params=RECORDS)
def found(request):
    return RECORDS[request.param]()


@pytest.fixture
def quick_occlusion(monkeypatch):
    """Four squares instead of 144."""
    monkeypatch.setattr(recording, "OCCLUSION_STEPS", 1)


def sha256(text):
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def test_the_page_holds_the_document_and_the_buffers_as_they_are(found):
    page = Page(write_page(found))
    ((_, text),) = page.of("script", id="document", type="application/json")
    assert json.loads(text) == found.document
    packed = {
        attributes["id"].removeprefix("buffer-"): zlib.decompress(base64.b64decode(text))
        for attributes, text in page.of("script", type="application/octet-stream")
    }
    assert packed == found.buffers


def test_the_policy_allows_the_pages_own_style_and_script_and_nothing_else(found):
    page = Page(write_page(found))
    ((_, style),), (script,) = page.of("style"), [t for a, t in page.of("script") if not a]
    assert page.policy == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": sha256(style),
        "script-src": sha256(script),
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_nothing_is_loaded_and_nothing_is_inline():
    page = Page(write_page(single()))
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for name, value in attributes.items():
            assert name != "style" and not name.startswith("on"), (tag, name)
            assert name not in ("src", "href") or value.startswith(("data:", "#")), (tag, value)


def test_the_assets_fetch_nothing_and_evaluate_nothing():
    folder = files("minimix.explorer") / "assets"
    for asset in folder.iterdir():
        text = asset.read_text("utf-8")
        assert not re.search(r"@import|\burl\((?!#)|https?://(?!www\.w3\.org/)", text), asset.name
        assert not re.search(r"\beval\(|new Function|innerHTML|outerHTML|\bfetch\(", text)
        assert not re.search(r"document\.write|insertAdjacentHTML|setAttribute\(.style", text)


def test_every_asset_has_its_place_in_the_order():
    folder = files("minimix.explorer") / "assets"
    order = (folder / "order.txt").read_text("utf-8").split()
    assert sorted(order) == sorted(a.name for a in folder.iterdir() if a.name != "order.txt")
    assert len(set(order)) == len(order)
    for name in order:
        content = (folder / name).read_text("utf-8").lower()
        assert "</script" not in content and "</style" not in content, name


def test_a_hostile_name_stays_text():
    def rename(document):
        document["pictures"][0]["name"] = HOSTILE
        document["labels"][0] = document["pictures"][0]["top"][0]["label"] = HOSTILE
        document["model"]["license"] = HOSTILE
        document["model"]["source"] = [[HOSTILE, HOSTILE]]
        document["times"]["machine"] = HOSTILE

    plain, hostile = Page(write_page(single())), Page(write_page(edited(single(), rename)))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    ((_, text),) = hostile.of("script", id="document")
    assert json.loads(text)["pictures"][0]["name"] == HOSTILE
    ((_, title),) = hostile.of("title")
    assert title == f"{HOSTILE} · mixnet-pocket · minimix"


def test_half_a_character_in_a_name_does_not_stop_the_page():
    def rename(document):
        document["pictures"][0]["name"] = "pan\udcffda.jpg"

    assert b"pan\\udcffda.jpg" in write_page(edited(small(), rename))


def test_the_same_record_gives_the_same_bytes_saved_or_not(found, tmp_path):
    found.save(tmp_path / "trace.npz")
    assert write_page(found) == write_page(found) == write_page(Record.load(tmp_path / "trace.npz"))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("compare", [None, BUS])
def test_a_page_of_the_pocket_model_stays_within_its_limit(quick_occlusion, full, compare):
    found = record(pocket(), PANDA, compare=compare, full=full, times=False)
    limit = FULL_LIMIT if full else LIMIT
    assert found.document["limits"]["page_bytes"] == limit
    assert len(write_page(found)) <= limit
    shown = [len(n["maps"]["channels"]) for n in found.document["nodes"] if n["maps"]]
    assert min(shown) >= 8


@pytest.fixture(scope="module")
def mixnet_s():
    """The network at 224 px with random weights; what it computes is not looked at here."""
    arch, dialect = architecture("mixnet-s"), DIALECTS["timm"]
    params = random_params(build(arch, dialect), seed=0)
    labels = tuple(f"class {n}" for n in range(1000))
    file = ModelFile(arch, dialect, PIPELINES["timm"], labels, params, {})
    return Model(file, engine="reference")


@pytest.mark.parametrize(("compare", "full"), [(False, False), (True, False), (True, True)])
def test_a_page_of_noise_through_mixnet_s_stays_within_its_limit(
    mixnet_s, quick_occlusion, compare, full
):
    first, second = picture(640, 640), picture(640, 640, seed=1)
    found = record(mixnet_s, first, compare=second if compare else None, full=full, times=False)
    assert len(write_page(found)) <= (FULL_LIMIT if full else LIMIT)
    shown = {n["name"]: len(n["maps"]["channels"]) for n in found.document["nodes"] if n["maps"]}
    assert found.document["nodes"][1]["magnifier"]
    # Pictures of noise leave little room: large maps give way first.
    assert shown["stem.conv"] >= (0 if compare else 1)
    assert shown["head.conv"] >= 8


def test_long_names_of_many_classes_take_the_place_of_maps(quick_occlusion):
    labels = tuple("\u0642" * 40 + f"<{n}>" for n in range(8_000))
    arch, dialect = architecture("mixnet-pocket", num_classes=len(labels)), DIALECTS["timm"]
    params = random_params(build(arch, dialect), seed=5)
    file = ModelFile(arch, dialect, PIPELINES["timm"].with_size(64), labels, params, {})
    net = Model(file, engine="reference")
    found = record(net, picture(80, 80), compare=picture(90, 80), times=False)
    assert len(write_page(found)) <= LIMIT


def test_what_is_too_large_for_the_page_is_left_out(quick_occlusion):
    large = tiny(pipeline=PIPELINES["timm"].with_size(1024))
    found = record(large, picture(1500, 1500), times=False)
    assert len(write_page(found)) <= LIMIT
    shown = found.document["pictures"][0]
    assert shown["input"] is None
    assert shown["crop"].startswith("data:image/jpeg;")
    reads = {s["reads"] for node in found.document["nodes"] for s in node["magnifier"]}
    assert "picture" not in reads


def occluded(document, **changes):
    """Change an occlusion, and the shape of its drops with it."""
    found = document["pictures"][0]["occlusion"]
    found.update(changes)
    found["drops"]["shape"] = [len(found["rows"]), len(found["columns"])]


def gated(document):
    """A squeeze-excite."""
    return next(node for node in document["nodes"] if node["gates"] is not None)


CHANGES = {
    "no labels": lambda d: d.pop("labels"),
    "an unknown field": lambda d: d.update(extra=1),
    "left over: 'markup'": lambda d: d["pictures"][0].update(markup="<b>"),
    "expected one of minimix-explorer": lambda d: d.update(format="other"),
    "this minimix reads up to 1": lambda d: d.update(version=2),
    "original is a JPEG": lambda d: d["pictures"][0].update(original="https://example.org/a.jpg"),
    "crop is a PNG": lambda d: d["pictures"][0].update(crop="data:image/svg+xml,<svg/>"),
    "expected a finite number": lambda d: d["nodes"][3]["stats"][0].update(mean=float("nan")),
    "lies outside of its buffer": lambda d: d["pictures"][0]["logits"].update(offset=10**9),
    "outside of its buffer": lambda d: d["pictures"][0]["logits"].update(offset=2),
    "expected f4 of 1 axes": lambda d: d["pictures"][0]["logits"].update(dtype="u1"),
    "sizes of 0 or more": lambda d: d["pictures"][0]["logits"].update(shape=[-1]),
    "names of their own": lambda d: d["nodes"].append(d["nodes"][-1]),
    "reads: 'nowhere' is not there": lambda d: d["nodes"][3].update(inputs=["nowhere"]),
    "ms_in: 'nowhere' is not there": lambda d: d["nodes"][3].update(ms_in="nowhere"),
    "code: 'nothing' is not there": lambda d: d["nodes"][3].update(code=["nothing"]),
    "expected 1 or 2, found 0": lambda d: d.update(pictures=[]),
    "top: expected True": lambda d: d["pictures"][0]["top"][0].update(index=99),
    "histogram: expected": lambda d: d["nodes"][3]["histogram"]["counts"][0].pop(),
    "expected int .*, found True": lambda d: d["nodes"][3].update(parameters=True),
    "maps.low: expected": lambda d: d["nodes"][2]["maps"]["low"].pop(),
    "kernels.norms: expected": lambda d: d["nodes"][1]["groups"][0]["kernels"]["norms"].pop(),
    r"magnifier\[0\].group: expected True": lambda d: d["nodes"][1]["magnifier"][0].update(group=9),
    "source: expected pairs": lambda d: d["model"].update(source=[["one"]]),
    "nodes.3..ms: expected a finite number": lambda d: d["nodes"][3].update(ms=10**400),
    "nodes.3..macs: expected int": lambda d: d["nodes"][3].update(macs=10**400),
    "top: expected at least one": lambda d: d["pictures"][0].update(top=[]),
    r"top\[0\].p: expected True": lambda d: d["pictures"][0]["top"][0].update(p=1.5),
    "document.classes: expected at least one": lambda d: d.update(classes=[]),
    "document.labels: expected at least one": lambda d: d.update(labels=[]),
    "document.nodes: expected at least one": lambda d: d.update(nodes=[], stages=[]),
    r"stages\[\d+\].nodes: expected at least one": lambda d: d["stages"].append(
        {"name": "empty", "nodes": [], "spec": None, "residual": False}
    ),
    "document.stages: expected names of their own": lambda d: d["stages"][2].update(
        name=d["stages"][1]["name"]
    ),
    "is named like one of its nodes": lambda d: d["stages"][2].update(
        name=d["stages"][2]["nodes"][0]
    ),
    "occlusion.rows: expected at least one": lambda d: occluded(d, rows=[]),
    "occlusion.columns: expected at least one": lambda d: occluded(d, columns=[]),
    "occlusion.stride: expected True": lambda d: occluded(d, stride=0),
    "width and height: expected True": lambda d: d["pictures"][0].update(width=0),
    "maps are there: expected True": lambda d: d["nodes"][3].update(maps=None),
    "maps are there: expected False": lambda d: d["nodes"][0].update(maps=d["nodes"][1]["maps"]),
    "vector is there: expected True": lambda d: d["nodes"][-1].update(vector=None),
    "vector is there: expected False": lambda d: d["nodes"][1].update(vector=[]),
    "gates are there: expected True": lambda d: gated(d).update(gates=None),
    "gates are there: expected False": lambda d: d["nodes"][1].update(gates=[]),
    "kind: expected one of": lambda d: d["nodes"][1].update(kind="strange"),
    "kernels.channels: expected at least one": lambda d: d["nodes"][1]["groups"][0][
        "kernels"
    ].update(channels=[], norms=[]),
    "kernel_size: expected True": lambda d: d["nodes"][1]["groups"][0].update(kernel_size=0),
    "stride is there: expected True": lambda d: d["nodes"][1].update(stride=None),
    "reads a picture that is there": lambda d: d["pictures"][0].update(input=None),
    "shape: expected .32, 32, 3.": lambda d: d["nodes"][0].update(shape=[31, 32, 3]),
}


@pytest.mark.parametrize("message", CHANGES)
def test_a_document_that_is_not_as_described_is_refused(message):
    expected = {"no labels": "missing: 'labels'", "an unknown field": "left over: 'extra'"}
    with pytest.raises(InputError, match=expected.get(message, message)) as caught:
        edited(small(), CHANGES[message])
    assert len(str(caught.value)) < 400


def test_a_buffers_name_is_a_word():
    with pytest.raises(InputError, match="expected a name of small letters"):
        replace(small(), buffers=small().buffers | {'x" onload="': b""})


def npz(path, **arrays):
    with path.open("wb") as stream:
        np.savez(stream, **arrays)
    return path


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda p: None, "cannot be read: No such file"),
        (lambda p: p.mkdir(), "cannot be read"),
        (lambda p: p.write_bytes(b""), "no recording of the explorer"),
        (lambda p: p.write_bytes(b"PK\x03\x04 nonsense"), "no recording of the explorer"),
        (lambda p: npz(p, other=np.zeros(3, np.uint8)), "no recording of the explorer"),
        (lambda p: npz(p, document=np.zeros(3)), "expected 24 bytes, found .*'<f8'"),
        (lambda p: npz(p, document=np.array([{}])), r"found .*'\|O'"),
        (lambda p: npz(p, document=np.zeros((2, 2), np.uint8)), r"found .*\(2, 2\)"),
        (lambda p: npz(p, document=np.frombuffer(b"[1]", np.uint8)), "expected an object"),
        (lambda p: npz(p, document=np.frombuffer(b'{"a":NaN}', np.uint8)), "NaN is no JSON"),
        (lambda p: npz(p, document=np.frombuffer(b"[" * 9**5, np.uint8)), "no recording"),
        (lambda p: npz(p, document=np.zeros(2**26 + 1, np.uint8)), "a recording has at most"),
    ],
)
def test_a_file_that_is_no_recording_is_refused(tmp_path, write, message):
    path = tmp_path / "trace.npz"
    write(path)
    with pytest.raises(InputError, match=rf"trace\.npz: .*{message}") as caught:
        Record.load(path)
    assert len(str(caught.value)) < 500


def npy(header, content=b"{}"):
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2,, }\n",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2L,), }\n",
        "{'descr': '|a1', 'fortran_order': False, 'shape': (2,), }\n",
        "{'descr': (), 'fortran_order': False, 'shape': (2,), }\n",
        "{'descr': [()], 'fortran_order': False, 'shape': (2,), }\n",
        "{'descr': '|\\d1', 'fortran_order': False, 'shape': (2,), }\n",
        "{'descr': {'a': 1}, 'fortran_order': False, 'shape': (2,), }\n",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }\n",
        "{'descr': '|u1', 'fortran_order': True, 'shape': (2,), }\n",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (" + "9" * 5000 + ",), }\n",
        "{'descr': '''|u1, 'shape'\n",
        "{[]: '|u1'}\n",
        "(" * 5000,
        "",
    ],
)
def test_a_header_of_another_form_is_refused_and_never_evaluated(tmp_path, header):
    path = tmp_path / "trace.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("document.npy", npy(header))
    with pytest.raises(InputError, match=r"trace\.npz: ") as caught:
        Record.load(path)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_that_is_packed_another_way_is_refused(tmp_path, method):
    path = tmp_path / "trace.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("document.npy", b"nonsense")
    with pytest.raises(InputError, match=r"trace\.npz: document\.npy: packed by method"):
        Record.load(path)


@cache
def untimed():
    """Return what is the same at every run, so that what was found once is found again."""
    return record(tiny(), PANDA, compare=BUS, times=False)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "trace.npz"
    untimed().save(path)
    return path


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=4),
    st.none() | st.integers(0, 2**20),
)
def test_a_damaged_file_is_refused_or_harmless(saved, tmp_path_factory, changes, end):
    content = bytearray(saved.read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    if end is not None:
        del content[end % len(content) :]
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(content)
    try:
        assert Record.load(path) == untimed()  # the change was where nothing is read
    except InputError as error:
        assert "damaged.npz: " in str(error)


def test_a_member_that_is_named_twice_or_encrypted_is_no_way_in(tmp_path, saved):
    with zipfile.ZipFile(saved) as archive:
        document = archive.read("document.npy")
    path = tmp_path / "trace.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("document.npy", document)
        archive.writestr("../buffer.maps.npy", document)
    with pytest.raises(InputError, match=r"trace\.npz: "):
        Record.load(path)


def test_saving_replaces_nothing_unasked(tmp_path):
    small().save(tmp_path / "trace.npz")
    with pytest.raises(UsageError, match="exists already"):
        small().save(tmp_path / "trace.npz")


def test_a_record_of_two_pictures_has_both_names_in_its_title():
    ((_, title),) = Page(write_page(pair())).of("title")
    assert title == f"{PANDA.name} and {BUS.name} · mixnet-pocket · minimix"
