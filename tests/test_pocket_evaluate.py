"""What is said of mixnet-pocket is what its pictures give; the gallery is drawn from its seeds."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
from PIL import Image, features

import minimix
from minimix.cli.output import printable
from tests.cli import ROOT
from weights_tools.pocket import evaluate, gallery, glyphs
from weights_tools.pocket.pictures import SIZE, batch

needs_font = pytest.mark.skipif(
    not glyphs.FONT_PATH.is_file() or not features.check("raqm"),
    reason=f"no {glyphs.FONT_PATH} (fonts-noto-color-emoji), or a Pillow without libraqm",
)
COUNT = 40


@pytest.fixture(scope="module")
def model():
    return minimix.load("mixnet-pocket")


@needs_font
def test_a_share_of_right_answers_is_that_of_a_plain_loop(model):
    small = evaluate.beyond(evaluate.TRAINED)["scale x0.75"]
    found = evaluate.measure(model, "small", COUNT, "held_out", small)
    drawn, classes = zip(
        *(
            (pictures[0], int(classes[0]))
            for pictures, classes in (
                batch(evaluate.SEED, n, 1, SIZE, "held_out", small) for n in range(COUNT)
            )
        ),
        strict=True,
    )
    answers = [model.classify(Image.fromarray(picture)).top[0].index for picture in drawn]
    wrong = [n for n in range(COUNT) if answers[n] != classes[n]]
    assert found.top1 == pytest.approx(1 - len(wrong) / COUNT)
    assert [(true, answer) for _, true, answer in found.missed] == [
        (classes[n], answers[n]) for n in wrong
    ]


@needs_font
def test_the_command_prints_a_row_per_set(model, tmp_path, monkeypatch, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    noise = np.random.default_rng(7).integers(0, 256, (200, 300, 3), np.uint8)
    Image.fromarray(noise).save(photos / "a.jpg")
    argv = ["evaluate", "--photos", str(photos), "--pictures", "3", "--sheets", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", argv)
    evaluate.main()
    rows = re.findall(
        r"^(\S.*?) +(\d+\.\d\d)%  \((\d) of 3 missed\)$", capsys.readouterr().out, re.M
    )
    assert [name for name, _, _ in rows] == [
        "held-out backgrounds",
        "held-out, drawn at 2x",
        "on 1 photographs",
        *(f"held-out, {name}" for name in evaluate.beyond(evaluate.TRAINED)),
    ]
    for _, percent, missed in rows:
        assert float(percent) == pytest.approx(100 * (1 - int(missed) / 3), abs=0.01)
    sheets = len(list(tmp_path.glob("*.png")))
    assert sheets == sum(missed != "0" for _, _, missed in rows)


def test_mistakes_are_drawn_in_reading_order_and_listed(model, tmp_path, capsys):
    missed = [(np.full((8, 8, 3), shade, np.uint8), shade % 40, 0) for shade in range(1, 11)]
    path = tmp_path / "sheet.png"
    evaluate.sheet(model, evaluate.Result("x", 20, missed), path)
    with Image.open(path) as drawn:
        pixels = np.asarray(drawn)
    assert pixels.shape == (16, 64, 3)
    assert pixels[4, 4::8, 0].tolist() == list(range(1, 9))
    assert pixels[12, 4::8, 0].tolist() == [9, 10] + [255] * 6
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10 and printable(f" 1 {model.labels[1]} -> {model.labels[0]}") in lines[0]


def test_no_mistakes_are_no_picture(model, tmp_path):
    evaluate.sheet(model, evaluate.Result("x", 20, []), tmp_path / "sheet.png")
    assert list(tmp_path.iterdir()) == []


@needs_font
def test_the_packaged_pictures_are_those_of_their_seeds(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "PICTURES", 6)
    gallery.draw_gallery(tmp_path)
    drawn = sorted(tmp_path.rglob("*.png"))
    assert len(drawn) == 6
    for path in drawn:
        shipped = ROOT / "minimix" / "data" / "pictures" / path.relative_to(tmp_path)
        with Image.open(path) as ours, Image.open(shipped) as theirs:
            # Another version of the font, or of Pillow's resize, moves an edge by a shade.
            difference = np.abs(np.asarray(ours, np.int16) - np.asarray(theirs, np.int16))
        assert difference.mean() < 2, path


@needs_font
def test_the_panda_of_the_tutorials_is_drawn_anew(tmp_path):
    gallery.draw_panda(tmp_path / "panda.png")
    with (
        Image.open(tmp_path / "panda.png") as ours,
        Image.open(ROOT / "tutorials" / "images" / "panda.png") as theirs,
    ):
        difference = np.abs(np.asarray(ours, np.int16) - np.asarray(theirs, np.int16))
    assert difference.mean() < 2
