"""Tutorials -> executed notebooks, a page for each, and an index; a part of the site.

A notebook's outputs are what its page shows, so both say the same.  Markdown is rendered by
markdown-it-py and code by Pygments, which rich brings along; jupytext reads the percent scripts
and nbclient runs them.
"""

from __future__ import annotations

import html
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from markdown_it import MarkdownIt
from nbclient import NotebookClient
from PIL import Image
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from traitlets.config import Config

from build import HERE, NAVIGATION, PICTURES_VARIABLE

THUMBNAIL = (640, 400)
"""Pixels of an index picture, cut from the top left: the title and the best of the figure."""

_MARKDOWN = MarkdownIt("commonmark").enable("table")
_CODE = HtmlFormatter(nowrap=True)
_COPIED = ("images", "checkpoints", "style.py")


def build(paths: list[Path], output: Path, limit_s: float) -> Path:
    """Write ``notebooks/``, a page for each and ``index.html``; return the index.

    The folder is below the site's, which has the style.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails.
        nbclient.exceptions.CellTimeoutError: a cell takes longer than ``limit_s`` seconds.
    """
    output = output.resolve()
    notebooks, pictures = output / "notebooks", output / "pictures"
    for folder in (notebooks, pictures):
        folder.mkdir(parents=True, exist_ok=True)
    for name in _COPIED:
        _copy(HERE / name, notebooks / name)
    cards = []
    with _environment(pictures):
        for number, path in enumerate(paths):
            notebook = execute(path, notebooks, limit_s)
            title, question = opening(notebook)
            before = paths[number - 1] if number else None
            after = paths[number + 1] if number + 1 < len(paths) else None
            text = page(notebook, path, before, after)
            (output / f"{path.stem}.html").write_text(text, "utf-8")
            thumbnail(pictures / f"{path.stem}.png", pictures / f"{path.stem}-small.png")
            cards.append(_card(path, title, question))
    body = "<h1>Tutorials</h1>\n<p>Each asks one question and answers it with "
    body += "real numbers, in under five minutes of reading and under one of computing.</p>\n"
    body += f'<ul class="cards">\n{"".join(cards)}</ul>\n'
    (output / "index.html").write_text(_document("Tutorials", body), "utf-8")
    return output / "index.html"


def execute(path: Path, notebooks: Path, limit_s: float) -> Any:
    """Run a percent script as a notebook and write it; return the notebook with its outputs."""
    notebook = jupytext.read(path)
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # the same file from the same script
    with tempfile.TemporaryDirectory() as sockets:  # files, so that no kernel listens to a port
        place = {"transport": "ipc", "ip": f"{sockets}/kernel"}
        NotebookClient(
            notebook,
            kernel_name="python3",
            config=Config({"KernelManager": place}),
            timeout=int(limit_s),
            record_timing=False,
            resources={"metadata": {"path": str(notebooks)}},
        ).execute()
    nbformat.write(notebook, notebooks / f"{path.stem}.ipynb")
    return notebook


def opening(notebook: Any) -> tuple[str, str]:
    """The title and the question of a notebook's first cell.

    >>> cell = nbformat.v4.new_markdown_cell("# 1. Title" + chr(10) * 2 + "What is it?")
    >>> opening(nbformat.v4.new_notebook(cells=[cell]))
    ('1. Title', 'What is it?')
    """
    title, question, *_ = notebook.cells[0].source.split("\n\n")
    return title.removeprefix("# "), " ".join(question.split())


def page(notebook: Any, path: Path, before: Path | None, after: Path | None) -> str:
    """A notebook with outputs -> its HTML page; what draws and what solves is folded."""
    parts = [_links(path, before, after)]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            parts.append(_code(cell, path))
        elif cell.source.startswith("## Solution"):
            rest = cell.source.removeprefix("## Solution")
            parts.append(f"<details>\n<summary>Solution</summary>\n{_MARKDOWN.render(rest)}")
        else:
            parts.append(_MARKDOWN.render(cell.source))
    parts.append("</details>\n" + _links(path, before, after))  # every tutorial ends in a solution
    return _document(opening(notebook)[0], "".join(parts))


def _code(cell: Any, path: Path) -> str:
    code = highlight(cell.source, PythonLexer(), _CODE)
    block = f'<pre class="code" tabindex="0"><code>{code}</code></pre>\n'
    if any("image/png" in output.get("data", {}) for output in cell.outputs):
        block = f"<details>\n<summary>Code of the picture</summary>\n{block}</details>\n"
    return block + "".join(_output(output, path) for output in cell.outputs)


def _output(output: Any, path: Path) -> str:
    if output.output_type == "stream":
        return f'<pre class="output" tabindex="0">{html.escape(output.text)}</pre>\n'
    metadata = output.metadata.get("image/png")
    if metadata is None:
        text = html.escape(output.data["text/plain"])
        return f'<pre class="output" tabindex="0">{text}</pre>\n'
    source, alt = f"pictures/{path.stem}.png", html.escape(metadata["alt"])
    return f'<p><a href="{source}"><img src="{source}" alt="{alt}"></a></p>\n'


def thumbnail(picture: Path, small: Path) -> None:
    """Write the top left of a picture, scaled to the index."""
    with Image.open(picture) as image:
        width, height = image.size
        cut = image.convert("RGB").crop((0, 0, width, min(height, width * 5 // 8)))
        card = Image.new("RGB", THUMBNAIL, "white")
        card.paste(cut.resize((THUMBNAIL[0], round(cut.height * THUMBNAIL[0] / width))))
        card.save(small)


def _card(path: Path, title: str, question: str) -> str:
    picture = f'<img src="pictures/{path.stem}-small.png" alt="" width="320" height="200">'
    heading = f'<a href="{path.stem}.html">{html.escape(title)}</a>'
    return f"<li>{picture}<h2>{heading}</h2>{_MARKDOWN.render(question)}</li>\n"


def _links(path: Path, before: Path | None, after: Path | None) -> str:
    links = ['<a href="index.html">all tutorials</a>']
    links += [f'<a href="{before.stem}.html">previous</a>'] if before else []
    links += [f'<a href="{after.stem}.html">next</a>'] if after else []
    links.append(f'<a href="notebooks/{path.stem}.ipynb" download>notebook</a>')
    return f'<nav aria-label="Pages">{" · ".join(links)}</nav>\n'


def _document(title: str, body: str) -> str:
    links = [
        f'<a href="../{page}.html"{current}>{words}</a>'
        for page, words in NAVIGATION
        for current in [' aria-current="page"' if page == "tutorials/index" else ""]
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)} · minimix</title>\n"
        '<link rel="stylesheet" href="../style.css">\n</head>\n<body>\n<header>\n'
        '<nav aria-label="Site"><a class="home" href="../index.html">minimix</a> '
        f"{' '.join(links)}</nav>\n"
        '<form role="search" action="../search.html" method="get"><input type="search" name="q" '
        'aria-label="Search" placeholder="search"></form>\n</header>\n'
        f'<div class="page">\n<main>\n{body}</main>\n</div>\n</body>\n</html>\n'
    )


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif source.exists():
        shutil.copy(source, target)


@contextmanager
def _environment(pictures: Path) -> Iterator[None]:
    """The variables that kernels inherit: where pictures go, and a home that is thrown away."""
    with tempfile.TemporaryDirectory() as home:
        ours = {PICTURES_VARIABLE: str(pictures), "IPYTHONDIR": home, "JUPYTER_RUNTIME_DIR": home}
        before = {name: os.environ.get(name) for name in ours}
        os.environ.update(ours)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
