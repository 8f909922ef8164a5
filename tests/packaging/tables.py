"""``python -m tests.packaging.tables``: write the tables of SECURITY.md anew, from the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path

from tests.packaging.components import ROOT, Component, closure, ours

DOCUMENT = ROOT / "SECURITY.md"

ROOMS = (
    *("minimix/dialect.py", "minimix/download.py", "minimix/images.py", "minimix/inputs.py"),
    *("minimix/streams.py", "minimix/transport.py", "minimix/weights.py", "minimix/hdf5"),
    *("minimix/hub", "minimix/zoo", "minimix/explorer/record.py", "weights_tools/stated.py"),
    *("minimix/workflows/batching/tar_shards.py", "minimix/workflows/validation/labels.py"),
    *("weights_tools/readers", "weights_tools/mappings"),
)
"""Where bytes of strangers are read."""

ARGUMENTS = {("minimix/images.py", "MAX_PIXELS"): "`max_pixels=`"}
"""Constant -> the argument of a function that overrides it, beside the environment."""

_NOT_SAID = {
    "MAX_REDIRECTS": "Redirects that are followed, one after another.",
    "MAX_VALUE_BYTES": "Of an attribute's text; longer ones are not looked at.",
    "MAX_FIELD_NUMBER": "The largest number of a field: that of the format.",
    "MAX_PROTOCOL": "The newest pickle protocol that is read.",
}
"""Of bounds whose names say enough where they stand."""

_LIMIT = re.compile("(MAX|LARGEST|LONGEST)_[A-Z_]+|(CONNECT|READ|TOTAL)_S")


def licences(root: Component, components: Mapping[str, Component]) -> str:
    """Markdown: each component, its licence, and what brings it."""
    everything = [root, *components.values()]
    lines = ["| component | licence, as its metadata says | needed by |", "|---|---|---|"]
    for name, component in components.items():
        users = ", ".join(one.name for one in everything if name in one.requires)
        lines.append(f"| {name} | {component.license} | {users} |")
    return "\n".join(lines)


def limits() -> str:
    """Markdown: each constant that bounds what is read, its value, and what it is said to be."""
    lines = ["| in | constant | value | what it bounds | override |", "|---|---|--:|---|---|"]
    for room in ROOMS:
        path = ROOT / room
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            where = file.relative_to(ROOT).as_posix()
            module = import_module(where.removesuffix(".py").replace("/", "."))
            variables = overrides(file)
            for name, said in _constants(file):
                value, said = getattr(module, name), said or _NOT_SAID.get(name, "")
                known = [ARGUMENTS.get((where, name)), variables.get(name)]
                override = ", ".join(filter(None, known))
                if isinstance(value, int | float):
                    lines.append(f"| `{where}` | `{name}` | {value:,} | {said} | {override} |")
    return "\n".join(lines)


def overrides(file: Path) -> dict[str, str]:
    """Constants of a file -> the variables that override them, as ``in_force`` is called there."""
    found = {}
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "in_force":
            variable, constant = node.args
            found[ast.unparse(constant)] = f"`{ast.literal_eval(variable)}`"
    return found


def _constants(file: Path) -> Iterator[tuple[str, str]]:
    """Names of a file's limits, and the text below each."""
    body = ast.parse(file.read_text("utf-8")).body
    for statement, after in zip(body, [*body[1:], None], strict=True):
        said = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            said = " ".join(str(after.value.value).split()).replace("|", "\\|")
        for name in _names(statement):
            if _LIMIT.fullmatch(name):
                yield name, said


def _names(statement: ast.stmt) -> list[str]:
    targets: list[ast.expr] = statement.targets if isinstance(statement, ast.Assign) else []
    found = [node for target in targets for node in ast.walk(target)]
    return [node.id for node in found if isinstance(node, ast.Name)]


def replaced(text: str, name: str, table: str) -> str:
    """A document with the table between the marks of one name replaced."""
    start, end = f"<!-- table: {name} -->\n", f"<!-- end: {name} -->"
    before, _, rest = text.partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"no place for the table {name}")
    return f"{before}{start}{table}\n{end}{after}"


def main() -> None:
    """Write both."""
    root = ours()
    text = DOCUMENT.read_text("utf-8")
    text = replaced(text, "limits", limits())
    text = replaced(text, "licences", licences(root, closure(root.requires)))
    DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
