"""Any file that holds a network -> a model: a minimix model file, or a released checkpoint."""

from __future__ import annotations

from pathlib import Path

from minimix import weights
from minimix.errors import UsageError
from minimix.weights import ModelFile
from weights_tools import readers
from weights_tools.convert import read_model


def open_model(path: Path) -> ModelFile:
    """Path -> the model in it; a checkpoint is converted in memory, nothing is written.

    Raises:
        WeightsError: it is missing, damaged, or holds no MixNet that minimix knows.
        UsageError: a checkpoint does not say which dialect or pipeline it was made for.
    """
    if readers.detect(path) == "hdf5":
        return weights.load(path)
    try:
        return read_model(path).model
    except UsageError as error:
        raise UsageError(
            f"{error}\nConvert it with that first: python -m weights_tools convert {path} -o ..."
        ) from error
