"""A wheel in a fresh environment, used from another folder as somebody does who has no checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.packaging.archives import PACKAGES, PackagingError
from tests.packaging.components import ROOT, ours

_USER = """\
import minimix as mx

best: mx.Prediction = mx.load("mixnet-pocket").classify("panda.png")
print(best.top[0].label, best.top[0].index + 1)
"""
"""A program that is checked with its types, and run."""

_WHERE = """\
import sys
from importlib.metadata import distribution
from importlib.util import find_spec
for name in ("minimix", "weights_tools", "tests", "tutorials"):
    spec = find_spec(name)
    print(name, spec and spec.origin)
print([entry.value for entry in distribution("minimix").entry_points])
"""


class Trial:
    """An environment with nothing but a wheel and what it needs, and an empty folder."""

    def __init__(self, wheel: Path, scratch: Path, python: str) -> None:
        self.bin = scratch / "venv" / ("Scripts" if os.name == "nt" else "bin")
        self.folder = scratch / "elsewhere"
        self.folder.mkdir()
        shutil.copy(ROOT / "tutorials" / "images" / "panda.png", self.folder)
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self.environment = kept | {"MINIMIX_CACHE_DIR": str(scratch / "cache"), "NO_COLOR": "1"}
        self.run_other(python, "-m", "venv", str(scratch / "venv"))
        self.run("python", "-m", "pip", "install", "--quiet", str(wheel))

    def run(self, program: str, *arguments: str, stdin: str | None = None) -> str:
        """What one of the environment's programs prints.

        Raises:
            PackagingError: it failed; with what it wrote.
        """
        return self.run_other(str(self.bin / program), *arguments, stdin=stdin)

    def run_other(self, *command: str, stdin: str | None = None) -> str:
        """The same of any program."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = done.stderr.strip() or done.stdout.strip()
            raise PackagingError(f"{' '.join(command)}: exit code {done.returncode}: {said}")
        return done.stdout


def _expect(what: str, text: str, expected: str) -> str:
    if expected not in text:
        raise PackagingError(f"{what}: expected {expected!r} in {text[:500]!r}")
    return what


def _installed(trial: Trial) -> str:
    lines = dict(line.split(" ", 1) for line in trial.run("python", "-c", _WHERE).splitlines()[:4])
    for name in PACKAGES:
        _expect(name, lines[name], str(trial.bin.parent))
    if (lines["tests"], lines["tutorials"]) != ("None", "None"):
        raise PackagingError(f"tests or tutorials are installed: {lines}")
    return _expect("minimix --version", trial.run("minimix", "--version"), ours().version)


def _classified(trial: Trial) -> str:
    found = trial.run("minimix", "classify", "panda.png", "--format", "json")
    return _expect("minimix classify, with the embedded model", found, '"giant panda"')


def _tested(trial: Trial) -> str:
    report = json.loads(trial.run("minimix", "doctor", "--format", "json"))
    if not report["self_test"]["ok"]:
        raise PackagingError(f"doctor: {report['self_test']}")
    return "minimix doctor"


def _completed(trial: Trial) -> str:
    script = trial.run("minimix", "completion", "bash")
    (trial.folder / "completion.bash").write_text(script, encoding="utf-8")
    asked = "source ./completion.bash; COMP_WORDS=(minimix cla); COMP_CWORD=1; _shtab_minimix"
    found = trial.run_other("bash", "-c", f'{asked}; echo "${{COMPREPLY[@]}}"')
    _expect("completion of cla in bash", found, "classify")
    script = trial.run("minimix", "completion", "zsh")
    _expect("completion of zsh", script, "#compdef minimix")
    if shutil.which("zsh") is None:
        return "completion in bash; no zsh is here, its script was only made"
    trial.run_other("zsh", "-n", stdin=script)
    return "completion in bash, and its syntax in zsh"


def _explored(trial: Trial) -> str:
    trial.run("minimix", "explore", "panda.png", "-o", "page.html", "--quiet")
    page = (trial.folder / "page.html").read_text("utf-8")
    _expect("the page of explore", page, "default-src 'none'")
    return _expect("minimix explore, with its assets", page, "</html>")


def _converted(trial: Trial) -> str:
    model = trial.run("minimix", "models", "path", "mixnet-pocket").strip()
    tools = ("-m", "weights_tools")
    trial.run("python", *tools, "export", model, "-o", "pocket.safetensors")
    found = trial.run("python", *tools, "inspect", "pocket.safetensors")
    _expect("weights_tools inspect", found, "mixnet-pocket")
    trial.run("python", *tools, "convert", "pocket.safetensors", "-o", "again.h5")
    found = trial.run("minimix", "classify", "panda.png", "--model", "again.h5")
    return _expect("python -m weights_tools export, inspect, convert", found, "giant panda")


def _typed(trial: Trial) -> str:
    (trial.folder / "user.py").write_text(_USER, encoding="utf-8")
    python = str(trial.bin / "python")
    mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable", python)
    trial.run_other(*mypy, "--cache-dir", "mypy", "user.py")
    return _expect("a typed program", trial.run("python", "user.py"), "giant panda")


CHECKS: tuple[Callable[[Trial], str], ...] = (
    *(_installed, _classified, _tested, _completed, _explored, _converted, _typed),
)


def tried(wheel: Path, scratch: Path, python: str) -> Iterator[str]:
    """Install a wheel for an interpreter and use it; yields what worked.

    Raises:
        PackagingError: something did not.
    """
    scratch.mkdir()
    trial = Trial(wheel, scratch, python)
    yield trial.run("python", "--version").strip()
    for check in CHECKS:
        yield check(trial)
