"""Sphinx's settings.  The sources are gathered by ``pages.build``."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.domains.python import PyObject

from build import NAVIGATION
from minimix import __version__
from pages import commands, links

project = "minimix"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

html_theme = "theme"
html_theme_path = [str(commands.HERE)]
html_context = {"navigation": NAVIGATION}
html_title = "minimix"
html_copy_source = False
# It would fetch pages, which browsers refuse where they come from files.
html_show_search_summary = False
html_domain_indices = False
html_permalinks_icon = "#"

myst_heading_anchors = 3
highlight_language = "none"

# The names that people type, without the module before each.
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 78
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
# As they are written: not all classes that a type can be.
autodoc_type_aliases = {
    name: name for name in ("Array", "Source", "Several", "Exif", "EngineName", "Change", "Params")
}
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True


def spell_magnitudes(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Keep ``|difference|`` what it is in mathematics; to docutils it is a substitution."""
    lines[:] = [re.sub(r"(?<!`)\|(\w+)\|(?!`)", r"\\|\1\\|", line) for line in lines]


def name_aliases(
    app: Sphinx, what: str, name: str, obj: object, options: object, given: str, returned: str
) -> tuple[str, str] | None:
    """Spell types as the code does: ``Array``, and not what Sphinx wraps it in."""
    if given is None:
        return None
    shown = [
        re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text or "") for text in (given, returned)
    ]
    return shown[0], shown[1]


def setup(app: Sphinx) -> dict[str, Any]:
    """Add what Sphinx does not bring along."""
    app.add_directive("commands", commands.Commands)
    app.connect("autodoc-process-docstring", spell_magnitudes)
    app.connect("autodoc-process-signature", name_aliases)
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"  # as the docstrings call them
    app.connect("missing-reference", links.by_last_name)
    app.connect("doctree-resolved", links.link_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
