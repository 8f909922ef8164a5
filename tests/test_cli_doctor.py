"""``minimix doctor``: the report, its self-test, and what it does not tell."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from minimix import hub
from minimix.cli import doctor
from tests.cli import ROOT, run


@pytest.fixture
def embedded(monkeypatch, tiny_model):
    """The tiny model in place of the embedded one."""
    monkeypatch.setattr(hub, "locate", lambda *_, **__: tiny_model)


def test_a_healthy_installation_passes_its_self_test(capsys, embedded, monkeypatch):
    monkeypatch.setenv("MINIMIX_OFFLINE", "1")
    code, out, _ = run(capsys, "doctor", "--format", "json")
    report = json.loads(out)
    assert code == 0
    assert {"minimix", "python", "numpy", "numba", "h5py", "HDF5", "pillow", "rich"} <= set(
        report["versions"]
    )
    assert report["processor"]["cores available"] >= 1
    assert report["environment"]["MINIMIX_OFFLINE"] == "1"
    assert report["self_test"]["ok"] and report["self_test"]["difference"] <= 3e-5
    assert "passed" in run(capsys, "doctor").out


@pytest.mark.parametrize(
    ("mirrors", "shown"),
    [
        ("https://me:secret@host/a  http://host", "https://host/a http://host"),
        ("http://host https://me:sec/ret@host/a", "http://host https://...@host/a"),
        ("me:secret@host", "host"),
    ],
)
def test_a_report_has_no_password(capsys, embedded, monkeypatch, mirrors, shown):
    monkeypatch.setenv("MINIMIX_MIRROR", mirrors)
    document = run(capsys, "doctor", "--format", "json").out
    assert json.loads(document)["environment"]["MINIMIX_MIRROR"] == shown
    for text in (document, run(capsys, "doctor").out):
        assert shown in text and "cret" not in text and "me:" not in text


def test_every_variable_of_the_report_is_in_the_readme():
    readme = (ROOT / "README.md").read_text("utf-8")
    ours = [name for name in doctor._VARIABLES if name.startswith("MINIMIX_")]
    assert [name for name in ours if f"| {name} |" not in readme] == []


def test_a_self_test_that_fails_is_exit_code_5(capsys, embedded, monkeypatch):
    monkeypatch.setattr("minimix.tolerances.SAME_NETWORK", -1.0)
    code, out, err = run(capsys, "doctor")
    assert code == 5 and "FAILED" in out
    assert re.match("error: self-test: reference and [a-z]+ mixnet-pocket differ by", err)


def test_a_missing_model_is_reported_after_everything_else(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "locate", lambda *_, **__: tmp_path / "gone.h5")
    code, out, err = run(capsys, "doctor")
    assert code == 4 and "gone.h5: no such file" in err
    assert "numpy" in out and "FAILED" in out


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"MINIMIX_CACHE_DIR": "/c"}, "/c"),
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/minimix"),
        ("linux", {"HOME": "/h"}, "/h/.cache/minimix"),
        ("darwin", {"HOME": "/h"}, "/h/Library/Caches/minimix"),
        ("win32", {"LOCALAPPDATA": "/l"}, "/l/minimix/Cache"),
    ],
)
def test_the_cache_folder_follows_the_platform(monkeypatch, platform, variables, expected):
    for name in ("MINIMIX_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", platform)
    assert doctor.cache_folder() == Path(expected)
