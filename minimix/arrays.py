"""The array type that operators, passes and engines speak."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
"""Float32 in the engines; the operators keep whatever float type they are given."""
