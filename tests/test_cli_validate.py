"""``minimix validate``: its formats, its files, its exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest
from PIL import Image

from minimix.cli import output
from minimix.errors import OutputError
from minimix.workflows.validation import validate as workflow
from tests.cli import command, environment, run
from tests.model_files import saved
from tests.pictures import picture

PICTURES = str(files("minimix") / "data" / "pictures")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current folder with a model and class folders, of which one holds a broken file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINIMIX_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("MINIMIX_OFFLINE", raising=False)
    for n in range(12):
        folder = tmp_path / "val" / ("panda", "bear")[n % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(seed=n)).save(folder / f"{n}.png")
    saved(tmp_path / "tiny.h5")
    return tmp_path


@pytest.fixture
def validate(capsys, here):
    fixed = ("--model", "tiny.h5", "--engine", "reference")
    return lambda *argv: run(capsys, "validate", *argv, *fixed)


def top1(outcome):
    return json.loads(outcome.out)["top1"]


def test_a_summary_for_people(validate):
    code, out, err = validate("val")
    assert code == 0
    assert err == "tiny (timm) · 32 px · 12 pictures in 2 class folders named by name\n"
    lines = out.splitlines()
    assert lines[0].startswith("top-1 ") and " of 12; 95 % interval " in lines[0]
    assert lines[1].startswith("top-3  100.00 %  12 of 12;")  # the tiny model has three classes
    assert lines[2].startswith("ECE ")
    assert lines[4].split() == ["confidence", "pictures", "mean", "right"]


def test_json_has_every_number(validate):
    document = json.loads(validate("val", "--format", "json").out)
    assert list(document) == [
        *("schema_version", "model", "layout", "pictures", "left_out", "failed"),
        *("top1", "top5", "calibration", "classes"),
    ]
    assert document["schema_version"] == 1 and document["pictures"] == 12
    assert list(document["top1"]) == ["hits", "count", "share", "interval95"]
    assert [c["label"] for c in document["classes"]] == ["panda", "bear"]
    assert sum(c["top1"]["hits"] for c in document["classes"]) == document["top1"]["hits"]
    assert len(document["calibration"]["bins"]) == 15
    assert sum(b["count"] for b in document["calibration"]["bins"]) == 12


def test_csv_is_a_line_per_class(validate):
    rows = list(csv.DictReader(io.StringIO(validate("val", "--format", "csv").out)))
    assert [(row["index"], row["label"], row["pictures"]) for row in rows] == [
        ("0", "panda", "6"),
        ("1", "bear", "6"),
    ]


def test_files_that_cannot_be_read_are_listed_and_the_exit_code_is_3(validate, here):
    (here / "val" / "bear" / "1.png").write_bytes(b"no picture")
    code, out, err = validate("val", "--format", "json")
    assert code == 3
    assert "error: val/bear/1.png: not an image" in err
    assert err.endswith("1 of 12 inputs failed\n")
    document = json.loads(out)
    assert document["top1"]["count"] == 11
    assert [item["input"] for item in document["failed"]] == ["val/bear/1.png"]


def test_the_confusion_is_written_as_a_table_and_a_picture(validate, here):
    code, _, _ = validate("val", "--confusion", "c.csv", "--confusion-picture", "c.png", "-q")
    assert code == 0
    rows = list(csv.reader(io.StringIO((here / "c.csv").read_text(encoding="utf-8"))))
    assert [len(row) for row in rows] == [4, 4, 4, 4]
    assert sum(int(n) for row in rows[1:] for n in row[1:]) == 12
    with Image.open(here / "c.png") as image:
        assert image.format == "PNG"


def test_an_expected_accuracy_that_is_missed_is_exit_code_5(validate):
    share = 100 * top1(validate("val", "--format", "json"))["share"]
    near, far = f"{share:.2f}", f"{abs(share - 50):.2f}"
    assert validate("val", "--expect-top1", near).code == 0
    code, out, err = validate("val", "--expect-top1", far, "--within", "0.5")
    assert code == 5
    assert f"error: top-1 is {share:.2f} %, expected {float(far):g} within 0.5 points" in err
    assert out.startswith("top-1")
    assert validate("val", "--expect-top1", far, "--within", "100").code == 0


def test_a_missed_accuracy_weighs_more_than_unreadable_files(validate, here):
    (here / "val" / "bear" / "1.png").write_bytes(b"no picture")
    share = top1(validate("val", "--format", "json"))["share"]
    assert validate("val", "--expect-top1", "0" if share > 0.5 else "100").code == 5


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["val/panda"], "6 flat files and no labels; give --labels val.txt"),
        (["nope"], "nope: no such folder"),
        (["tiny.h5"], "tiny.h5: is a file; expected a folder of pictures"),
        (["val", "--labels", "nope.txt"], "nope.txt: no such file"),
        (["val", "--devkit-map", "tiny.h5"], "give --labels too"),
        ([PICTURES], "of 40 are no name of tiny's 3 classes"),
        (["val", "--within", "1"], "--within says how far from --expect-top1"),
        (["val", "--expect-top1", "101"], "expected a percentage from 0 to 100, found '101'"),
        (["val", "--confusion", "old.csv"], "old.csv: exists already"),
        (["val", "--confusion", "a.csv", "-o", "a.csv"], "a.csv: is also a.csv"),
        (["val", "-o", "l.csv", "--labels", "l.csv", "--force"], "l.csv: is also l.csv"),
        (["val", "-o", "old.csv"], "old.csv: exists already"),
        (["val", "-o", "k.txt"], "k.txt: expected a name that ends in .csv"),
        (["val", "--confusion", "k.png"], "k.png: expected a name that ends in .csv"),
        (["val", "--confusion-picture", "k.jpg"], "k.jpg: expected a name that ends in .png"),
    ],
)
def test_what_is_wrong_is_refused_before_any_work(validate, here, monkeypatch, argv, message):
    (here / "old.csv").touch()

    def work(*_):
        pytest.fail("it began to work")

    monkeypatch.setattr(workflow, "complete", work)
    code, out, err = validate(*argv)
    assert (code, out) == (2, "") and message in err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["val/panda"], "6 flat files and no labels"),
        (["val", "--labels", "nope.txt"], "nope.txt: no such file"),
        (["val", "-o", "old.csv"], "old.csv: exists already"),
        (["val", "-o", "nowhere/o.csv"], "the folder nowhere does not exist"),
    ],
)
def test_what_is_wrong_is_refused_before_the_model_is_looked_for(capsys, here, argv, message):
    (here / "old.csv").touch()
    code, _, err = run(capsys, "validate", *argv, "--model", "nope.h5")
    assert code == 2 and message in err


@pytest.mark.parametrize("expected", [(), ("--expect-top1", "50")])
def test_with_nothing_readable_there_is_no_accuracy(validate, here, expected):
    for path in (here / "val").rglob("*.png"):
        path.write_bytes(b"no picture")
    code, out, err = validate("val", *expected)
    assert code == 3 and out == "no picture could be read, so there is no accuracy\n"
    assert "12 of 12 inputs failed\n" in err and "nan" not in err and "pipeline" not in err
    assert err.endswith("error: val: no picture could be read; expected top-1 50\n") == bool(
        expected
    )


FILES = ("-o", "rows.csv", "--confusion", "c.csv", "--confusion-picture", "c.png")


@pytest.mark.parametrize("broken", ["standard output", "the confusion"])
def test_work_is_kept_until_every_report_is_out(validate, here, monkeypatch, broken):
    def fail(*_):
        raise OutputError("the disk is full")

    with monkeypatch.context() as patch:
        if broken == "standard output":
            patch.setattr(output, "flush", fail)
        else:
            patch.setattr("minimix.workflows.validation.confusion.write_picture", fail)
        code, _, err = validate("val", *FILES)
    assert code == 1 and "the disk is full" in err
    assert "12 pictures are kept in rows.csv.parts; the same command goes on\n" in err
    assert sorted(p.name for p in here.iterdir()) == ["rows.csv.parts", "tiny.h5", "val"]

    def work(*_):
        pytest.fail("it computes again")

    monkeypatch.setattr("minimix.model.Model.__call__", work)
    assert validate("val", *FILES).code == 0
    names = ["c.csv", "c.png", "rows.csv", "tiny.h5", "val"]
    assert sorted(p.name for p in here.iterdir()) == names


def test_without_a_result_work_is_kept_until_the_report_is_out_too(validate, here, monkeypatch):
    def fail(*_):
        raise OutputError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(output, "flush", fail)
        assert validate("val").code == 1
    assert len(list((here / "cache/validate").iterdir())) == 1
    assert validate("val").code == 0
    assert not list((here / "cache/validate").iterdir())


def validate_into(stream, *argv):
    fixed = ("--model", "tiny.h5", "--engine", "reference", "-q")
    line = command("validate", *argv, *fixed)
    return subprocess.run(
        line, stdout=stream, stderr=subprocess.PIPE, env=environment(), timeout=60, check=False
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_behind_standard_output_costs_no_work(here):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = validate_into(full, "val", *FILES)
    assert done.returncode == 1 and b"standard output cannot be written" in done.stderr
    assert not (here / "rows.csv").exists() and (here / "rows.csv.parts").is_dir()


@pytest.mark.skipif(os.name == "nt", reason="pipes without a reader are POSIX's")
def test_a_reader_that_leaves_takes_no_result_with_it(here):
    (here / "val" / "bear" / "1.png").write_bytes(b"no picture")
    read, write = os.pipe()
    os.close(read)
    done = validate_into(write, "val", *FILES)
    os.close(write)
    assert done.returncode == 3 and b"1 of 12 inputs failed" in done.stderr
    assert all((here / name).is_file() for name in ("rows.csv", "c.csv", "c.png"))
    assert not (here / "rows.csv.parts").exists()


def test_verbose_says_how_pictures_are_prepared(validate):
    assert "EXIF orientation ignored\n" in validate("val", "-v").err
    assert "EXIF orientation applied\n" in validate("val", "-v", "--exif", "apply").err


def test_real_labels_leave_no_confusion(validate, here):
    (here / "flat").mkdir()
    for n in (1, 2):
        Image.fromarray(picture(seed=n)).save(here / "flat" / f"ILSVRC2012_val_{n:08d}.png")
    (here / "real.json").write_text("[[0, 1], []]")
    code, out, err = validate("flat", "--labels", "real.json", "--format", "json")
    assert code == 0 and "1 picture in ReaL labels of real.json, 1 left out" in err
    assert json.loads(out)["top1"]["count"] == 1 and json.loads(out)["classes"] == []
    code, _, err = validate("flat", "--labels", "real.json", "--confusion", "c.csv")
    assert code == 2 and "no confusion to count" in err


def test_ctrl_c_says_where_the_work_is_and_restart_discards_it(validate, here, monkeypatch):
    whole = workflow.complete

    def interrupt(*argv):
        whole(*argv)
        raise KeyboardInterrupt

    monkeypatch.setattr(workflow, "complete", interrupt)
    code, _, err = validate("val", "-o", "rows.csv")
    assert code == 130 and "what is done is kept in rows.csv.parts" in err
    monkeypatch.undo()
    monkeypatch.chdir(here)
    Image.fromarray(picture(seed=99)).save("val/bear/99.png")
    code, _, err = validate("val", "-o", "rows.csv")
    assert code == 2 and "input 7 was val/panda/0.png, is val/bear/99.png" in err
    assert validate("val", "-o", "rows.csv", "--restart").code == 0
    assert not (here / "rows.csv.parts").exists()


def test_the_packaged_pictures_are_all_recognised(capsys, here):
    code, out, err = run(
        capsys, "validate", PICTURES, "--expect-top1", "100", "--within", "0", "--threads", "1"
    )
    assert code == 0
    assert "mixnet-pocket (timm) · 96 px · 60 pictures in 40 class folders named by name" in err
    assert out.startswith("top-1  100.00 %  60 of 60; 95 % interval 93.98 to 100.00 %\n")
