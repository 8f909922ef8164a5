"""The how-to pages: every block is run, with what it shows compared, or says why it is not.

    <!-- run -->                      the next block is run; NAMES after it are imported, or skipped
    <!-- run: dask pyarrow -->
    <!-- not run: needs a cluster --> it is not

A page's blocks are run in one folder, in order.  Of ``console`` blocks the lines after ``$`` are
commands, whose output, both streams, is what follows them, if anything does; ``...`` stands for
anything.  A command fails unless the next one is ``echo $?``.  ``python`` blocks are scripts; what
a line ``print(...)  # this`` prints is "this".
"""

from __future__ import annotations

import doctest
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.cli import ROOT, environment

FOLDER = ROOT / "tutorials" / "howto"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
PICTURES = ROOT / "minimix" / "data" / "pictures"
COMPILING = "compiling kernels for this machine, once ...\n"

_BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[^>]*) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.M | re.S
)
_MARK = re.compile(r"(run)(?:: ([\w .]+))?|not (run): \S.*")


@dataclass(frozen=True)
class Block:
    """A fenced block: what stands before it, its kind, its text."""

    mark: str
    kind: str
    text: str

    @property
    def is_run(self):
        return self.mark.startswith("run")

    @property
    def needs(self):
        return self.mark.partition(":")[2].split() if self.is_run else []


def blocks_of(path):
    found = _BLOCK.finditer(path.read_text("utf-8"))
    return [Block(match["mark"] or "", match["kind"], match["text"]) for match in found]


def commands_of(text):
    """(command, what it prints) of each ``$`` line; a line that ends in a backslash goes on."""
    found = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append([line.removeprefix("$ "), ""])
        elif found and found[-1][0].endswith("\\") and not found[-1][1]:
            found[-1][0] += f"\n{line}"
        else:
            assert found, f"no command before {line!r}"
            found[-1][1] += f"{line}\n"
    return found


def prints_of(text):
    """What the lines that print say they do."""
    return re.findall(r"^ *print\(.*\)  # (.*)$", text, re.M)


def same(expected, found):
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    # Nothing between two words is one space, not two.
    return doctest.OutputChecker().check_output(expected.replace(" ... ", " ..."), found, flags)


def shell_of(folder):
    """A folder of commands named as the pages name them, and the environment that finds them."""
    folder.mkdir()
    for name, module in {"minimix": "-m minimix", "python": "", "python3": ""}.items():
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        script.chmod(0o755)
    variables = environment(COLUMNS="100", PYTHONWARNINGS="default")
    return variables | {"PATH": f"{folder}:{variables['PATH']}"}


def make_files(folder):
    """What the pages find: panda.png, bus.png, broken.jpg, photos/, val/, shapes/, photo.jpg."""
    shutil.copy(PICTURES / "giant panda" / "1.png", folder / "panda.png")
    shutil.copy(PICTURES / "bus" / "1.png", folder / "bus.png")
    (folder / "photos" / "zoo").mkdir(parents=True)
    for number, name in enumerate(("bus", "giant panda", "fox", "owl", "pizza", "tiger")):
        place = folder / "photos" / ("zoo" if number % 2 else "") / f"{number}.jpg"
        with Image.open(PICTURES / name / "1.png") as image:
            image.convert("RGB").save(place, quality=90)
    whole = (folder / "photos" / "0.jpg").read_bytes()
    (folder / "broken.jpg").write_bytes(whole[: len(whole) // 2])
    for name in ("bus", "fox", "giant panda", "koala", "tiger"):
        shutil.copytree(PICTURES / name, folder / "val" / name)
    draw_shapes(folder / "shapes")


def draw_shapes(folder):
    """Three classes that no network has seen, ten pictures each."""
    rng = np.random.default_rng(0)
    for name in ("circle", "cross", "stripes"):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            paper, ink = (tuple(rng.integers(low, low + 100, 3).tolist()) for low in (150, 0))
            image = Image.new("RGB", (96, 96), paper)
            pen, (x, y, r) = ImageDraw.Draw(image), rng.integers((30, 30, 18), (60, 60, 28))
            if name == "circle":
                pen.ellipse((x - r, y - r, x + r, y + r), fill=ink)
            elif name == "cross":
                pen.line((x - r, y - r, x + r, y + r), fill=ink, width=10)
                pen.line((x - r, y + r, x + r, y - r), fill=ink, width=10)
            else:
                for start in range(0, 96, 16):
                    pen.rectangle((0, start, 96, start + 7), fill=ink)
            image.save(folder / name / f"{number}.png")


def run(command, **options):
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def run_console(block, folder, variables):
    commands = commands_of(block.text)
    followers = [command for command, _ in commands[1:]] + [""]
    code = 0
    for (command, expected), follower in zip(commands, followers, strict=True):
        process = run(["bash", "-c", f"(exit {code})\n{command}"], cwd=folder, env=variables)
        code, found = process.returncode, process.stdout.replace(COMPILING, "")
        assert code == 0 or follower == "echo $?", f"$ {command}\n{found}"
        assert not expected or same(expected, found), f"$ {command}\n{found}\n-- not\n{expected}"


def run_python(block, folder, variables):
    script = folder / "script.py"
    script.write_text(block.text, "utf-8")
    process = run([sys.executable, script.name], cwd=folder, env=variables)
    assert process.returncode == 0, f"{block.text}\n{process.stdout}"
    expected = "".join(f"{line}\n" for line in prints_of(block.text))
    if expected:
        assert same(expected, process.stdout), f"{block.text}\n{process.stdout}"


RUN = {"console": run_console, "python": run_python}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_what_a_page_shows_is_what_happens(page, tmp_path):
    blocks = blocks_of(page)
    for name in {name for block in blocks for name in block.needs}:
        if find_spec(name) is None:
            pytest.skip(f"{page.name} needs {name}")
    variables, folder = shell_of(tmp_path / "bin"), tmp_path / "here"
    folder.mkdir()
    make_files(folder)
    for block in blocks:
        if block.is_run:
            RUN[block.kind](block, folder, variables)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_block_of_a_page_is_run_or_says_why_not(page):
    blocks = blocks_of(page)
    assert page.read_text("utf-8").count("```") == 2 * len(blocks)
    for block in blocks:
        if block.kind in RUN:
            assert _MARK.fullmatch(block.mark), f"{block.mark!r} before\n{block.text}"
    assert any(block.is_run for block in blocks)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_says_when_it_is_needed_and_what_can_go_wrong(page):
    text = page.read_text("utf-8")
    title, opening, *_ = text.split("\n\n")
    assert re.fullmatch("# .+", title)
    assert len(opening) > 60
    assert "## What can go wrong" in text
    assert len(text.splitlines()) <= 140


def test_every_page_is_listed_and_every_link_leads_somewhere():
    listed = re.findall(r"\]\(([\w-]+\.md)\)", (FOLDER / "README.md").read_text("utf-8"))
    assert sorted(listed) == [page.name for page in PAGES]
    for page in [*PAGES, FOLDER / "README.md"]:
        links = re.findall(r"\]\(((?!https?:)[^)#]+)[^)]*\)", page.read_text("utf-8"))
        assert [link for link in links if not (FOLDER / link).exists()] == []


def test_a_page_that_says_what_does_not_happen_fails(tmp_path):
    variables = shell_of(tmp_path / "bin")
    run_console(
        Block("run", "console", "$ false\n$ echo $?\n1\n$ echo a b\na ...\n"), tmp_path, variables
    )
    for wrong in ("$ echo a\nb\n", "$ false\n", "$ false\n$ echo $?\n0\n"):
        with pytest.raises(AssertionError):
            run_console(Block("run", "console", wrong), tmp_path, variables)
    run_python(Block("run", "python", "print(1)  # 1\n"), tmp_path, variables)
    with pytest.raises(AssertionError):
        run_python(Block("run", "python", "print(1)  # 2\n"), tmp_path, variables)
