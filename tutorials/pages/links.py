"""Code that names a public function, or a command, becomes a link to what is said of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

from pages.commands import COMMANDS_PAGE, anchor_of, command_names


def by_last_name(
    app: Sphinx, env: BuildEnvironment, reference: pending_xref, shown: nodes.Element
) -> nodes.Node | None:
    """A type that is documented where it is public, under another module's name -> its link."""
    if reference.get("refdomain") != "py":
        return None
    return _reference(app, env, reference.get("refdoc", ""), reference["reftarget"], shown)


def link_code(app: Sphinx, document: nodes.document, page: str) -> None:
    """Make links of inline code such as ``mx.load()`` and ``minimix batch``."""
    for code in list(document.findall(nodes.literal)):
        if any(isinstance(parent, nodes.reference | nodes.title) for parent in _parents(code)):
            continue
        text = code.astext()
        if (command := _command(text)) is not None and page != COMMANDS_PAGE:
            uri = f"{app.builder.get_relative_uri(page, COMMANDS_PAGE)}#{anchor_of(command)}"
            code.replace_self(nodes.reference("", "", code.deepcopy(), internal=True, refuri=uri))
        elif re.fullmatch(r"(mx|minimix|weights_tools)(\.\w+)+(\(\))?", text):
            target = re.sub(r"^mx\.", "minimix.", text.removesuffix("()"))
            found = _reference(app, app.env, page, target, code.deepcopy())
            if found is not None:
                code.replace_self(found)


def _command(text: str) -> str | None:
    words = text.split()
    for count in range(len(words), 1, -1):
        if " ".join(words[:count]) in command_names():
            return " ".join(words[:count])
    return None


def _parents(node: nodes.Node) -> Iterator[nodes.Node]:
    while (node := node.parent) is not None:
        yield node


def _reference(
    app: Sphinx, env: BuildEnvironment, page: str, target: str, shown: nodes.Element
) -> nodes.Node | None:
    objects = env.domains.python_domain.objects
    last = target.rpartition(".")[2]
    exact = [name for name in objects if name == target]
    found = exact or [name for name in objects if _names(name, last)]
    if len(found) != 1:
        return None
    entry = objects[found[0]]
    return make_refnode(app.builder, page, entry.docname, entry.node_id, shown, found[0])


def _names(name: str, last: str) -> bool:
    """Whether an object that is no method is called so."""
    return name.rpartition(".")[2] == last and last[:1].isupper()
