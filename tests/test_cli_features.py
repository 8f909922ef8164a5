"""``minimix features``: its options, notes and exit codes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from minimix.workflows import features
from tests.cli import run
from tests.model_files import saved
from tests.pictures import picture


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A current folder with a model, two pictures, and a file that is none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MINIMIX_OFFLINE", raising=False)
    for n, name in enumerate(("a.png", "b.png")):
        Image.fromarray(picture(seed=n)).save(name)
    (tmp_path / "bad.png").write_bytes(b"no picture at all")
    (tmp_path / "old.h5").write_bytes(b"of an earlier run")
    saved(tmp_path / "tiny.h5")
    return tmp_path


@pytest.fixture
def extract(capsys, pictures):
    fixed = ("--model", "tiny.h5", "--engine", "reference")
    return lambda *argv: run(capsys, "features", *argv, *fixed)


def test_features_of_a_list_and_named_pictures(extract, pictures):
    (pictures / "list").write_text("b.png\n")
    code, out, err = extract("a.png", "--from-file", "list", "-o", "out.npz")
    assert (code, out, err) == (0, "", "out.npz: 2 x 6 of pool\n")
    with np.load("out.npz") as file:
        assert file["path"].tolist() == ["a.png", "b.png"] and file["ok"].all()


def test_a_node_has_its_shape(extract):
    assert extract("a.png", "-o", "a.h5", "--node", "stem.conv").err.endswith(
        "a.h5: 1 x 16 x 16 x 4 of stem.conv\n"
    )


def test_what_cannot_be_read_is_listed_and_the_exit_code_is_3(extract):
    code, _, err = extract("a.png", "bad.png", "nope.png", "-o", "out.npz")
    assert code == 3
    assert "error: bad.png: not an image" in err and "error: nope.png: no such file" in err
    assert "2 of 3 inputs failed\n" in err
    with np.load("out.npz") as file:
        assert file["ok"].tolist() == [True, False, False]


def test_verbose_says_how_pictures_are_prepared(extract):
    assert "EXIF orientation applied\n" in extract("a.png", "-o", "out.npz", "-v").err


def test_quiet_leaves_only_errors(extract):
    assert extract("a.png", "-o", "out.npz", "-q").err == ""


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["-o", "out.npz"], 2, "name at least one picture"),
        (["a.png"], 2, "the following arguments are required: -o/--out"),
        (["-", "-o", "out.npz"], 2, "cannot be read again to resume"),
        (["a.png", "-o", "a.png"], 2, "features go to .npz, .parquet, .h5"),
        (["a.png", "-o", "old.h5"], 2, "old.h5: exists already; give --force"),
        (["a.png", "-o", "out.npz", "--node", "pol"], 2, "try pool"),
        (["a.png", "-o", "."], 2, ".: is a folder; name a file"),
        (["nowhere", "-o", "out.npz"], 3, "as the input could not be read: nowhere: no such file"),
        (["x*.png", "-o", "out.npz"], 3, "no file matches this pattern"),
        (["--from-file", "nolist", "-o", "out.npz"], 3, "the list cannot be read"),
    ],
)
def test_every_kind_of_failure_has_its_exit_code(extract, argv, code, message):
    outcome = extract(*argv)
    assert outcome.code == code and outcome.out == "" and message in outcome.err


def test_a_mistyped_input_leaves_the_way_free_for_the_right_one(extract, pictures):
    before = sorted(pictures.iterdir())
    assert extract("a.pgn", "-o", "out.npz").code == 3
    assert sorted(pictures.iterdir()) == before
    assert extract("a.png", "-o", "out.npz").code == 0


@pytest.mark.parametrize(
    ("argv", "file"),
    [
        (["a.png", "-o", "tiny.h5"], "tiny.h5"),
        (["a.png", "-o", "../{here}/tiny.h5"], "tiny.h5"),
        (["--from-file", "list.npz", "-o", "list.npz"], "list.npz"),
        (["a.h5", "-o", "a.h5"], "a.h5"),
    ],
)
def test_a_result_that_would_replace_what_is_read_is_refused_even_by_force(
    extract, pictures, argv, file
):
    (pictures / "list.npz").write_text("a.png\n")
    (pictures / "a.h5").write_bytes((pictures / "a.png").read_bytes())
    before = (pictures / file).read_bytes()
    argv = [word.format(here=pictures.name) for word in argv]
    code, _, err = extract(*argv, "--force")
    assert code == 2 and f"is also {file}, which it would replace" in err
    assert (pictures / file).read_bytes() == before


def test_a_result_that_cannot_be_written_is_refused_before_the_model_is_looked_for(
    capsys, pictures
):
    code, _, err = run(capsys, "features", "a.png", "-o", "tiny.h5", "--model", "nope.h5")
    assert code == 2 and "tiny.h5: exists already" in err


def test_ctrl_c_says_how_to_go_on_and_restart_how_not_to(extract, pictures, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(features, "results", interrupt)
    code, _, err = extract("a.png", "b.png", "-o", "out.npz")
    assert code == 130
    assert "what is done is kept in out.npz.parts; the same command goes on" in err
    monkeypatch.undo()
    monkeypatch.chdir(pictures)
    code, _, err = extract("a.png", "-o", "out.npz")
    assert code == 2 and "input 2 was b.png, is none" in err and "--restart" in err
    assert extract("a.png", "-o", "out.npz", "--restart").code == 0
    assert not (pictures / "out.npz.parts").exists()


def test_ctrl_c_before_anything_is_done_keeps_nothing_and_does_not_say_so(
    extract, pictures, monkeypatch
):
    def interrupt(*_):
        raise KeyboardInterrupt

    before = sorted(pictures.iterdir())
    monkeypatch.setattr(features, "complete", interrupt)
    code, _, err = extract("a.png", "-o", "out.npz")
    assert code == 130 and "kept" not in err
    assert sorted(pictures.iterdir()) == before
