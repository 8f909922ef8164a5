"""``minimix models``."""

from __future__ import annotations

import hashlib
import json
import os
import re

import pytest
from PIL import Image

from minimix import hub
from minimix.cli import model_facts
from minimix.cli.parser import build_parser
from minimix.hub.releases import RELEASES
from tests.cli import run
from tests.fetching import empty_cache, mirror, narrow_release
from tests.pictures import picture
from tests.release_server import narrow_checkpoint
from weights_tools.commands import build_parser as build_tools_parser

cache = pytest.fixture(empty_cache)
server = pytest.fixture(mirror)
release = pytest.fixture(narrow_release)


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
    assert fetched["model"] == {"name": "mixnet-s", "weights": "timm", "path": path}
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


def test_a_file_is_told_from_a_name_where_a_name_is_expected(capsys, cache, tiny_model):
    code, out, err = run(capsys, "models", "path", tiny_model)
    assert (code, out) == (4, "")
    assert err.startswith(
        f"error: {tiny_model}: that is a file; expected the name of a model; known"
    )


def test_one_damaged_pin_shows_in_its_row_and_the_others_are_listed(capsys, release, cache):
    run(capsys, "models", "fetch", "mixnet-s")
    for pin in (f"timm/{release.file}", "tf/mixnet-s.tar.gz"):
        (cache / "pins" / f"{pin}.sha256").parent.mkdir(exist_ok=True)
        (cache / "pins" / f"{pin}.sha256").write_text("sha256\x1b\n")
    code, out, err = run(capsys, "models", "list")
    states = re.findall("^mixnet-s +([a-z-]+) +([a-z, ]+?)  ", out, re.MULTILINE)
    assert code == 0 and len(out.splitlines()) == len(RELEASES) + 2
    assert states == [
        ("timm", "cached, damaged pin"),
        ("timm-tf", "can be fetched"),
        ("tf", "damaged pin"),
        ("mindcv", "can be fetched"),
    ]
    assert "To pin what comes next: minimix models rm mixnet-s --pins\n" in err
    assert "To pin what comes next: minimix models rm mixnet-s --weights tf --pins\n" in err
    rows = json.loads(run(capsys, "models", "list", "mixnet-s", "--format", "json").out)["models"]
    assert ["expected the line of a sha256" in (row["pin_problem"] or "") for row in rows] == [
        *(True, False, True, False)
    ]
    assert rows[0]["pinned_sha256"] is None and rows[0]["path"]
    shown = run(capsys, "models", "show", "mixnet-s", "--weights", "tf")
    assert shown.code == 0 and "expected the line of a sha256" in shown.out
    assert run(capsys, "models", "path", "mixnet-s").code == 0
    assert run(capsys, "models", "rm", "mixnet-s", "--weights", "tf", "--pins").code == 0
    assert "damaged pin" not in run(capsys, "models", "show", "mixnet-s", "--weights", "tf").out


@pytest.mark.parametrize("command", ["", "list", "show", "fetch", "path", "rm"])
def test_what_a_wrong_command_line_says_to_try_can_be_typed(capsys, command):
    argv = ["models", *command.split(), "--nonsense"]
    code, _, err = run(capsys, *argv)
    (tried,) = re.findall("^Try: minimix (.*)$", err, re.MULTILINE)
    assert code == 2 and tried.split() == ["models", *command.split(), "--help"]
    assert run(capsys, *tried.split()).code == 0


def test_what_errors_and_notes_say_to_do_can_be_typed(capsys, release, cache):
    """Every command in them is one that its parser takes, but for the names in capitals."""
    texts = [
        run(capsys, "models", "path", "mixnet-s").err,
        run(capsys, "models", "path", "mixnet-l", "--weights", "tf").err,
        run(capsys, "models", "fetch", "mixnet-s", "--weights", "tf", "--offline").err,
        run(capsys, "models", "fetch", "mixnet-m", "--weights", "mindcv").err,
        run(capsys, "models", "show", "mixnet-s").out,
        run(capsys, "models", "list").err,
    ]
    run(capsys, "models", "fetch", "mixnet-s")
    (cache / "models" / "timm" / "mixnet-s.h5").write_bytes(b"")
    texts.append(run(capsys, "warmup", "--model", "mixnet-s").err)
    command = re.compile(r"(minimix|weights_tools) ((?:models|convert)(?: [\w./=-]+)+)")
    for text in texts:
        found = command.findall(text)
        assert found, text
        for program, line in found:
            argv = line.rstrip(".").replace("NAME", "mixnet-s").split()
            build = build_parser if program == "minimix" else build_tools_parser
            assert build().parse_args(argv).run


@pytest.mark.parametrize(
    ("weights", "dialect"), [("timm-tf", "timm-tf"), ("tf", "tensorflow"), ("mindcv", "mindcv")]
)
def test_a_summary_needs_no_weights_to_know_their_dialect(capsys, cache, weights, dialect):
    out = run(capsys, "summary", "--model", "mixnet-s", "--weights", weights, "--blocks").out
    assert f"mixnet-s ({dialect})" in out and not cache.exists()


# --- files ------------------------------------------------------------------------------------


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
    contents = document["model"]["contents"]
    assert contents["provenance"]["source"]["name"] == "random.pth"
    assert contents["labels"][-1] == "bus"


def test_what_is_shown_has_the_keys_of_the_list(capsys, release, tiny_model):
    def model(*argv):
        return json.loads(run(capsys, "models", *argv, "--format", "json").out)

    listed = model("list")["models"]
    (keys,) = {tuple(row) for row in listed}
    for name in ("mixnet-s", "mixnet-pocket", tiny_model):
        assert tuple(model("show", name)["model"]) == (*keys, "contents")
    assert set(keys) <= set(re.findall(r"``(\w+)``", model_facts.__doc__))
    assert model("show", "mixnet-s")["model"] == listed[1] | {"contents": None}
    embedded = model("show", "mixnet-pocket")["model"]
    assert {key: embedded[key] for key in keys} == listed[0]
    file = model("show", tiny_model)["model"]
    assert (file["state"], file["embedded"]) == ("file", False)
    assert (file["classes"], file["size"]) == (7, 64)
    assert (file["license"], file["url"]) == ("none: random numbers", None)
    assert file["stored_bytes"] == tiny_model.stat().st_size and file["release_bytes"] is None
    assert listed[1]["release_bytes"] == release.size_bytes and listed[1]["stored_bytes"] is None


def test_showing_what_does_not_exist_is_exit_code_4(capsys):
    code, _, err = run(capsys, "models", "show", "mixnet-pockt")
    assert code == 4 and "did you mean mixnet-pocket?" in err
