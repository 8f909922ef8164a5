"""Python source -> its mutants: copies with one small mistake each.

Left alone are annotations, docstrings, decorators, ``__all__``, assertions, and text for people:
f-strings, strings with a space, whatever stands in a ``raise``.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

BOUNDARIES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
OPPOSITES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
SWAPPED_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
SKIPPED_FIELDS = {"annotation", "returns", "decorator_list", "type_params", "bases", "pattern"}


@dataclass(frozen=True)
class Mutant:
    """One mistake.

    Attributes:
        path: of the module, from the root of the checkout.
        number: which mistake of the module, in the order of its text.
        line: where it is.
        statement: first and last line of what encloses it.
        key: names it, however lines move: function, source line, before and after.
    """

    path: str
    number: int
    line: int
    statement: tuple[int, int]
    key: str


@dataclass(frozen=True)
class _Place:
    """A mistake that can be made in a parsed tree."""

    function: str
    statement: ast.stmt
    node: ast.AST
    new: ast.AST
    put: Callable[[ast.AST], None]


def mutants(path: str, source: str) -> list[Mutant]:
    """Return all mutants of a module."""
    lines, seen = source.splitlines(), Counter[str]()
    found = []
    for number, place in enumerate(_places(ast.parse(source))):
        line = place.node.lineno  # type: ignore[attr-defined]
        text = lines[line - 1].strip()
        key = f"{place.function} | {text} | {_shown(place.node)} -> {_shown(place.new)}"
        seen[key] += 1
        key += f" #{seen[key]}" if seen[key] > 1 else ""
        last = place.node.end_lineno  # type: ignore[attr-defined]
        found.append(Mutant(path, number, line, (place.statement.lineno, last), key))
    return found


def mutated(mutant: Mutant, source: str) -> ast.Module:
    """Return the module of a mutant."""
    tree = ast.parse(source)
    for number, place in enumerate(_places(tree)):
        if number == mutant.number:
            place.put(ast.copy_location(place.new, place.node))
            return ast.fix_missing_locations(tree)
    raise ValueError(f"{mutant.path} has no mutant {mutant.number}")


def modules(root: Path, sources: tuple[str, ...]) -> list[str]:
    """Files and folders from the root -> the modules that they are or hold."""
    found: list[Path] = []
    for source in sources:
        path = root / source
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return [path.relative_to(root).as_posix() for path in found]


def _shown(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 100 else text[:97] + "..."


def _places(tree: ast.Module) -> Iterator[_Place]:
    for statement in tree.body:
        yield from _statement(statement, "", _putter(tree.body, statement))


def _putter(body: list[ast.stmt], old: ast.stmt) -> Callable[[ast.AST], None]:
    def put(new: ast.AST) -> None:
        assert isinstance(new, ast.stmt)
        body[body.index(old)] = new

    return put


def _statement(node: ast.stmt, function: str, put: Callable[[ast.AST], None]) -> Iterator[_Place]:
    if isinstance(node, ast.Assert | ast.Import | ast.ImportFrom | ast.Global | ast.Nonlocal):
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
        return
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        function = f"{function}.{node.name}" if function else node.name
    for new in _statements_instead(node):
        yield _Place(function, node, node, new, put)
    if not isinstance(node, ast.Raise):
        yield from _parts(node, function, node)


def _statements_instead(node: ast.stmt) -> Iterator[ast.stmt]:
    match node:
        case ast.Expr(ast.Call()) | ast.Raise() | ast.Break() | ast.Continue():
            yield ast.Pass()
        case ast.Return(ast.expr() as value) if not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.AugAssign() if type(node.op) in ARITHMETIC:
            yield ast.AugAssign(node.target, ARITHMETIC[type(node.op)](), node.value)


def _parts(node: ast.AST, function: str, statement: ast.stmt) -> Iterator[_Place]:
    """Mistakes in the children of a node."""
    for name, value in ast.iter_fields(node):
        if name in SKIPPED_FIELDS:
            continue
        children = value if isinstance(value, list) else [value]
        for position, child in enumerate(children):
            if isinstance(child, ast.stmt):
                yield from _statement(child, function, _putter(children, child))
            elif isinstance(child, ast.expr):
                put = _list_put(value, position) if value is children else _field_put(node, name)
                is_condition = name in ("test", "ifs", "guard")
                yield from _expression(child, function, statement, put, is_condition)
            elif isinstance(child, ast.AST):
                yield from _parts(child, function, statement)


def _list_put(values: list[ast.AST], position: int) -> Callable[[ast.AST], None]:
    return lambda new: values.__setitem__(position, new)


def _field_put(node: ast.AST, name: str) -> Callable[[ast.AST], None]:
    return lambda new: setattr(node, name, new)


def _expression(
    node: ast.expr,
    function: str,
    statement: ast.stmt,
    put: Callable[[ast.AST], None],
    is_condition: bool,
) -> Iterator[_Place]:
    if isinstance(node, ast.JoinedStr):
        return
    if is_condition and not isinstance(node, ast.UnaryOp):
        yield _Place(function, statement, node, ast.UnaryOp(ast.Not(), node), put)
    for new in _instead(node, is_condition):
        yield _Place(function, statement, node, new, put)
    yield from _parts(node, function, statement)


def _instead(node: ast.expr, is_condition: bool) -> Iterator[ast.expr]:
    match node:
        case ast.Compare(left, operators, others):
            for n, operator in enumerate(operators):
                # One of a single pair is what the opposite of the whole condition does.
                table = BOUNDARIES if is_condition and len(others) == 1 else BOUNDARIES | OPPOSITES
                if new := table.get(type(operator)):
                    changed = [*operators[:n], new(), *operators[n + 1 :]]
                    yield ast.Compare(left, changed, others)
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield operand
        case ast.BinOp(left, operator, right):
            if type(operator) in ARITHMETIC and not _names_types(node):
                yield ast.BinOp(left, ARITHMETIC[type(operator)](), right)
        case ast.Call(ast.Name(name)) if name in SWAPPED_CALLS:
            called = ast.Name(SWAPPED_CALLS[name], ast.Load())
            yield ast.Call(called, node.args, node.keywords)
        case ast.Constant(value):
            yield from _constants_instead(value)


def _names_types(node: ast.BinOp) -> bool:
    """Whether a union of types is meant: ``int | None``, ``Conv | MixConv``."""
    names = [side for side in (node.left, node.right) if isinstance(side, ast.Name)]
    builtin = {"int", "str", "float", "bytes", "bool", "list", "tuple", "dict", "set", "type"}
    return isinstance(node.op, ast.BitOr) and any(
        name.id in builtin or (name.id[0].isupper() and not name.id.isupper()) for name in names
    )


def _constants_instead(value: object) -> Iterator[ast.Constant]:
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int | float):
        yield ast.Constant(value + 1)
    elif isinstance(value, str) and " " not in value:
        yield ast.Constant(value + "X")
    elif isinstance(value, bytes):
        yield ast.Constant(value + b"X")
