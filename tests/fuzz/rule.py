"""The rule that every reader keeps, whatever the file: one good error, or the declared bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minimix.errors import MinimixError
from tests.fuzz.declared import DamagedError, Files, Oracle, UndecidedError
from weights_tools import inspect, readers
from weights_tools.convert import Conversion, read_model
from weights_tools.readers import Checkpoint

LONGEST_MESSAGE = 4000
"""Characters of an error's message; five names of the longest length fit."""


class BrokenRuleError(Exception):
    """A reader did what it never may; the message says what, the cause is what it raised."""


@dataclass(frozen=True)
class Outcome:
    """What became of one input.

    Attributes:
        kind: ``refused``, ``accepted`` or ``undecided``: accepted, but the oracle cannot tell.
        detail: the error's message, or why the oracle cannot tell.
    """

    kind: str
    detail: str = ""


Guard = Callable[[], AbstractContextManager[Any]]
"""Makes the context in which each call of the code under test runs, to bound what it takes."""


def attempt(call: Callable[[], Any], what: str, guard: Guard) -> Any:
    """Return the result, or the MinimixError raised; anything else breaks the rule."""
    try:
        with guard():
            return call()
    except MinimixError as error:
        _check_message(error, what)
        return error
    except BrokenRuleError:
        raise
    except Exception as error:
        text = str(error)[:300]
        raise BrokenRuleError(f"{what} raised {type(error).__name__}: {text}") from error


def _check_message(error: MinimixError, what: str) -> None:
    text = str(error)
    if not 0 < len(text) <= LONGEST_MESSAGE or not text.isprintable():
        raise BrokenRuleError(f"{what}: a message that does not print: {text!r:.500}") from error
    cause: BaseException | None = error
    while cause is not None:
        # An error that was made of a failed allocation: the limit held, the reader did not.
        said = str(cause).lower()
        failed = ("out of memory", "allocation failed", "can't allocate", "unable to allocate")
        if isinstance(cause, MemoryError) or any(words in said for words in failed):
            raise BrokenRuleError(f"{what}: out of memory: {text!r:.500}") from error
        cause = cause.__cause__ or cause.__context__


def _check_arrays(checkpoint: Checkpoint) -> None:
    for name, array in checkpoint.tensors.items():
        flags = array.flags
        if flags.writeable or not (flags.c_contiguous and flags.aligned and array.dtype.isnative):
            raise BrokenRuleError(f"{name!r}: {array.dtype} with flags {flags}")


def _compare(checkpoint: Checkpoint, files: Files, oracle: Oracle) -> Outcome:
    """Hold the tensors against what the files declare."""
    try:
        declared = oracle(files)
    except UndecidedError as error:
        return Outcome("undecided", str(error))
    except DamagedError as error:
        raise BrokenRuleError(f"read, but damaged: {error}") from error
    except Exception as error:
        raise BrokenRuleError(f"read, but the oracle fails: {error!r:.500}") from error
    if checkpoint.tensors.keys() != declared.keys():
        raise BrokenRuleError(f"read {list(checkpoint.tensors)}, declared are {list(declared)}")
    for name, stored in declared.items():
        array = checkpoint.tensors[name]
        found = (array.dtype.name, array.shape)
        little = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        if (*found, little) != stored.as_array():
            raise BrokenRuleError(f"{name!r}: read {found}, not the declared {stored!r:.500}")
    return Outcome("accepted")


def examine(
    path: Path, files: Files, oracles: dict[str, Oracle], *, deep: bool, guard: Guard = nullcontext
) -> Outcome:
    """Read one checkpoint by every entrance and check the rule.

    Args:
        path: what is read: one of ``files`` as written, or their folder.
        oracles: by container; a container without one is undecided.
        deep: go on through ``inspect`` and ``convert`` where the file is read.

    Raises:
        BrokenRuleError: the rule does not hold.
    """
    container = attempt(lambda: readers.detect(path), "detect", guard)
    attempt(lambda: readers.refused_globals(path), "refused_globals", guard)
    checkpoint = attempt(lambda: readers.read(path), "read", guard)
    if deep:
        attempt(lambda: inspect.inspect(path), "inspect", guard)
    if isinstance(checkpoint, MinimixError):
        return Outcome("refused", str(checkpoint))
    if container != checkpoint.container:
        raise BrokenRuleError(f"detected {container}, read {checkpoint.container}")
    content = files[checkpoint.path.name]
    if (checkpoint.size_bytes, checkpoint.sha256) != (
        len(content),
        hashlib.sha256(content).hexdigest(),
    ):
        raise BrokenRuleError("size and SHA-256 are not those of the file")
    _check_arrays(checkpoint)
    if deep:
        converted = attempt(lambda: read_model(path), "read_model", guard)
        if not isinstance(converted, Conversion | MinimixError):
            raise BrokenRuleError(f"read_model gave {type(converted).__name__}")
    if checkpoint.container not in oracles:
        return Outcome("undecided", f"no oracle for {checkpoint.container}")
    return _compare(checkpoint, files, oracles[checkpoint.container])
