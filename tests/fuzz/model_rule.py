"""The rule for model files: one good error, or the very model that was once saved."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from minimix import weights
from minimix.errors import MinimixError
from tests.fuzz.declared import Files, Oracle
from tests.fuzz.rule import BrokenRuleError, Guard, Outcome, attempt
from tests.model_files import same_model, tiny_file
from weights_tools import inspect, readers


@cache
def _originals() -> tuple[weights.ModelFile, ...]:
    single = tiny_file()
    halves = {name: p.astype(np.float16).astype(np.float32) for name, p in single.params.items()}
    return single, replace(single, params=halves)


def examine(
    path: Path, files: Files, oracles: dict[str, Oracle], *, deep: bool, guard: Guard = nullcontext
) -> Outcome:
    """Read one model file and check the rule; see ``tests.fuzz.rule.examine``.

    What is loaded needs no oracle: checksums in the file cover all that a model is, so that no
    damage can make another one.

    Raises:
        BrokenRuleError: the rule does not hold.
    """
    attempt(lambda: readers.detect(path), "detect", guard)
    model = attempt(lambda: weights.load(path), "load", guard)
    if deep:
        attempt(lambda: inspect.inspect(path), "inspect", guard)
    if isinstance(model, MinimixError):
        return Outcome("refused", str(model))
    if not any(same_model(model, original) for original in _originals()):
        raise BrokenRuleError("loaded another model than was saved")
    return Outcome("accepted")
