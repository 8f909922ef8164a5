"""A pickle is a program for a stack machine; this machine knows only what a state dict needs.

Python's own unpickler imports names and calls what they stand for.  This one does neither: a
global is a key into a table that the caller gives, and what is called is the caller's own
function.  Three steps, so that a refusal names its reason before anything is built:
``decode`` the bytes to instructions, ``check`` every opcode and global, ``execute``.

Bounds: ``pickle_program`` limits the bytes, the texts and the number of instructions, and each
instruction adds at most one object, so they also limit the stack and the memo (a dict: a huge
index costs nothing).  No step recurses, containers are never hashed, compared or printed, and
dict keys are text or numbers: depth costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from weights_tools.readers.checkpoint import shown
from weights_tools.readers.pickle_program import (
    ADVICE,
    TRUNCATED,
    Instruction,
    PickleStream,
    decode,
    globals_named,
    list_globals,
)

__all__ = ["Constructor", "add_items", "check", "list_globals", "load"]

MAX_PROTOCOL = 5


@dataclass(frozen=True)
class Constructor:
    """What an allowed global stands for when the pickle calls it: ``build(arguments)``."""

    build: Callable[[tuple[Any, ...]], Any]


def load(
    stream: PickleStream,
    allowed: Mapping[str, object],
    persistent_load: Callable[[Any], Any] | None = None,
) -> Any:
    """Pickle -> object, with ``allowed`` in place of imports; leaves ``stream`` after the pickle.

    Args:
        stream: where the pickle starts.
        allowed: dotted name of a global -> a Constructor or a constant of the caller.
        persistent_load: called with each persistent id; None refuses them.

    Raises:
        WeightsError: the pickle is damaged, too long, or names what is not allowed.
    """
    instructions = decode(stream)
    check(stream, instructions, allowed)
    return _Machine(allowed, persistent_load).execute(stream, instructions)


def check(
    stream: PickleStream, instructions: list[Instruction], allowed: Mapping[str, object]
) -> None:
    """Refuse the first pickle opcode and all globals that a state dict does not need.

    Raises:
        WeightsError: naming the globals, or the opcode and where it is.
    """
    refused = [name for name in globals_named(instructions) if name not in allowed]
    if refused:
        names = ", ".join(shown(name) for name in refused[:5])
        more = f" and {len(refused) - 5} more" if len(refused) > 5 else ""
        raise stream.fail(f"the pickle asks to import {names}{more}; nothing was run. {ADVICE}")
    for name, _, position in instructions:
        if name not in _HANDLERS:
            raise stream.fail(f"byte {position}: pickle opcode {name} is refused. {ADVICE}")


class _Machine:
    """The stack, the marks into it and the memo.  Handlers raise ValueError; execute wraps it."""

    def __init__(
        self, allowed: Mapping[str, object], persistent_load: Callable[[Any], Any] | None
    ) -> None:
        self.allowed, self.persistent_load = allowed, persistent_load
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def execute(self, stream: PickleStream, instructions: list[Instruction]) -> Any:
        for name, argument, position in instructions:
            try:
                _HANDLERS[name](self, argument)
            except ValueError as error:
                message = f"pickle, byte {position}, {name}: {error}. {TRUNCATED}"
                raise stream.fail(message) from error
        if len(self.stack) != 1 or self.marks:
            raise stream.fail(f"the pickle leaves {len(self.stack)} objects, not 1. {TRUNCATED}")
        return self.stack[0]

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("takes more from the stack than there is")
        return self.stack.pop()

    def top(self, kind: type, what: str) -> Any:
        value = self.pop()
        if type(value) is not kind:
            raise ValueError(f"expected {what} on the stack, found {type(value).__name__}")
        self.stack.append(value)
        return value

    def pop_marked(self) -> list[Any]:
        if not self.marks:
            raise ValueError("there is no MARK on the stack")
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def push_tuple(self, count: int) -> None:
        self.push(tuple(reversed([self.pop() for _ in range(count)])))

    def extend_list(self, values: list[Any]) -> None:
        self.top(list, "a list").extend(values)

    def update_dict(self, values: list[Any]) -> None:
        if len(values) % 2:
            raise ValueError("a key without its value")
        add_items(self.top(dict, "a dict"), zip(values[::2], values[1::2], strict=True))

    def memoize(self, index: int) -> None:
        value = self.pop()
        self.memo[index] = value
        self.push(value)

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise ValueError(f"memo {index} was never set")
        self.push(self.memo[index])

    def push_global(self, name: str) -> None:
        if name not in self.allowed:
            raise ValueError(f"the global {shown(name)} is refused")
        self.push(self.allowed[name])

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise ValueError("expected the two names of a global")
        self.push_global(f"{module}.{name}")

    def reduce(self) -> None:
        arguments, constructor = self.pop(), self.pop()
        if not isinstance(constructor, Constructor) or type(arguments) is not tuple:
            raise ValueError(f"{type(constructor).__name__} cannot be called")
        self.push(constructor.build(arguments))

    def build(self) -> None:
        """Drop ``_metadata``, the one attribute of a state dict: module versions, no tensors."""
        state = self.pop()
        self.top(dict, "a dict")
        if type(state) is not dict or set(state) != {"_metadata"}:
            raise ValueError("sets other attributes than a state dict's _metadata")

    def persistent(self) -> None:
        if self.persistent_load is None:
            raise ValueError("has a storage where none belongs")
        self.push(self.persistent_load(self.pop()))

    def protocol(self, version: int) -> None:
        if version > MAX_PROTOCOL:
            raise ValueError(f"protocol {version}; expected at most {MAX_PROTOCOL}")


def add_items(target: dict[Any, Any], items: Any) -> None:
    """Add ``(key, value)`` items; ValueError for a key twice, or one not text or a number."""
    for key, value in items:
        # A tuple as key would be hashed; nested and shared, it takes exponential time.
        if type(key) not in (str, int):
            raise ValueError(f"expected text or a number as key, found {type(key).__name__}")
        if key in target:
            raise ValueError(f"the key {shown(key)} comes twice")
        target[key] = value


_CONSTANTS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE")
_TEXTS = ("SHORT_BINUNICODE", "SHORT_BINSTRING", "BINSTRING")  # the last two: from Python 2

_HANDLERS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.protocol,
    "FRAME": lambda machine, size: None,
    "STOP": lambda machine, _: None,
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    **dict.fromkeys(_CONSTANTS + _TEXTS, _Machine.push),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_marked())),
    "TUPLE1": lambda machine, _: machine.push_tuple(1),
    "TUPLE2": lambda machine, _: machine.push_tuple(2),
    "TUPLE3": lambda machine, _: machine.push_tuple(3),
    "APPEND": lambda machine, _: machine.extend_list([machine.pop()]),
    "APPENDS": lambda machine, _: machine.extend_list(machine.pop_marked()),
    "SETITEM": lambda machine, _: machine.update_dict([machine.pop(), machine.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.update_dict(machine.pop_marked()),
    "BINPUT": _Machine.memoize,
    "LONG_BINPUT": _Machine.memoize,
    "MEMOIZE": lambda machine, _: machine.memoize(len(machine.memo)),
    "BINGET": _Machine.recall,
    "LONG_BINGET": _Machine.recall,
    "GLOBAL": _Machine.push_global,
    "STACK_GLOBAL": lambda machine, _: machine.stack_global(),
    "REDUCE": lambda machine, _: machine.reduce(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.persistent(),
}
