"""The README's Python blocks run as they stand, in order; CI runs its commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"


@pytest.mark.skipif(not README.is_file(), reason="no README beside the tests")
def test_the_python_blocks_of_the_readme_run(monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    cam = names["cam"]
    assert abs(cam.cells.sum() + cam.bias - cam.logit) < 1e-4
    printed = capsys.readouterr().out
    assert "giant panda" in printed.splitlines()[0]
    assert "blocks.3.mixconv (3, 5, 7) (1, 12, 12, 96)" in printed


@pytest.mark.skipif(not README.is_file(), reason="no README beside the tests")
def test_every_file_that_the_readme_links_to_exists():
    links = re.findall(r"\]\(((?!https?:)[^)#]+)\)", README.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
