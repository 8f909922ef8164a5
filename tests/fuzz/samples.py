"""What the rows of seeds.py share: tensors to write, and how a row is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.declared import Oracle
from tests.fuzz.mutations import Files, Seed
from tests.fuzz.rule import Outcome, examine

Arrays = dict[str, np.ndarray[Any, Any]]

FILE_NAME = "checkpoint.bin"
"""The name of every checkpoint of one file; it says nothing."""

STATE_NAME = "checkpoint"
"""A text beside TensorFlow's bundles; where it is, the folder is read and not a file of it."""

SAMPLE: Arrays = {
    "conv.weight": np.arange(12, dtype=np.float32).reshape(2, 3, 2),
    "bn.num_batches_tracked": np.array(7),
    "half": np.arange(3, dtype=np.float16),
    "double": np.array([1.5, -2.0]),
    "flags": np.array([True, False, True]),
    "bytes": np.arange(5, dtype=np.uint8),
    "empty": np.zeros((0, 3), np.float32),
}
FLOATS: Arrays = {
    "a": np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 4),
    "b": np.array([0.5], np.float32),
    "grüße/c:0": np.ones((3, 1), np.float32),
}


@dataclass(frozen=True)
class Row:
    """One reader.

    Attributes:
        container: as ``weights_tools.readers.detect`` names it.
        seeds: makes the valid checkpoints.
        oracle: what such files declare.
        target: of several files, the one that is read.
        examine: holds the reader to its promise, as ``tests.fuzz.rule.examine`` does.
    """

    container: str
    seeds: Callable[[], list[Seed]]
    oracle: Oracle
    target: str = FILE_NAME
    examine: Callable[..., Outcome] = examine

    def store(self, folder: Path, files: Files) -> Path:
        """Write the files, new ones each time: the old may still be mapped; return what to read."""
        for path in folder.iterdir():
            path.unlink()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        return folder if STATE_NAME in files else folder / self.target


def single(data: bytes) -> Files:
    return {FILE_NAME: data}
