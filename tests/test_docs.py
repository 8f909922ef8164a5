"""The site's own parts: pages from docstrings and parsers, and the check of what was built."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

import minimix
from minimix import ops
from tests.cli import ROOT, environment

TUTORIALS = ROOT / "tutorials"


@pytest.fixture(scope="module")
def pages():
    """Imports modules of ``pages`` as the build does; all but ``check`` need Sphinx."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TUTORIALS)
        yield importlib.import_module
    for name in [*sys.modules]:
        if name in ("build", "pages") or name.startswith("pages."):
            del sys.modules[name]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site, without the tutorials' own pages; by a process, since Sphinx reloads ours."""
    for name in ("sphinx", "myst_parser"):
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install '.[docs]'")
    output = tmp_path_factory.mktemp("site")
    command = [sys.executable, TUTORIALS / "build.py", "--pages", "-o", output]
    built = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert built.returncode == 0, built.stderr
    return output


def text_of(path):
    return path.read_text("utf-8")


def test_every_public_name_is_in_the_reference(site):
    names = set(re.findall(r'<dt[^>]* id="([\w.]+)"', text_of(site / "api" / "minimix.html")))
    public = {*minimix.__all__} - {"__version__", "ops", "MinimixError"}
    assert {f"minimix.{name}" for name in public} <= names
    assert 'id="minimix.MinimixError"' in text_of(site / "api" / "errors.html")
    operators = text_of(site / "api" / "ops.html")
    functions = [name for name in ops.__all__ if name.islower() and name != "Array"]
    assert [name for name in functions if f'id="minimix.ops.{name}"' not in operators] == []


def test_every_command_and_option_is_in_the_reference(site, pages):
    page = text_of(site / "commands.html")
    for name in pages("pages.commands").command_names():
        assert f'id="{pages("pages.commands").anchor_of(name)}"' in page
    for option in ("--expect-top1 PERCENT", "--scheduler ADDRESS", "--against REF.npz|FILE"):
        assert option in re.sub(r"<[^>]+>", "", page)


def test_the_pages_link_code_to_what_is_said_of_it(site):
    page = text_of(site / "howto" / "classify.html")
    assert 'href="../commands.html#minimix-classify"' in page
    assert 'href="../api/minimix.html#minimix.load"' in page
    assert "<script" not in page
    assert 'href="../style.css"' in page


HTML = '<html><head><link rel="stylesheet" href="style.css"></head><body>{}</body></html>'


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="b.html#there">b</a><p id="x"><a href="#x">x</a>', None),
        ('<a href="https://example.org/">elsewhere</a>', None),
        ('<img src="data:image/png;base64,AAAA" alt="">', None),
        ('<a href="tutorials/01.html">1</a>', None),
        ('<a href="c.html">c</a>', "a.html: c.html: no such file"),
        ('<a href="b.html#where">b</a>', "a.html: b.html#where: no such place on that page"),
        ('<img src="https://example.org/a.png" alt="">', "a.html: loads https://example.org/a.png"),
        ('<script src="//cdn.example.org/a.js"></script>', "a.html: loads //cdn.example.org/a.js"),
    ],
)
def test_the_check_finds_links_that_lead_nowhere_and_what_is_fetched(
    pages, tmp_path, body, problem
):
    (tmp_path / "a.html").write_text(HTML.format(body))
    (tmp_path / "b.html").write_text(HTML.format('<h1 id="there">b</h1>'))
    (tmp_path / "style.css").write_text("body { color: red }")
    found = pages("pages.check").problems(tmp_path, absent=("tutorials",))
    if problem is None:
        assert found == []
    else:
        assert len(found) == 1
        assert found[0].startswith(problem)


def test_a_style_that_fetches_is_found(pages, tmp_path):
    (tmp_path / "style.css").write_text('@import url("https://fonts.example.org/a.css");')
    assert pages("pages.check").problems(tmp_path) == ["style.css: loads from elsewhere"]
