"""Threads of our own, one pool a process, which all compiled models share.

The pool serves one inference at a time.  Whoever finds it busy works alone: the result is the
same to the bit, because every number is computed by one thread in one order, whichever it is.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from minimix.engine.kernels import job as at
from minimix.engine.kernels.library import scheduler_library
from minimix.engine.packing import aligned

_WORD = ctypes.c_int64


def _function(name: str) -> int:
    """Address of a function of Python's C interface."""
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0


def _give_way() -> int:
    """Address of what offers the processor to other threads."""
    if sys.platform == "win32":
        return ctypes.cast(ctypes.windll.kernel32.SwitchToThread, ctypes.c_void_p).value or 0
    return ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value or 0


def _new_lock() -> int:
    """A lock of Python's, taken; it is never freed, as its worker sleeps on it to the end."""
    allocate, acquire = ctypes.pythonapi.PyThread_allocate_lock, ctypes.pythonapi
    allocate.restype = ctypes.c_void_p
    lock: int = allocate()
    acquire.PyThread_acquire_lock(ctypes.c_void_p(lock), 1)
    return lock


class Pool:
    """Workers that sleep until a job is put up."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.workers = 0
        self._memory = aligned(at.board_bytes(at.MAX_WORKERS))
        self._board = self._memory.ctypes.data
        words = self._memory.view(np.int64)
        words[at.GIVE_WAY // 8] = _give_way()
        words[at.ACQUIRE // 8] = _function("PyThread_acquire_lock")
        words[at.RELEASE // 8] = _function("PyThread_release_lock")
        run_alone, run_together, work = scheduler_library().addresses()
        self._alone = ctypes.CFUNCTYPE(None, _WORD)(run_alone)
        self._together = ctypes.CFUNCTYPE(None, _WORD, _WORD, _WORD)(run_together)
        self._work = ctypes.CFUNCTYPE(None, _WORD, _WORD)(work)

    def _grow(self, workers: int) -> None:
        """Start workers until there are so many; the caller has the turn."""
        words = self._memory.view(np.int64)
        while self.workers < workers:
            line = (at.WORKERS + self.workers * at.LINE) // 8
            words[line + at.LOCK // 8] = _new_lock()
            threading.Thread(
                target=self._work,
                args=(self._board, self.workers),
                name=f"minimix-{self.workers}",
                daemon=True,
            ).start()
            self.workers += 1

    def run(self, job: int, threads: int) -> None:
        """Do the job at an address with up to ``threads`` threads, this one included."""
        if threads == 1 or not self.turn.acquire(blocking=False):
            self._alone(job)
            return
        try:
            self._grow(min(threads - 1, at.MAX_WORKERS))
            self._together(job, self._board, min(threads - 1, at.MAX_WORKERS))
        finally:
            self.turn.release()


_pool: Pool | None = None
_pool_made = threading.RLock()


def shared_pool() -> Pool:
    """Return the process's pool."""
    global _pool
    with _pool_made:
        if _pool is None:
            _pool = Pool()
        return _pool


_helpers: ThreadPoolExecutor | None = None


def for_each(count: int, threads: int, work: Callable[[int], None]) -> None:
    """Call ``work(n)`` for every n below ``count``, on up to ``threads`` threads, this one too.

    For work that needs no help of its own, such as one picture of a batch.
    """
    global _helpers
    numbers = iter(range(count))

    def work_on() -> None:
        # Under the GIL a range's iterator hands out each number once, whoever asks.
        for n in numbers:
            work(n)

    with _pool_made:
        if _helpers is None:
            _helpers = ThreadPoolExecutor(at.MAX_WORKERS, thread_name_prefix="minimix-batch")
    others = [_helpers.submit(work_on) for _ in range(min(threads, count) - 1)]
    try:
        work_on()
    finally:
        for _ in numbers:  # after an error nobody begins another
            pass
        for other in others:
            other.result()


def _forget() -> None:
    """A forked child has none of its parent's threads: it begins with a pool of its own."""
    global _pool, _helpers
    _pool, _helpers = None, None
    _pool_made.release()


if hasattr(os, "register_at_fork"):
    # A pool is not half made in the child, nor is what it is made of.
    os.register_at_fork(
        before=_pool_made.acquire, after_in_parent=_pool_made.release, after_in_child=_forget
    )
