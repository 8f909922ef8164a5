"""Gather the sources, run Sphinx with warnings as errors, check what came out."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from sphinx.cmd.build import build_main

from pages import api
from pages.check import problems

HERE = Path(__file__).resolve().parent
TUTORIALS = HERE.parent
ROOT = TUTORIALS.parent

_TUTORIAL_LINK = re.compile(r"\[([^\]]+)\]\(\.\./(\w+)\.py\)")
_README_LINK = re.compile(r"\]\(\.\./\.\./README\.md[^)]*\)")
_UNUSED = (
    ".buildinfo",
    *(f"_static/{name}.css" for name in ("basic", "pygments")),
    *(f"_static/{name}.png" for name in ("file", "minus", "plus")),
    *(f"_static/{name}.js" for name in ("base-stemmer", "english-stemmer")),
)
"""What Sphinx writes for its own themes."""


class PagesError(Exception):
    """The pages cannot be built, or what was built is wrong."""


def build_pages(output: Path, *, whole: bool) -> int:
    """Write the pages into a folder, beside the tutorials; return how many pages there are in all.

    Args:
        output: the folder, whose ``tutorials/`` holds the tutorials' pages.
        whole: whether all of them are there; else links to them may lead nowhere.

    Raises:
        PagesError: Sphinx warns of something, a link leads nowhere, or a page needs the network.
    """
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        sources, trees = Path(scratch, "sources"), Path(scratch, "trees")
        gather(sources)
        arguments = ["-q", "-W", "--keep-going", "-b", "html", "-c", str(HERE), "-d", str(trees)]
        if build_main([*arguments, str(sources), str(output)]):
            raise PagesError("Sphinx found what is wrong with the pages; see above")
    for name in _UNUSED:
        (output / name).unlink(missing_ok=True)
    shutil.rmtree(output / "_sources", ignore_errors=True)  # empty
    style = (TUTORIALS / "gallery.css").read_text("utf-8") + (HERE / "pages.css").read_text("utf-8")
    (output / "style.css").write_text(style, "utf-8")
    wrong = problems(output, absent=() if whole else ("tutorials",))
    if wrong:
        raise PagesError("\n".join(wrong))
    return len([*output.rglob("*.html")])


def gather(sources: Path) -> None:
    """Write what Sphinx reads: the how-to pages, the changes, and the pages made of the code."""
    sources.mkdir()
    shutil.copy(HERE / "index.md", sources)
    shutil.copy(HERE / "commands.md", sources)
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    (sources / "changes.md").write_text(changes, "utf-8")
    shutil.copytree(TUTORIALS / "images", sources / "images")
    (sources / "howto").mkdir()
    names = []
    for path in sorted((TUTORIALS / "howto").glob("*.md")):
        name = "index" if path.stem == "README" else path.stem
        (sources / "howto" / f"{name}.md").write_text(page_source(path), "utf-8")
        names.append(name)
    listed = re.findall(r"\]\(([\w-]+)\.md\)", (sources / "howto" / "index.md").read_text("utf-8"))
    if sorted(listed) != sorted(set(names) - {"index"}):
        raise PagesError(f"howto/README.md lists {sorted(listed)}; there are {sorted(names)}")
    toctree = "\n".join(("", "```{toctree}", ":hidden:", "", *listed, "```", ""))
    with (sources / "howto" / "index.md").open("a", encoding="utf-8") as file:
        file.write(toctree)
    api.write(sources / "api")


def page_source(path: Path) -> str:
    """A how-to page, as it reads on its own -> as it reads in the site.

    What links to a tutorial's script leads to its page.
    """
    text = path.read_text("utf-8")
    text = _TUTORIAL_LINK.sub(r'<a href="../tutorials/\2.html">\1</a>', text)
    return _README_LINK.sub("](../index.md)", text)
