"""Help, versions, unknown words, exit codes of usage errors, shell completion."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

import minimix
from minimix import errors
from minimix.cli.parser import build_parser
from tests.cli import environment, run, spawn

HEAVY = {"numpy", "h5py", "PIL", "numba", "rich", "rich_argparse", "requests", "shtab"}


def test_help_shows_examples_and_every_command_in_its_group(capsys):
    code, out, err = run(capsys, "--help")
    assert code == 0 and err == ""
    assert out.index("minimix classify panda.jpg") < out.index("LOOK:") < out.index("MANAGE:")
    for name in ("classify", "summary", "features", "validate", "models", "doctor", "completion"):
        assert f"\n  {name} " in out


@pytest.mark.parametrize("name", sorted(build_parser().commands))
def test_every_command_has_help_that_leads_with_examples(capsys, name):
    code, out, _ = run(capsys, name, "--help")
    assert code == 0
    assert f"\n  minimix {name}" in out.partition("options:")[0]


def test_help_costs_no_heavy_import():
    probe = (
        "import sys\nfrom minimix.cli import main\n"
        "try:\n    main(['classify', '--help'])\nfinally:\n"
        "    print(','.join(m for m in sys.modules if '.' not in m), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], env=environment(), capture_output=True, text=True, check=True
    )
    assert not HEAVY & set(done.stderr.strip().split(","))


def test_the_version_is_the_package_s(capsys):
    assert run(capsys, "--version").out == f"minimix {minimix.__version__}\n"


def test_no_command_at_all_is_a_usage_error_that_shows_the_help(capsys):
    code, out, err = run(capsys)
    assert code == 2 and out == ""
    assert "minimix classify panda.jpg" in err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["clasify"], "unknown command 'clasify'; did you mean classify?"),
        (["zzz"], "unknown command 'zzz'; known: classify, explore, "),
        (["models", "lst"], "unknown command 'lst'; did you mean list?"),
        (["classify", "a", "--formt=json"], "unknown option --formt; did you mean --format?"),
        (["classify", "a", "--form", "json"], "unknown option --form; did you mean --format?"),
        (["classify", "--zzz"], "unknown option --zzz"),
        (["classify", "a", "--format", "jsn"], "unknown value 'jsn'; did you mean json?"),
        (["classify", "a", "--engine", "zz"], "known: auto, compiled, reference"),
        (["classify", "a", "--top", "0"], "expected a whole number from 1 up, found '0'"),
        (["classify", "a", "--batch", "-3"], "expected a whole number from 1 up, found '-3'"),
        (["summary", "extra"], "unexpected argument 'extra'"),
        (["completion"], "the following arguments are required: shell"),
        (["-q", "doctor"], "unknown option -q"),
    ],
)
def test_a_wrong_word_is_named_with_what_was_meant(capsys, argv, message):
    code, out, err = run(capsys, *argv)
    assert code == 2 and out == ""
    assert err.startswith("error: ") and message in err
    assert "Try: minimix" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError, 2),
        (errors.InputError, 3),
        (errors.WeightsError, 4),
        (errors.CheckError, 5),
        (errors.OutputError, 1),
    ],
)
def test_every_error_of_minimix_exits_with_its_own_code(capsys, monkeypatch, error, code):
    def fail(*_):
        raise error("what is wrong")

    monkeypatch.setattr("minimix.cli.build_parser", fail)
    assert run(capsys, "doctor") == (code, "", "error: what is wrong\n")


def test_any_other_exception_is_a_bug_with_a_traceback(capsys, monkeypatch):
    monkeypatch.setattr("minimix.cli.build_parser", lambda: 1 / 0)
    code, _, err = run(capsys, "doctor")
    assert code == 1
    assert "ZeroDivisionError" in err and "this is a bug in minimix" in err


def test_ctrl_c_exits_with_130(capsys, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("minimix.cli.build_parser", interrupt)
    assert run(capsys, "doctor").code == 130


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_names_commands_and_options(capsys, shell):
    code, out, _ = run(capsys, "completion", shell)
    assert code == 0
    for word in ("classify", "completion", "from-file", "ndjson"):
        assert word in out


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_the_bash_completion_completes():
    script = spawn("completion", "bash").stdout.decode()
    probe = (
        f"{script}\nCOMP_WORDS=(minimix cl); COMP_CWORD=1\n_shtab_minimix\necho ${{COMPREPLY[@]}}"
    )
    done = subprocess.run(["bash", "-c", probe], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["classify"], done.stderr
