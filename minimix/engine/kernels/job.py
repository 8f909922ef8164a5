"""Where things lie in the memory that the scheduler and its threads share; all in bytes.

A job describes one inference: where its items, phases, counters and tables are.  The board is where
a job is put up for workers: each has a line of its own there, so that nobody disturbs another.
"""

from __future__ import annotations

LINE = 64
"""A cache line."""

ROW = 96
"""A row of the table: the kernel's address and up to eleven arguments."""

RANGE = 16
"""An entry of items or phases: first, last + 1."""

# A job.
ITEMS, PHASES, PHASE_COUNT, COUNTERS, TABLES, JOB_BYTES = 0, 8, 16, 24, 32, 64

# The board.  NOTICE is (epoch << 8) | places that are free.
NOTICE, JOB, LEFT, GIVE_WAY, ACQUIRE, RELEASE = 0, 64, 128, 192, 200, 208
WORKERS = 256
ASLEEP, LOCK = 0, 8
MAX_WORKERS = 128


def board_bytes(workers: int) -> int:
    """Size of a board for so many workers."""
    return WORKERS + workers * LINE
