"""A built site: every link leads somewhere, and nothing is fetched from elsewhere."""

from __future__ import annotations

import os
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_FETCHED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src"}
_REMOTE_CSS = re.compile(r"@import|url\(\s*['\"]?(?:https?:)?//")


class _Page(HTMLParser):
    """What a page links to, what it loads, and which places of it can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what this element refers to."""
        values = {name: value or "" for name, value in attrs}
        self.places |= {values[name] for name in ("id", "name") if name in values}
        if tag in _FETCHED and _FETCHED[tag] in values:
            self.loaded.append(values[_FETCHED[tag]])
        elif "href" in values:
            self.links.append(values["href"])


@cache
def _page(path: Path) -> _Page:
    return _Page(path.read_text("utf-8"))


def problems(site: Path, absent: tuple[str, ...] = ()) -> list[str]:
    """A folder of pages -> what is wrong with them, a line each.

    Links into the folders ``absent`` may lead nowhere.
    """
    _page.cache_clear()
    found = []
    for path in sorted(site.rglob("*.html")):
        where, page = path.relative_to(site), _page(path)
        for target in page.loaded:
            if urlsplit(target).scheme not in ("", "data") or target.startswith("//"):
                found.append(f"{where}: loads {target} from elsewhere")
        for target in [*page.links, *page.loaded]:
            if _folder(site, path, target) in absent:
                continue
            if (why := _broken(path, target)) is not None:
                found.append(f"{where}: {target}: {why}")
    for path in sorted(site.rglob("*.css")):
        if _REMOTE_CSS.search(path.read_text("utf-8")):
            found.append(f"{path.relative_to(site)}: loads from elsewhere")
    return found


def _broken(path: Path, target: str) -> str | None:
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return None
    file = path.parent / unquote(parts.path) if parts.path else path
    if not file.is_file():
        return "no such file"
    if parts.fragment and file.suffix == ".html" and parts.fragment not in _page(file).places:
        return "no such place on that page"
    return None


def _folder(site: Path, path: Path, target: str) -> str:
    """The site's folder that a link leads into; empty for pages at its top."""
    inside = Path(os.path.relpath(path.parent / urlsplit(target).path, site))
    return inside.parts[0] if len(inside.parts) > 1 else ""
