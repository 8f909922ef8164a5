"""SECURITY.md names tests, files, commands and constants: they exist, and its tables are true."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from importlib.util import find_spec

import pytest

from minimix.cli.parser import build_parser
from minimix.dialect import LARGEST_SIZE
from minimix.hub.fetch import PATIENCE
from tests.fuzz import guided, worker
from tests.fuzz.__main__ import parse as parse_fuzz
from tests.packaging import tables
from tests.packaging.components import ROOT, closure, ours

DOCUMENT = ROOT / "SECURITY.md"
PLACEHOLDERS = {"NAME": "hdf5", "FILE": "a.bin", ">": "", "sbom.json": ""}


@pytest.fixture(scope="module")
def text():
    return DOCUMENT.read_text("utf-8")


def lost(document):
    """What a document names that does not exist: files, folders and tests."""
    named = re.findall(
        r"`((?:tests|minimix|weights_tools|tutorials)/[\w/.]+?)(?:::(\w+))?`", document
    )
    assert named
    return [f"{path}::{test}" for path, test in named if not _is_there(path, test)]


def _is_there(path, test):
    file = ROOT / path
    if not test:
        return file.exists()
    if not file.is_file():
        return False
    found = ast.walk(ast.parse(file.read_text("utf-8")))
    return any(isinstance(node, ast.FunctionDef) and node.name == test for node in found)


def commands(document, start):
    return [shlex.split(line) for line in re.findall(rf"`{start} ([^`]+)`", document)]


def test_every_test_file_and_folder_that_it_names_is_there(text):
    assert lost(text) == []


def test_a_name_that_leads_nowhere_is_noticed():
    document = "`tests/test_hdf5.py::test_nothing`, `minimix/no.py`, `minimix/hdf5`, `minimix/hub`"
    assert lost(document) == ["tests/test_hdf5.py::test_nothing", "minimix/no.py::"]


def test_every_promise_has_a_test(text):
    promises = [line for line in text.splitlines() if line.startswith("| **")]
    assert len(promises) > 10
    assert [line[:60] for line in promises if "`tests/" not in line] == []


def test_every_python_command_that_it_names_can_be_run(text):
    named = commands(text, "python -m")
    modules = {module for module, *_ in named}
    assert modules > {"tests.fuzz", "tests.fuzz.guided", "tests.packaging", "pytest"}
    for module, *arguments in named:
        assert find_spec(module) is not None, module
        if module == "tests.fuzz" and arguments != ["--help"]:
            parse_fuzz([PLACEHOLDERS.get(word, word) for word in arguments])
        if module == "tests.fuzz.guided":
            guided.parse([PLACEHOLDERS.get(word, word) for word in arguments])


def test_every_minimix_command_that_it_names_is_understood(text):
    named = commands(text, "minimix")
    assert ["models", "show", "NAME"] in named
    for arguments in named:
        build_parser().parse_args(arguments)


def test_every_variable_that_it_names_is_read_somewhere(text):
    rooms = ("minimix", "weights_tools")
    sources = "".join(p.read_text("utf-8") for room in rooms for p in (ROOT / room).rglob("*.py"))
    named = set(re.findall(r"MINIMIX_\w+", text))
    assert named and [name for name in named if f'"{name}"' not in sources] == []


def test_the_numbers_in_its_prose_are_those_of_the_code(text):
    assert f"{worker.SECONDS_PER_FILE:.0f} seconds of processor" in text
    assert f"{worker.FREE_BYTES // 2**20} MiB" in text and worker.TIMES_FILE == 4
    assert f"{LARGEST_SIZE:,} pixels a side" in text
    assert all(hasattr(PATIENCE, name) for name in re.findall(r"`PATIENCE\.(\w+)`", text))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"minimix is at {project['version']}" in text


def test_the_table_of_limits_is_that_of_the_code(text):
    assert tables.limits() in text, "write it anew: python -m tests.packaging.tables"


def test_every_limit_says_what_it_bounds():
    rows = [line.split(" | ") for line in tables.limits().splitlines()[2:]]
    assert len(rows) > 40
    assert [row[:2] for row in rows if not row[3].strip()] == []


@pytest.mark.skipif(find_spec("numba") is None, reason="numba is not installed")
def test_the_table_of_licences_is_what_the_metadata_says(text):
    root = ours()
    table = tables.licences(root, closure(root.requires))
    assert table in text, f"python -m tests.packaging.tables would write:\n{table}"


def test_a_document_without_a_place_for_a_table_is_an_error():
    marked = "a\n<!-- table: x -->\nold\n<!-- end: x -->\nb"
    assert tables.replaced(marked, "x", "new") == marked.replace("old", "new")
    with pytest.raises(ValueError, match="no place for the table y"):
        tables.replaced(marked, "y", "new")
