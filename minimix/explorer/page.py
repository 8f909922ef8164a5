"""A recording -> one HTML file that needs nothing else, and that nothing else can get into.

The files of ``assets`` are put together in the order of ``assets/order.txt``: one name a line,
``.css`` files make the style, ``.js`` files the script, ``.html`` files the body.  The page's
policy lets run and apply exactly these, by their hashes, and loads nothing from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from functools import cache
from importlib.resources import files
from typing import Any

from minimix.explorer.buffers import packed
from minimix.explorer.record import Record


def write_page(record: Record) -> bytes:
    """A recording -> its page, UTF-8.  The same recording gives the same bytes."""
    style, script, body = (_asset(ending) for ending in (".css", ".js", ".html"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    names = " and ".join(picture["name"] for picture in record.document["pictures"])
    title = html.escape(f"{names} · {record.document['model']['name']} · minimix")
    data = "\n".join(
        [_data("document", "application/json", json_text(record.document))]
        + [
            _data(f"buffer-{name}", "application/octet-stream", _base64(packed(content)))
            for name, content in record.buffers.items()
        ]
    )
    return _PAGE.format(
        policy=policy, title=title, style=style, body=body, data=data, script=script
    ).encode("utf-8", "backslashreplace")  # a title may hold half a character


_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
{data}
<script>{script}</script>
</body>
</html>
"""


@cache
def _asset(ending: str) -> str:
    """The files of one kind, one after another."""
    folder = files("minimix.explorer") / "assets"
    order = (folder / "order.txt").read_text("utf-8").split()
    texts = [(folder / name).read_text("utf-8") for name in order if name.endswith(ending)]
    return "\n".join(texts)


def _hash(text: str) -> str:
    """What a policy calls a style or a script."""
    return "sha256-" + _base64(hashlib.sha256(text.encode()).digest())


def _data(name: str, kind: str, content: str) -> str:
    return f'<script type="{kind}" id="{name}">{content}</script>'


def json_text(value: Any) -> str:
    r"""JSON that cannot end its element or open a comment: every < is written \u003c."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
