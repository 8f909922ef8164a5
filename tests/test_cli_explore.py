"""``minimix explore``: pages, saved traces, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from minimix.explorer import Record
from tests.cli import environment, run, spawn
from tests.explorer_records import BUS, PANDA
from tests.model_files import saved


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The path of a network of three blocks."""
    return saved(tmp_path_factory.mktemp("model") / "tiny.h5")


@pytest.fixture
def explore(capsys, model):
    def call(*arguments):
        return run(capsys, "explore", *arguments, "--model", model, "--engine", "reference")

    return call


@pytest.fixture(scope="module")
def trace(tmp_path_factory, model):
    path = tmp_path_factory.mktemp("trace") / "panda.npz"
    page = path.with_suffix(".html")
    options = ("--model", model, "--engine", "reference", "--save-trace", path)
    done = spawn("explore", PANDA, "-o", page, *options)
    assert done.returncode == 0, done.stderr
    return path


def test_a_page_is_written_and_said_in_one_line_on_stderr(explore, tmp_path):
    page = tmp_path / "panda.html"
    done = explore(PANDA, "-o", page)
    assert (done.code, done.out) == (0, "")
    size = page.stat().st_size / 1e6
    assert done.err.startswith(f"{page}: ")
    assert done.err.endswith(f" %) · tiny · {size:.1f} MB\n")
    assert page.read_bytes().startswith(b"<!doctype html>")
    assert [path.name for path in tmp_path.iterdir()] == ["panda.html"]


def test_quiet_says_nothing(explore, tmp_path):
    assert explore(PANDA, "-o", tmp_path / "a.html", "-q") == (0, "", "")


def test_a_saved_trace_gives_the_same_page(explore, trace, tmp_path):
    done = explore(trace, "-o", tmp_path / "again.html")
    assert done.code == 0
    assert (tmp_path / "again.html").read_bytes() == trace.with_suffix(".html").read_bytes()


def test_without_times_the_same_picture_gives_the_same_page(explore, tmp_path):
    for name in ("a.html", "b.html"):
        assert explore(PANDA, "-o", tmp_path / name, "--no-times").code == 0
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_two_pictures_are_compared_at_another_size(explore, tmp_path):
    trace = tmp_path / "both.npz"
    done = explore(
        PANDA, "-o", tmp_path / "a.html", "--compare", BUS, "--size", 48, "--save-trace", trace
    )
    assert (done.code, done.err.count(" and ")) == (0, 1)
    document = Record.load(trace).document
    assert [p["name"] for p in document["pictures"]] == [PANDA.name, BUS.name]
    assert document["model"]["size"] == 48


def test_the_costs_are_those_of_summary(capsys, model, trace):
    document = Record.load(trace).document
    summary = json.loads(run(capsys, "summary", "--model", model, "--format", "json").out)
    by_name = {node["name"]: node for node in summary["nodes"]}
    for node in document["nodes"]:
        members = [by_name.pop(member["name"]) for member in node["members"]]
        assert node["macs"] == sum(member["macs"] for member in members)
        assert node["parameters"] == sum(member["parameters"] for member in members)
        assert [1, *node["shape"]] == members[-1]["output_shape"]
    assert by_name == {}
    assert document["model"]["macs"] == summary["macs"]
    assert document["model"]["parameters"] == summary["parameters"]


def test_a_picture_comes_from_standard_input(tmp_path, model):
    page = tmp_path / "a.html"
    options = ("--model", model, "--engine", "reference", "--no-times")
    done = spawn("explore", "-", "-o", page, *options, input=PANDA.read_bytes())
    assert done.returncode == 0, done.stderr
    assert b"<title>standard input \xc2\xb7 " in page.read_bytes()


def test_an_existing_page_or_trace_is_kept_unless_forced(explore, tmp_path):
    for option in ("-o", "--save-trace"):
        kept = tmp_path / "kept"
        kept.write_text("mine")
        others = {"-o": ["--save-trace", tmp_path / "t.npz"], "--save-trace": ["-o", "p.html"]}
        done = explore(PANDA, option, kept, *others[option])
        assert done.code == 2
        assert f"{kept}: exists already; give --force" in done.err
        assert kept.read_text() == "mine"
    assert not (tmp_path / "t.npz").exists()
    assert explore(PANDA, "-o", tmp_path / "kept", "--force").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.jpg", "-o", "{}/a.html"], 3, "none.jpg"),
        (["none.npz", "-o", "{}/a.html"], 3, "none.npz: cannot be read"),
        ([PANDA, "-o", "{}/a.html", "--compare", "none.png"], 3, "none.png"),
        ([PANDA, "-o", "{}/no/a.html"], 2, "does not exist; create it first"),
        ([PANDA], 2, "required: -o/--out"),
        (["-", "-o", "{}/a.html", "--compare", "-"], 2, "standard input cannot be both"),
        ([PANDA.parent, "-o", "{}/a.html"], 2, "stands for several pictures; name one, such as"),
        ([PANDA, "-o", "{}/a.html", "--save-trace", "{}/a.html"], 2, "is also"),
        ([PANDA, "-o", "{}/a.html", "--size", "16"], 2, "at least 32"),
    ],
)
def test_what_cannot_be_explored_is_refused(explore, tmp_path, arguments, code, message):
    done = explore(*(str(argument).format(tmp_path) for argument in arguments))
    assert done.code == code
    assert message in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "option", [["--full"], ["--no-times"], ["--compare", BUS], ["--save-trace", "{}/new.npz"]]
)
def test_what_is_recorded_cannot_be_recorded_otherwise(explore, trace, tmp_path, option):
    done = explore(
        trace, "-o", tmp_path / "a.html", *(str(word).format(tmp_path) for word in option)
    )
    assert done.code == 2
    assert f"{option[0]} says what to record, but {trace} is recorded already" in done.err


def test_the_picture_itself_is_never_replaced(explore, tmp_path):
    copy = tmp_path / "panda.png"
    copy.write_bytes(PANDA.read_bytes())
    done = explore(copy, "-o", copy, "--force")
    assert done.code == 2
    assert copy.read_bytes() == PANDA.read_bytes()


def test_help_brings_no_numpy():
    code = (
        "import sys\nfrom minimix.cli import main\n"
        "try:\n    main(['explore', '--help'])\nfinally:\n"
        "    print(sorted({'numpy', 'PIL', 'minimix.explorer'} & sys.modules.keys()))"
    )
    process = [sys.executable, "-c", code]
    done = subprocess.run(process, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
