"""The README's Python block runs as it stands; CI runs its commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"


@pytest.mark.skipif(not README.is_file(), reason="no README beside the tests")
def test_the_python_block_of_the_readme_runs(monkeypatch, capsys):
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(ROOT)
    exec(compile(block, str(README), "exec"), {})
    printed = capsys.readouterr().out
    assert "giant panda" in printed.splitlines()[0]
    assert "blocks.3.mixconv (3, 5, 7) (1, 12, 12, 96)" in printed


@pytest.mark.skipif(not README.is_file(), reason="no README beside the tests")
def test_every_file_that_the_readme_links_to_exists():
    links = re.findall(r"\]\(((?!https?:)[^)#]+)\)", README.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
