"""``minimix finetune``: its options, notes and exit codes, and what takes its model."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from minimix.workflows.finetuning import finetune as module
from tests.cli import command, environment, run
from tests.model_files import saved
from tests.new_classes import draw_folder

FAST = ("--classifier", "ridge", "--augment", "1")


@pytest.fixture
def lesson(tmp_path, monkeypatch):
    """A current folder with a model, and three classes of four pictures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MINIMIX_OFFLINE", raising=False)
    draw_folder(tmp_path / "things", 4, seed=1, names=("flag", "fish", "cactus"))
    saved(tmp_path / "tiny.h5")
    return tmp_path


@pytest.fixture
def teach(capsys, lesson):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    fixed = ("--model", "tiny.h5", "--engine", "reference", *FAST)
    return lambda *argv: run(capsys, "finetune", *argv, *fixed)


def test_accuracy_goes_to_standard_output_and_the_rest_to_standard_error(teach):
    code, out, err = teach("things", "-o", "new.h5")
    assert code == 0
    assert out.startswith("accuracy  ") and " of 12; 95 % interval " in out
    assert "cross-validated in 4 folds" in out
    first, last = err.splitlines()
    assert first == "tiny (timm) · 32 px · 12 pictures of 3 classes, 4 each"
    assert last == "new.h5: 3 classes, learned from 12 pictures with 1 view each"


def test_json_tells_programs_the_same(teach):
    code, out, err = teach("things", "-o", "new.h5", "--format", "json")
    found = json.loads(out)
    assert code == 0 and err.splitlines()[1].startswith("accuracy  ")
    assert found["schema_version"] == 1 and found["out"] == "new.h5" and found["converged"]
    assert found["accuracy"]["how"] == "cross-validated" and found["accuracy"]["count"] == 12
    assert [row["label"] for row in found["classes"]] == ["cactus", "fish", "flag"]
    assert sum(row["accuracy"]["hits"] for row in found["classes"]) == found["accuracy"]["hits"]


def test_quiet_and_json_leave_only_the_result(teach):
    assert teach("things", "-o", "new.h5", "-q", "--format", "json").err == ""


def test_the_other_commands_take_the_model(capsys, lesson, tiny_model):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    from weights_tools.__main__ import main as tools

    theirs = ("--model", tiny_model, "--engine", "reference", *FAST)
    assert run(capsys, "finetune", "things", "-o", "new.h5", *theirs).code == 0
    one = "things/fish/0.png"
    fixed = ("--model", "new.h5", "--engine", "reference")
    assert "fish" in run(capsys, "classify", one, *fixed).out
    assert run(capsys, "explore", one, "-o", "page.html", *fixed).code == 0
    assert run(capsys, "step", one, *fixed).code == 0
    assert " of 12; 95 % interval" in run(capsys, "validate", "things", *fixed).out
    shown = run(capsys, "models", "show", "new.h5").out
    assert "learned from your pictures" in shown and "cactus, fish, flag" in shown
    for name in ("new.onnx", "new.safetensors"):
        assert run(capsys, "export", "new.h5", "-o", name, entry=tools).code == 0


def test_what_cannot_be_read_is_listed_and_the_exit_code_is_3(teach, lesson):
    (lesson / "things/fish/bad.png").write_bytes(b"no picture")
    code, _, err = teach("things", "-o", "new.h5")
    assert code == 3 and (lesson / "new.h5").is_file()
    assert "error: things/fish/bad.png: not an image" in err and "1 of 13 inputs failed\n" in err


def test_repeated_pictures_are_named(teach, lesson):
    content = (lesson / "things/fish/0.png").read_bytes()
    (lesson / "things/fish/9.png").write_bytes(content)
    err = teach("things", "-o", "new.h5").err
    assert "things/fish/9.png: left out, the same picture as things/fish/0.png\n" in err


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["things"], 2, "the following arguments are required: -o/--out"),
        (["things", "-o", "new.npz"], 2, "expected a name that ends in .h5"),
        (["things", "-o", "tiny.h5"], 2, "tiny.h5: exists already; give --force"),
        (["things", "-o", "tiny.h5", "--force"], 2, "which it would replace; name another"),
        (["nope", "-o", "new.h5"], 2, "nope: no such folder"),
        (["things/fish", "-o", "new.h5"], 2, "Move every picture into the folder of its class"),
        (["things", "-o", "new.h5", "--held-out", "1"], 2, "expected a share from 0 to below 1"),
        (["things", "-o", "new.h5", "--augment", "-1"], 2, "whole number from 0 up, found '-1'"),
        (["things", "-o", "new.h5", "--held-out", "0", "--fit", "train"], 2, "none to leave out"),
    ],
)
def test_every_kind_of_failure_has_its_exit_code(teach, argv, code, message):
    outcome = teach(*argv)
    assert outcome.code == code and outcome.out == "" and message in outcome.err


def test_wrong_folders_are_refused_before_the_model_is_looked_for(capsys, lesson):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    code, _, err = run(capsys, "finetune", "nope", "-o", "new.h5", "--model", "none.h5")
    assert code == 2 and "nope: no such folder" in err


def test_without_scikit_learn_the_message_says_what_to_install(capsys, lesson, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    code, _, err = run(capsys, "finetune", "things", "-o", "new.h5")
    assert code == 2 and "pip install 'minimix[finetune]'" in err


def test_ctrl_c_says_how_to_go_on(teach, lesson, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "assess", interrupt)
    code, _, err = teach("things", "-o", "new.h5")
    assert code == 130 and "kept in new.h5.parts; the same command goes on" in err


def test_the_result_may_lie_among_the_classes_and_the_same_command_still_goes_on(
    teach, lesson, monkeypatch
):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "assess", interrupt)
        assert teach("things", "-o", "things/new.h5").code == 130
    assert (lesson / "things/new.h5.parts").is_dir()
    code, _, err = teach("things", "-o", "things/new.h5")
    assert code == 0 and "12 had been done before" in err
    assert (lesson / "things/new.h5").is_file()


@pytest.mark.skipif(os.name == "nt", reason="pipes without a reader are POSIX's")
def test_a_reader_that_leaves_takes_no_model_with_it(lesson):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    read, write = os.pipe()
    os.close(read)
    fixed = ("--model", "tiny.h5", "--engine", "reference", "-q", *FAST)
    line = command("finetune", "things", "-o", "new.h5", *fixed)
    done = subprocess.run(line, stdout=write, env=environment(), timeout=60, check=False)
    os.close(write)
    assert done.returncode == 0 and (lesson / "new.h5").is_file()


def test_balanced_classes_are_reported_by_the_mean_of_their_accuracies(teach):
    found = teach("things", "-o", "new.h5", "--class-weight", "balanced", "--format", "json")
    document = json.loads(found.out)
    shares = [row["accuracy"]["share"] for row in document["classes"]]
    assert document["accuracy"]["balanced"] == pytest.approx(sum(shares) / 3)
    assert found.err.splitlines()[1].startswith("balanced accuracy  ")
    out = teach("things", "-o", "2.h5", "--class-weight", "balanced").out.splitlines()
    assert out[0].startswith("balanced accuracy  ") and out[0].endswith("mean of 3 classes")
    assert out[1].startswith("accuracy  ") and " of 12; 95 % interval " in out[1]


def test_the_help_says_from_how_many_pictures_on_they_are_held_out(capsys):
    text = " ".join(run(capsys, "finetune", "--help").out.split())
    assert "fewer than 5 pictures a class on average, as 0.2 of fewer than 25 are" in text
