"""Where the recorded outputs of the real implementations lie, for the tests that use them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REFERENCE = Path(
    os.environ.get("MINIMIX_REFERENCE")
    or Path(__file__).resolve().parents[2] / "shared" / "reference"
)

needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"no recorded reference outputs at {REFERENCE}"
)
