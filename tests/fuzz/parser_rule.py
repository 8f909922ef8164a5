"""The rule for all other parsers of outside bytes: one good error, or a result that is valid."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from minimix.errors import InputError, MinimixError
from tests.fuzz.declared import Declared, Files, Oracle, UndecidedError
from tests.fuzz.rule import BrokenRuleError, Guard, Outcome, attempt

Parse = Callable[[Path, Files], Any]
"""Reads what was stored, as minimix does, and raises ``BrokenRuleError`` of a wrong result."""


class NothingError(InputError):
    """For parsers that say no without an error: a cache that is damaged is a cache miss."""


def examining(
    parse: Parse, prepare: Callable[[Path, Files], None] | None = None
) -> Callable[..., Outcome]:
    """Make what examines one input of a parser; see ``tests.fuzz.rule.examine``.

    Args:
        prepare: lays the files out where the parser looks for them, outside of the bounds.
    """

    def examine(
        path: Path,
        files: Files,
        oracles: dict[str, Oracle],
        *,
        deep: bool,
        guard: Guard = nullcontext,
    ) -> Outcome:
        if prepare is not None:
            prepare(path, files)
        result = attempt(lambda: parse(path, files), "parse", guard)
        if isinstance(result, MinimixError):
            return Outcome("refused", str(result))
        return Outcome("accepted")

    return examine


def no_oracle(files: Files) -> Declared:
    """What a file declares is for the parser's own check to say."""
    raise UndecidedError("not of tensors")


def check(holds: bool, problem: str) -> None:
    """Raise ``BrokenRuleError`` unless a result is valid."""
    if not holds:
        raise BrokenRuleError(problem)
