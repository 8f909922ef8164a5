"""The error budgets, each with its reason.  Nothing here is ever raised to make a check pass."""

from __future__ import annotations

RECORDED_LOGITS = 5e-4
"""Largest |difference| of any logit from another framework's recorded one, in logits.

The frameworks agree among themselves to about 2e-4 where logits reach 60, and float32 is
5e-5 to 1.2e-4 away from float64.
"""

RECORDED_LAYER = 1e-4
"""Largest |difference| of a recorded layer sample, as a share of the layer's largest sample."""

SAME_NETWORK = 3e-5
"""Largest |difference| between two float32 forms of one network (folded, compiled), as a share
of the largest |logit|: the order of summation changes, the sum does not."""
