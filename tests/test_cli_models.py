"""``minimix models`` and ``minimix doctor``."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from minimix import hub
from minimix.cli import doctor
from tests.cli import run


def test_the_list_names_every_model_and_how_to_get_it(capsys):
    code, out, err = run(capsys, "models", "list")
    rows = {line.split()[0]: line for line in out.splitlines()[1:]}
    assert code == 0 and list(rows) == list(hub.MODELS)
    assert "embedded" in rows["mixnet-pocket"] and "by hand, 17 MB" in rows["mixnet-s"]
    assert "models show NAME" in err


def test_the_list_takes_a_pattern(capsys):
    document = json.loads(run(capsys, "models", "list", "*-x?", "--format", "json").out)
    (model,) = document["models"]
    assert (model["name"], model["classes"], model["size"]) == ("mixnet-xl", 1000, 224)
    code, _, err = run(capsys, "models", "list", "resnet*")
    assert code == 4 and "matches no model's name" in err


def test_a_released_model_is_shown_with_what_fetches_it(capsys):
    out = run(capsys, "models", "show", "mixnet-s").out
    for text in (
        "mixnet_s-a907afbc.pth",
        "16,727,982 bytes",
        "begins with a907afbc",
        "32 bits",
        "Apache-2.0",
        "python -m weights_tools convert mixnet_s-a907afbc.pth -o mixnet-s.h5",
    ):
        assert text in out
    facts = json.loads(run(capsys, "models", "show", "mixnet-s", "--format", "json").out)["model"]
    assert facts["sha256_prefix"] == "a907afbc" and facts["embedded"] is False


def test_a_file_is_shown_with_all_that_it_holds(capsys, tiny_model):
    out = run(capsys, "models", "show", tiny_model).out
    for text in (
        str(tiny_model),
        hashlib.sha256(tiny_model.read_bytes()).hexdigest(),
        "16 blocks",
        "timm: symmetric padding",
        "64 px",
        "7: panda, bear, polar bear, koala, fox and 2 more",
        "none: random numbers",
        "ab" * 32,
    ):
        assert text in out
    document = json.loads(run(capsys, "models", "show", tiny_model, "--format", "json").out)
    assert document["model"]["provenance"]["source"]["name"] == "random.pth"
    assert document["model"]["labels"][-1] == "bus"


def test_showing_what_does_not_exist_is_exit_code_4(capsys):
    code, _, err = run(capsys, "models", "show", "mixnet-pockt")
    assert code == 4 and "did you mean mixnet-pocket?" in err


@pytest.fixture
def embedded(monkeypatch, tiny_model):
    """The tiny model in place of the embedded one."""
    monkeypatch.setattr(hub, "locate", lambda name: tiny_model)


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


def test_a_self_test_that_fails_is_exit_code_5(capsys, embedded, monkeypatch):
    monkeypatch.setattr("minimix.tolerances.SAME_NETWORK", -1.0)
    code, out, err = run(capsys, "doctor")
    assert code == 5 and "FAILED" in out
    assert re.match("error: self-test: reference and [a-z]+ mixnet-pocket differ by", err)


def test_a_missing_model_is_reported_after_everything_else(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "locate", lambda name: tmp_path / "gone.h5")
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
