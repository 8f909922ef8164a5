"""The tutorials keep their form; ``tutorials/build.py`` runs them, and here the first one runs."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "tutorials"
HELPERS = {"build", "gallery", "style"}
TUTORIALS = [path for path in sorted(FOLDER.glob("*.py")) if path.stem not in HELPERS]
IMPORTS = {"minimix", "numpy", "matplotlib", "PIL", "style"}
EXTRA_IMPORTS = {
    "10_": {"numba"},
    "11_": {"sklearn"},
    "opening_": {"h5py", "weights_tools"},
}
"""Beginning of a tutorial's name -> what it may import besides."""


def cells_of(path):
    """(kind, text) of each cell; a markdown cell's text is without its comment signs."""
    parts = re.split(r"^# %%(.*)\n", path.read_text("utf-8"), flags=re.MULTILINE)
    assert parts[0] == "", f"{path.name} does not begin with a cell"
    cells = []
    for header, text in zip(parts[1::2], parts[2::2], strict=True):
        kind = "markdown" if header.strip() == "[markdown]" else "code"
        if kind == "markdown":
            lines = text.strip().splitlines()
            assert all(line == "#" or line.startswith("# ") for line in lines), lines
            text = "\n".join(line[2:] for line in lines)
        cells.append((kind, text))
    return cells


def tree_of(path):
    return ast.parse(path.read_text("utf-8"), path.name)


def is_call_of_save(node):
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "style.save"


@pytest.fixture
def build():
    spec = importlib.util.spec_from_file_location("tutorials_build", FOLDER / "build.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_there_are_tutorials_and_the_build_command_finds_the_same(build):
    assert len(TUTORIALS) >= 6
    assert build.tutorials() == TUTORIALS
    assert [path.stem[:2] for path in build.tutorials(["01", "03"])] == ["01", "03"]
    with pytest.raises(SystemExit, match="no tutorial begins with '99'"):
        build.tutorials(["99"])


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_opens_with_a_title_and_a_question(path):
    kind, text = cells_of(path)[0]
    title, question, *_ = text.split("\n\n")
    assert kind == "markdown"
    assert title.startswith("# ")
    assert question.rstrip().endswith("?")


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_ends_in_an_exercise_and_a_solution_that_is_checked(path):
    headings = [
        (number, text.splitlines()[0])
        for number, (kind, text) in enumerate(cells_of(path))
        if kind == "markdown" and text.startswith("## ")
    ]
    (exercise, first), (solution, second) = headings[-2:]
    assert (first, second) == ("## Exercise", "## Solution")
    assert exercise < solution
    code = "\n".join(text for kind, text in cells_of(path)[solution:] if kind == "code")
    assert any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(code)))


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_asserts_its_claims_before_the_exercise_too(path):
    cells = cells_of(path)
    (end,) = [n for n, (_, text) in enumerate(cells) if text.startswith("## Exercise")]
    code = "\n".join(text for kind, text in cells[:end] if kind == "code")
    assert sum(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(code))) >= 2


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_saves_one_picture_under_its_name_and_describes_it(path):
    (call,) = [node for node in ast.walk(tree_of(path)) if is_call_of_save(node)]
    assert ast.literal_eval(call.args[1]) == path.stem
    (alt,) = [keyword.value for keyword in call.keywords if keyword.arg == "alt"]
    assert isinstance(alt, ast.JoinedStr) or len(ast.literal_eval(alt)) > 60
    # The last expression of its cell: that is what a notebook shows.
    (cell,) = [text for kind, text in cells_of(path) if kind == "code" and "style.save(" in text]
    last = ast.parse(cell).body[-1]
    assert isinstance(last, ast.Expr) and is_call_of_save(last.value)


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_imports_no_more_than_it_may_and_knows_no_file(path):
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.split(".")[0])
    more = [extra for name, extra in EXTRA_IMPORTS.items() if path.stem.startswith(name)]
    assert found - sys.stdlib_module_names <= IMPORTS.union(*more)
    names = {node.id for node in ast.walk(tree_of(path)) if isinstance(node, ast.Name)}
    assert "__file__" not in names  # a notebook has none; style knows the folders


def test_every_tutorial_is_in_the_list_for_readers():
    listed = re.findall(r"\]\((\S+\.py)\)", (FOLDER / "README.md").read_text("utf-8"))
    assert sorted(listed) == [path.name for path in TUTORIALS]


def test_the_first_tutorial_runs_as_a_script(build, tmp_path):
    pytest.importorskip("matplotlib")
    outcome = build.run(TUTORIALS[0], tmp_path)
    assert outcome.problem == ""
    assert (tmp_path / f"{TUTORIALS[0].stem}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("assert 1 == 2, 'a claim'", "AssertionError: a claim"),
        ("import time; time.sleep(60)", "took longer than 1 s"),
        ("print('no picture')", "expected 01_wrong.png, it saved nothing"),
    ],
)
def test_a_tutorial_that_is_wrong_slow_or_without_a_picture_fails(build, tmp_path, code, problem):
    script = tmp_path / "01_wrong.py"
    script.write_text(f"# %%\n{code}\n", "utf-8")
    limit_s = 1 if "longer" in problem else 60
    assert problem in build.run(script, tmp_path, limit_s).problem
