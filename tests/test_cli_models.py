"""``minimix models`` and ``minimix doctor``."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import pytest
from PIL import Image

from minimix import hub
from minimix.cli import doctor
from minimix.hub.releases import RELEASES
from tests.cli import run
from tests.pictures import picture
from tests.release_server import clear_environment, narrow_checkpoint, running_server, use_narrow


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The cache folder, which is not there yet."""
    clear_environment(monkeypatch)
    monkeypatch.setenv("MINIMIX_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def release(cache, monkeypatch):
    """A narrow mixnet-s on a mirror, in the place of timm's."""
    released = use_narrow(monkeypatch.setitem)
    with running_server() as server:
        monkeypatch.setenv("MINIMIX_MIRROR", server.address)
        server.put(released, narrow_checkpoint())
        yield released


# --- list and show ----------------------------------------------------------------------------


def test_the_list_has_a_line_for_each_release_and_says_what_is_here(capsys, cache):
    code, out, err = run(capsys, "models", "list")
    lines = [line.split() for line in out.splitlines()[1:]]
    assert code == 0
    assert [(name, weights) for name, weights, *_ in lines] == [("mixnet-pocket", "-"), *RELEASES]
    assert lines[0][2] == "embedded"
    assert "can be fetched  16.7 MB" in out and "can be fetched  unknown" in out
    assert "models fetch NAME" in err and not cache.exists()


def test_the_list_takes_a_pattern(capsys, cache):
    document = json.loads(run(capsys, "models", "list", "*-x?", "--format", "json").out)
    (model,) = document["models"]
    assert (model["name"], model["classes"], model["size"]) == ("mixnet-xl", 1000, 224)
    assert (model["weights"], model["state"], model["path"]) == ("timm", "can be fetched", None)
    assert (model["check"], model["sha256_prefix"], model["top1"]) == ("prefix", "aac3c00c", 80.49)
    code, _, err = run(capsys, "models", "list", "resnet*")
    assert code == 4 and "matches no model's name" in err


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (
            ("mixnet-s",),
            (
                "mixnet_s-a907afbc.pth",
                "16,727,982 bytes",
                "begins with a907afbc",
                "32 bits",
                "76.00 % top-1, 92.80 % top-5",
                "Apache-2.0",
                "there are also timm-tf, tf, mindcv",
                "python -m weights_tools convert mixnet_s-a907afbc.pth -o mixnet-s.h5",
                "no; minimix models fetch mixnet-s",
                "not yet; what is fetched first",
            ),
        ),
        (
            ("mixnet-l", "--weights", "tf"),
            ("whole sha384, 6207ab87851c7e2c", "nobody can make another", "(the same file)"),
        ),
        (("mixnet-s", "--weights", "tf"), ("no checksum", "a cut download is noticed")),
        (
            ("mixnet-s", "--weights", "mindcv"),
            ("not known to be one", "nothing is published to compare with", "size", "910v2.ckpt"),
        ),
    ],
)
def test_a_released_model_is_shown_with_its_check_and_what_that_is_worth(
    capsys, cache, arguments, texts
):
    out = run(capsys, "models", "show", *arguments).out
    for text in texts:
        assert text in out


def test_what_is_shown_of_a_release_can_be_read_by_programs(capsys, cache):
    document = run(capsys, "models", "show", "mixnet-l", "--weights", "tf", "--format", "json").out
    facts = json.loads(document)["model"]
    assert facts["check"] == "digest" and len(facts["sha384"]) == 96
    assert facts["embedded"] is False and facts["pinned_sha256"] is None


# --- fetch, path, rm --------------------------------------------------------------------------


def test_a_model_is_fetched_found_shown_and_removed(capsys, release, cache):
    path = cache / "models" / "timm" / "mixnet-s.h5"
    size = f"({release.size_bytes / 1e6:.1f} MB)"
    assert run(capsys, "models", "path", "mixnet-s").code == 4
    assert run(capsys, "models", "fetch", "mixnet-s") == (
        0,
        f"{path}\n",
        f"downloading {release.file} from 127.0.0.1 {size}\n",
    )
    assert run(capsys, "models", "path", "mixnet-s") == (0, f"{path}\n", "")
    sha256 = hashlib.sha256(narrow_checkpoint()).hexdigest()
    shown = run(capsys, "models", "show", "mixnet-s").out
    assert f"pinned       {sha256}" in shown and f"cached       {path}" in shown
    (listed,) = json.loads(run(capsys, "models", "list", "mixnet-s", "--format", "json").out)[
        "models"
    ][:1]
    assert (listed["state"], listed["path"]) == ("cached", str(path))
    assert listed["stored_bytes"] == path.stat().st_size
    assert run(capsys, "models", "rm", "mixnet-s") == (0, f"removed {path}\n", "")
    pin = cache / "pins" / "timm" / f"{release.file}.sha256"
    assert run(capsys, "models", "rm", "mixnet-s", "--pins") == (0, f"removed {pin}\n", "")
    assert run(capsys, "models", "rm", "mixnet-s") == (
        *(0, "", "nothing of mixnet-s (timm) is in the cache\n"),
    )


def test_the_three_can_be_read_by_programs(capsys, release, cache):
    json_ = ("--format", "json")
    fetched = json.loads(run(capsys, "models", "fetch", "mixnet-s", "-q", *json_).out)
    assert fetched == json.loads(run(capsys, "models", "path", "mixnet-s", *json_).out)
    path = fetched["model"]["path"]
    removed = json.loads(run(capsys, "models", "rm", "mixnet-s", *json_).out)
    assert removed == {"schema_version": 1, "removed": [path]}


def test_the_first_use_fetches_and_quiet_says_nothing(capsys, release, tmp_path):
    Image.fromarray(picture()).save(tmp_path / "panda.png")
    argv = ("classify", tmp_path / "panda.png", "--engine", "reference", "--format", "csv")
    first = run(capsys, *argv, "--model", "mixnet-s", "-q")
    assert (first.code, first.err) == (0, "")
    again = run(capsys, *argv, "--model", "mixnet-s", "--weights", "timm", "--offline", "-q")
    assert again == first


def test_offline_is_exit_code_4_with_what_to_do(capsys, release):
    for argv in (("classify", "a.png", "--model"), ("warmup", "--model"), ("models", "fetch")):
        code, out, err = run(capsys, *argv, "mixnet-s", "--offline")
        assert (code, out) == (4, "")
        assert "the network is forbidden" in err and f"curl -LO {release.url}" in err


def test_a_failed_fetch_is_exit_code_4(capsys, release, monkeypatch):
    monkeypatch.setenv("MINIMIX_MIRROR", os.environ["MINIMIX_MIRROR"] + "/empty")
    code, out, err = run(capsys, "models", "fetch", "mixnet-s")
    assert (code, out) == (4, "")
    assert "HTTP 404 Not Found" in err and "curl -LO" in err


def test_the_embedded_model_is_here_and_stays(capsys, cache):
    path = f"{hub.embedded_path()}\n"
    assert run(capsys, "models", "fetch", "mixnet-pocket") == (0, path, "")
    assert run(capsys, "models", "path", "mixnet-pocket") == (0, path, "")
    code, _, err = run(capsys, "models", "rm", "mixnet-pocket")
    assert code == 2 and "ships inside the package" in err


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (("models", "fetch", "mixnet-xl", "--weights", "tf"), 2, "not released. There are"),
        (("models", "show", "mixnet-pocket", "--weights", "tf"), 2, "ships inside the package"),
        (("models", "fetch", "mixnet-s", "--weights", "tff"), 2, "did you mean tf?"),
        (("models", "fetch", "mixnet-s.h5"), 4, "did you mean mixnet-s?"),
        (("models", "path", "tf_mixnet_s"), 4, "did you mean mixnet-s --weights timm-tf?"),
        (("classify", "a", "--model", "m.h5", "--weights", "tf"), 2, "a file has its own weights"),
        (("classify", "a", "--weights", "tf"), 2, "mixnet-pocket: ships inside the package"),
        (("summary", "--model", "mixnet-xxl", "--weights", "timm"), 2, "not released"),
        (("bench", "--model", "mixnet-xl", "--weights", "mindcv"), 2, "not released"),
    ],
)
def test_what_does_not_exist_is_named_with_what_does(capsys, cache, argv, code, message):
    found = run(capsys, *argv)
    assert (found.code, found.out) == (code, "")
    assert message in found.err and not cache.exists()


@pytest.mark.parametrize(
    ("weights", "dialect"), [("timm-tf", "timm-tf"), ("tf", "tensorflow"), ("mindcv", "mindcv")]
)
def test_a_summary_needs_no_weights_to_know_their_dialect(capsys, cache, weights, dialect):
    out = run(capsys, "summary", "--model", "mixnet-s", "--weights", weights, "--blocks").out
    assert f"mixnet-s ({dialect})" in out and not cache.exists()


# --- files and the installation ---------------------------------------------------------------


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
