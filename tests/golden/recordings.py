"""What ``make_timm.py`` recorded, and the tensors that it was recorded with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.golden import seeded
from tests.golden.seeded import Case

Array = NDArray[Any]


@cache
def recording(case: Case) -> Mapping[str, Array]:
    """The arrays of one network's file, as ``make_timm.py`` describes them."""
    with np.load(Path(__file__).parent / f"{case.name}.npz") as stored:
        return _shared(dict(stored))


@cache
def timm_tensors(case: Case) -> Mapping[str, Array]:
    """timm's state dict of one network, in timm's order."""
    shapes = json.loads(str(recording(case)["shapes"]))
    return _shared(
        seeded.state_dict({name: tuple(shape) for name, shape in shapes.items()}, case.seed)
    )


def _shared(arrays: dict[str, Array]) -> dict[str, Array]:
    """The same arrays, read-only: no test may change what another one reads."""
    for array in arrays.values():
        array.flags.writeable = False
    return arrays
