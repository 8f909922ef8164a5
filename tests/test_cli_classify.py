"""``minimix classify`` in this process: its formats, its notes, its errors."""

from __future__ import annotations

import csv
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from minimix import images
from minimix.cli.output import Screen
from minimix.cli.predictions import Row, TableWriter
from minimix.model import Score, load
from tests.cli import run
from tests.pictures import encoded, picture

NOTE = r"mixnet-pocket \(timm\) · 64 px · \d+\.\d ms"


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A current folder with two pictures, a turned one, and a file that is none."""
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR", "MINIMIX_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for n, name in enumerate(("a.png", "b.png")):
        (tmp_path / name).write_bytes(encoded(images.open_image(picture(seed=n))))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.fromarray(
        np.arange(60 * 80 * 3, dtype=np.uint32).reshape(60, 80, 3).astype("u1")
    )
    (tmp_path / "turned.png").write_bytes(encoded(turned, exif=exif))
    (tmp_path / "bad.png").write_bytes(b"no picture at all")
    return tmp_path


@pytest.fixture
def classify(capsys, tiny_model, pictures):
    return lambda *argv: run(capsys, "classify", "--model", tiny_model, *argv)


def test_one_picture_is_a_table_of_its_best_classes_and_a_note(classify, tiny_model):
    code, out, err = classify("a.png")
    expected = load(tiny_model).classify("a.png")
    rows = [re.fullmatch(r"([a-z ]+?) +(\d+\.\d) %", line).groups() for line in out.splitlines()]
    assert code == 0
    assert rows == [(score.label, f"{score.p * 100:.1f}") for score in expected.top]
    assert len({len(line) for line in out.splitlines()}) == 1
    assert re.fullmatch(r"(compiling kernels .*\n)?" + NOTE + "\n", err)


def test_several_pictures_have_their_names_above_their_tables(classify):
    code, out, err = classify("a.png", "b.png", "--top", "2")
    first, second = out.split("\n\n")
    assert code == 0
    assert first.startswith("a.png\n  ") and second.startswith("b.png\n  ")
    assert len(first.splitlines()) == 3
    assert len({len(line) for line in out.splitlines() if line.startswith("  ")}) == 1
    assert re.fullmatch(NOTE + r" a picture · 2 pictures\n", err)


def test_a_bad_input_is_an_error_line_and_the_rest_goes_on(classify):
    code, out, err = classify("a.png", "nope.png", "bad.png", "b.png")
    assert code == 3
    assert "a.png\n" in out and "b.png\n" in out and "nope" not in out
    assert "error: nope.png: no such file." in err
    assert "error: bad.png: not an image that Pillow" in err
    assert err.endswith("2 of 4 inputs failed\n")


def test_a_single_missing_input_is_exit_code_3(classify):
    code, out, err = classify("nope.png")
    assert code == 3 and out == ""
    assert err.startswith("error: nope.png: no such file")


def test_json_is_one_document_with_every_input(classify):
    code, out, _ = classify("a.png", "bad.png", "--format", "json", "--top", "3")
    document = json.loads(out)
    assert code == 3
    assert list(document) == ["schema_version", "model", "results"]
    assert document["schema_version"] == 1 and document["model"] == "mixnet-pocket"
    good, bad = document["results"]
    assert list(good) == ["input", "ok", "top", "ms"]
    assert (good["input"], good["ok"], len(good["top"])) == ("a.png", True, 3)
    assert list(good["top"][0]) == ["index", "label", "p"]
    assert (bad["input"], bad["ok"]) == ("bad.png", False)
    assert bad["error"].startswith("not an image")


def test_ndjson_is_a_versioned_object_a_line(classify):
    code, out, _ = classify("a.png", "bad.png", "b.png", "--format", "ndjson", "--batch", "1")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 3
    assert [row["input"] for row in rows] == ["a.png", "bad.png", "b.png"]
    assert [list(row) for row in rows[:2]] == [
        ["v", "input", "ok", "top", "ms"],
        ["v", "input", "ok", "error"],
    ]
    assert all(row["v"] == 1 for row in rows)


def test_csv_is_a_line_per_input_and_rank(classify):
    _, out, _ = classify("a.png", "bad.png", "--format", "csv", "--top", "2")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["input", "ok", "rank", "index", "label", "p", "error"]
    assert [(row["input"], row["ok"], row["rank"]) for row in rows] == [
        ("a.png", "true", "1"),
        ("a.png", "true", "2"),
        ("bad.png", "false", ""),
    ]
    assert float(rows[0]["p"]) >= float(rows[1]["p"]) and rows[2]["error"]


def test_every_format_tells_the_same_scores(classify, tiny_model):
    expected = [(s.index, s.label, round(s.p, 6)) for s in load(tiny_model).classify("a.png").top]
    document = json.loads(classify("a.png", "--format", "json").out)["results"][0]
    line = json.loads(classify("a.png", "--format", "ndjson").out)
    rows = csv.DictReader(io.StringIO(classify("a.png", "--format", "csv").out))
    assert [tuple(score.values()) for score in document["top"]] == expected
    assert line["top"] == document["top"]
    assert [(int(r["index"]), r["label"], float(r["p"])) for r in rows] == expected


@pytest.mark.parametrize("batch", [1, 2, 16])
def test_the_batch_size_changes_no_order_and_no_class(classify, batch):
    named = ("a.png", "bad.png", "b.png", "turned.png", "nope.png")
    out = classify(*named, "--format", "ndjson", "--batch", batch).out
    rows = [json.loads(line) for line in out.splitlines()]
    alone = [json.loads(classify(name, "--format", "ndjson").out) for name in named]
    assert [row["input"] for row in rows] == list(named)
    for row, single in zip(rows, alone, strict=True):
        assert row["ok"] == single["ok"]
        for score, other in zip(row.get("top", ()), single.get("top", ()), strict=True):
            assert score["label"] == other["label"]
            assert score["p"] == pytest.approx(other["p"], abs=2e-6)


def test_more_classes_than_there_are_are_all_of_them(classify):
    assert len(classify("a.png", "--top", "1000").out.splitlines()) == 7


def test_options_may_stand_between_inputs(classify):
    assert classify("a.png", "--top", "1", "b.png").out.count(".png") == 2


def test_a_list_and_named_inputs_come_together(classify, pictures):
    (pictures / "list").write_text("b.png\nnope.png\n")
    out = classify("a.png", "--from-file", "list", "--format", "ndjson").out
    found = [json.loads(line)["input"] for line in out.splitlines()]
    assert found == ["a.png", "b.png", "nope.png"]


def test_exif_orientation_is_applied_unless_ignored(classify, tiny_model):
    applied = json.loads(classify("turned.png", "--format", "ndjson").out)["top"]
    ignored = json.loads(classify("turned.png", "--format", "ndjson", "--exif", "ignore").out)[
        "top"
    ]
    assert applied != ignored
    net = load(tiny_model)
    x = net.preprocess("turned.png", exif="ignore")
    assert ignored[0]["p"] == round(net.predictions(net(x))[0].p, 6)


def test_verbose_says_how_pictures_are_prepared(classify):
    err = classify("a.png", "-v", "--exif", "ignore").err
    assert err.startswith("pipeline timm: short side to 73 px, centre 64 px, pillow-bicubic;")
    assert "EXIF orientation ignored" in err


def test_quiet_leaves_only_errors(classify):
    assert classify("a.png", "-q").err == ""
    assert classify("nope.png", "b.png", "-q").err.count("\n") == 1


def test_size_replaces_the_file_s_own(classify):
    assert "· 96 px ·" in classify("a.png", "--size", "96").err
    code, _, err = classify("a.png", "--size", "20")
    assert code == 2 and "at least 32" in err


def test_colour_and_bars_can_be_asked_for(classify):
    assert "\x1b[" not in classify("a.png").out and "█" not in classify("a.png").out
    assert re.match("\x1b\\[1m.*█.* %\x1b\\[0m\n", classify("a.png", "--color", "always").out)


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        ([], 2, "name at least one picture"),
        (["-", "--from-file", "-"], 2, "standard input cannot be both"),
        (["a.png", "--model", "mixnet-s", "--offline"], 4, "the network is forbidden"),
        (["a.png", "--model", "nope.h5"], 4, "nope.h5: no such file"),
        (["a.png", "--model", "bad.png"], 4, "bad.png: not an HDF5 file"),
        (["http://127.0.0.1:9/a.png", "--offline"], 3, "the network is forbidden"),
    ],
)
def test_every_kind_of_failure_has_its_exit_code(classify, argv, code, message):
    outcome = classify(*argv)
    assert outcome.code == code and outcome.out == ""
    assert f"error: {message}" in outcome.err or message in outcome.err


def test_the_table_of_the_documentation(capsys):
    top = (Score(388, "giant panda", 0.944), Score(362, "badger", 0.002))
    writer = TableWriter(Screen(color=False, bars=True, unicode=True))
    writer.row(Row("panda.jpg", top, 2.6))
    writer.end()
    assert capsys.readouterr().out == (
        "giant panda  ██████████████████ 94.4 %\nbadger       ▏                   0.2 %\n"
    )


def test_the_row_of_the_documentation():
    row = Row("a.jpg", (Score(388, "giant panda", 0.944),), 2.6)
    assert row.to_json() == {
        "input": "a.jpg",
        "ok": True,
        "top": [{"index": 388, "label": "giant panda", "p": 0.944}],
        "ms": 2.6,
    }
