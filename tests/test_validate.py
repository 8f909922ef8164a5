"""Validation of whole data sets: right numbers, nothing replaced, resumed where it was cut."""

from __future__ import annotations

import csv
import io
from collections import Counter
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minimix import images
from minimix.errors import InputError, OutputError, UsageError
from minimix.model import Model, load
from minimix.workflows.resuming import rows as row_files
from minimix.workflows.resuming import tasks
from minimix.workflows.resuming.parts import parts_folder
from minimix.workflows.resuming.rows import Rows
from minimix.workflows.validation.classes import Classes
from minimix.workflows.validation.layout import recognise
from minimix.workflows.validation.scores import Share
from minimix.workflows.validation.validate import validate, validation_task, work_folder
from tests.model_files import tiny_file
from tests.pictures import encoded, picture

LABELS = ("panda", "bear", "köttur")


@pytest.fixture(scope="module")
def model():
    return Model(tiny_file(), engine="reference")


def jpeg(seed):
    return encoded(Image.fromarray(picture(9, 12, seed=seed)), "JPEG", quality=90)


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    """300 small JPEGs in three class folders, 15 of them broken in several ways."""
    folder = tmp_path_factory.mktemp("val")
    breaks = (lambda c: b"", lambda c: c[:100], lambda c: b"no picture" * 9)
    for n in range(300):
        content = jpeg(n)
        if n % 20 == 7:
            content = breaks[n % 3](content)
        path = folder / LABELS[n % 3] / f"{n:03}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(tasks, "MOST_ROWS", 32)


def layout_of(model, folder, labels=None):
    return recognise(folder, Classes.of(model), labels)


def run(model, folder, **options):
    return validate(model, layout_of(model, folder), folder, **options)


def counted(model, folder):
    """(hits, pictures, confusion) by classifying one picture after another."""
    hits, confusion = 0, Counter()
    for truth, label in enumerate(model.labels):
        for path in sorted((folder / label).iterdir()):
            try:
                images.open_image(path)
            except InputError:
                continue
            found = model.predictions(model(model.preprocess(path, exif="ignore")))[0].top[0].index
            hits += found == truth
            confusion[truth, found] += 1
    return hits, sum(confusion.values()), confusion


def test_numbers_are_those_of_classifying_one_by_one(model, data_set, small_parts):
    report = run(model, data_set, batch_size=7)
    hits, count, confusion = counted(model, data_set)
    assert count == 285
    assert report.scores.top1 == Share(hits, count)
    assert report.scores.top5 == Share(count, count)  # of three classes
    assert {(i, j): n for (i, j), n in np.ndenumerate(report.scores.confusion) if n} == confusion
    assert [top1.count for top1, _ in report.scores.per_class] == [95, 95, 95]


def test_broken_files_are_listed_and_replaced_by_nothing(model, data_set):
    report = run(model, data_set)
    broken = sorted(int(Path(name).stem) for name, _ in report.failed)
    assert broken == list(range(7, 300, 20)) and report.scores.failed == 15
    assert all(why for _, why in report.failed)


def test_the_packaged_pictures_have_these_numbers():
    folder = Path(str(files("minimix") / "data" / "pictures"))
    net = load("mixnet-pocket", engine="reference")
    report = run(net, folder)
    assert report.layout.description == "40 class folders named by name"
    assert report.scores.top1 == report.scores.top5 == Share(60, 60)
    assert np.array_equal(report.scores.confusion.diagonal(), report.scores.confusion.sum(axis=0))
    assert report.scores.calibration_error == pytest.approx(0.0489, abs=2e-4)
    assert [b.count for b in report.scores.bins] == [0] * 13 + [2, 58]
    assert report.scores.top1.interval[0] == pytest.approx(0.9398, abs=1e-4)


def test_a_file_of_rows_tells_every_picture(model, data_set, tmp_path, small_parts):
    out = tmp_path / "rows.csv"
    report = run(model, data_set, out=out)
    rows = list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8"))))
    assert [row["input"] for row in rows] == [item.path for item in report.layout.pictures]
    good = [row for row in rows if row["ok"] == "true"]
    assert sum(row["truth"] == row["predicted"] for row in good) == report.scores.top1.hits
    assert sum(row["place"] == "1" for row in good) == report.scores.top1.hits
    assert {row["input"] for row in rows if row["error"]} == {name for name, _ in report.failed}
    assert not parts_folder(out).exists()


@pytest.mark.parametrize("named", [True, False], ids=["beside a result", "in the cache"])
def test_a_run_that_was_cut_goes_on(model, data_set, tmp_path, small_parts, monkeypatch, named):
    monkeypatch.setenv("MINIMIX_CACHE_DIR", str(tmp_path / "cache"))
    out = tmp_path / "rows.csv" if named else None

    def cut(done, total):
        if done > 150:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(model, data_set, out=out, progress=cut)
    place = work_folder(model, data_set, out)
    assert place.is_dir() and named == (place.parent == tmp_path)
    report = run(model, data_set, out=out)
    assert report.found == 128
    assert report.scores.top1 == Share(*counted(model, data_set)[:2])
    assert not place.exists()


@pytest.mark.parametrize("named", [True, False], ids=["beside a result", "in the cache"])
def test_work_is_kept_until_the_report_is_delivered(
    model, data_set, tmp_path, small_parts, monkeypatch, named
):
    monkeypatch.setenv("MINIMIX_CACHE_DIR", str(tmp_path / "cache"))
    out = tmp_path / "rows.csv" if named else None

    def lose(report):
        raise OutputError("the disk is full")

    with pytest.raises(OutputError, match="the disk is full"):
        run(model, data_set, out=out, deliver=lose)
    assert not (tmp_path / "rows.csv").exists()
    delivered = []
    report = run(model, data_set, out=out, deliver=delivered.append)
    assert delivered == [report] and report.found == 300
    assert not work_folder(model, data_set, out).exists()


def test_other_labels_are_other_work(model, tmp_path):
    folder = tmp_path / "flat"
    folder.mkdir()
    for n in range(3):
        (folder / f"{n}.jpg").write_bytes(jpeg(n))

    def cut(*_):
        raise KeyboardInterrupt

    out = tmp_path / "rows.csv"
    labels = tmp_path / "labels.txt"
    labels.write_text("0.jpg 0\n1.jpg 1\n2.jpg 2\n")
    with pytest.raises(KeyboardInterrupt):
        validate(model, layout_of(model, folder, labels), folder, out=out, deliver=cut)
    labels.write_text("0.jpg 0\n1.jpg 2\n2.jpg 2\n")
    with pytest.raises(UsageError, match=r"input 2, .*1\.jpg, has changed since"):
        validate(model, layout_of(model, folder, labels), folder, out=out)
    with pytest.raises(UsageError, match=r"options\.exif was ignore, is apply"):
        validate(model, layout_of(model, folder, labels), folder, out=out, exif="apply")


def test_kept_rows_that_no_model_gives_are_computed_again(model, data_set, tmp_path, small_parts):
    """A part from a stranger may have a right checksum and classes that do not exist."""
    out = tmp_path / "rows.csv"
    layout = layout_of(model, data_set)

    def cut(done, total):
        if done > 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        validate(model, layout, data_set, out=out, progress=cut)
    task = validation_task(model, layout, exif="ignore")
    with tasks.opened(task, parts_folder(out)) as parts:
        values = task.kind.empty(32)
        values["top"] = 99
        parts.write(0, row_files.encode(Rows(values)))
        assert parts.missing(task.decode)[0] == 0
    assert validate(model, layout, data_set, out=out).scores.top1 == Share(
        *counted(model, data_set)[:2]
    )


def test_orientation_is_ignored_as_published_accuracies_do(model, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "panda").mkdir()
    image = Image.fromarray(picture(40, 60, seed=1))
    (tmp_path / "panda" / "a.png").write_bytes(encoded(image, "PNG", exif=exif))
    rows = {}
    for wish in ("ignore", "apply"):
        out = tmp_path / f"{wish}.csv"
        run(model, tmp_path, out=out, exif=wish)
        (row,) = csv.DictReader(io.StringIO(out.read_text(encoding="utf-8")))
        rows[wish] = float(row["p"])
        x = model.preprocess(tmp_path / "panda" / "a.png", exif=wish)
        assert rows[wish] == pytest.approx(model.predictions(model(x))[0].p, abs=1e-6)
    assert rows["ignore"] != rows["apply"]
