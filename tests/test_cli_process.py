"""The command line as a process: pipes, signals, encodings, full disks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli import command, environment, spawn
from tests.pictures import encoded, picture

posix = pytest.mark.skipif(os.name != "posix", reason="signals and byte names are POSIX's")
full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


@pytest.fixture
def panda(tmp_path):
    from PIL import Image

    path = tmp_path / "panda.png"
    path.write_bytes(encoded(Image.fromarray(picture())))
    return path


QUIET_ENGINE = ("--engine", "reference")
"""It has no note to write, with Numba or without."""


def test_a_picture_on_standard_input_is_classified(tiny_model, panda):
    done = spawn(
        "classify", "-", "--model", tiny_model, "--format", "ndjson", input=panda.read_bytes()
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["input"] == "-"


def test_a_list_on_standard_input_is_classified(tiny_model, panda):
    argv = ("classify", "--from-file", "-", "--model", tiny_model, "--format", "ndjson")
    done = spawn(*argv, input=os.fsencode(panda) + b"\0" + os.fsencode(panda) + b"\0")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2


@posix
def test_a_reader_that_leaves_ends_the_run_quietly(tiny_model, panda, tmp_path):
    (tmp_path / "list").write_text(f"{panda}\n" * 3000)
    argv = ("classify", "--from-file", tmp_path / "list", "--model", tiny_model, *QUIET_ENGINE)
    with subprocess.Popen(
        command(*argv, "--format", "ndjson"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0


@posix
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_a_whole_document_and_says_how_far_it_came(
    tiny_model, panda, tmp_path, sent, code
):
    (tmp_path / "list").write_text(f"{panda}\n" * 3000)
    argv = ("classify", "--from-file", tmp_path / "list", "--model", tiny_model, "--batch", "1")
    argv += QUIET_ENGINE
    with subprocess.Popen(
        command(*argv, "--format", "json"),
        env=environment(),
        bufsize=0,  # so that readline reads a line and no more
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        first = process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(sent)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    done = len(json.loads(first + out)["results"])
    assert 0 < done < 3000
    assert err.decode() == f"interrupted: {done:,} inputs are done; name the rest to go on\n"


@full
@pytest.mark.parametrize("argv", [("--help",), ("models", "list"), ("completion", "bash")])
def test_a_full_disk_is_exit_code_1_and_one_line(argv):
    with Path("/dev/full").open("wb") as disk:
        done = subprocess.run(
            command(*argv), env=environment(), stdout=disk, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: standard output cannot be written: No space left")
    assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr


@posix
def test_a_closed_standard_output_is_an_error():
    script = 'exec >&-; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *command("models", "list")],
        env=environment(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b"error: standard output is closed" in done.stderr


@pytest.mark.parametrize("kind", ["table", "json"])
def test_an_ascii_terminal_gets_ascii(tiny_model, panda, kind):
    done = spawn(
        *("classify", panda, tmp := panda.parent / "café.png", "--model", tiny_model),
        *("--color", "always", "--format", kind, "-v"),
        env=environment(PYTHONIOENCODING="ascii", PYTHONUTF8="0"),
    )
    assert not tmp.exists() and done.returncode == 3
    text = done.stdout.decode("ascii") + done.stderr.decode("ascii")
    if kind == "table":
        assert "#" in text and "caf\\xe9.png" in text
    else:
        assert json.loads(done.stdout)["results"][1]["input"] == str(tmp)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
@pytest.mark.parametrize("kind", ["table", "csv", "ndjson"])
def test_a_name_that_is_no_utf_8_is_classified_and_printed_escaped(tiny_model, panda, kind):
    odd = Path(os.fsdecode(os.fsencode(panda.parent) + b"/caf\xe9\n.png"))
    odd.write_bytes(panda.read_bytes())
    done = spawn("classify", odd, panda, odd, "--model", tiny_model, "--format", kind)
    assert done.returncode == 0, done.stderr
    assert rb"caf\udce9" in done.stdout
    if kind == "ndjson":
        assert json.loads(done.stdout.splitlines()[0])["input"] == str(odd)


def test_python_m_minimix_and_the_module_agree():
    done = spawn("--version")
    assert done.returncode == 0 and done.stdout.startswith(b"minimix ")
