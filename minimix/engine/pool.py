"""Threads of our own, one pool a process, which all compiled models share.

The pool serves one inference at a time.  Whoever finds it busy works alone: the result is the
same to the bit, because every number is computed by one thread in one order, whichever it is.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading

import numpy as np

from minimix.engine.kernels import job as at
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
        from minimix.engine.kernels import scheduler

        self.turn = threading.Lock()
        self.workers = 0
        self._memory = aligned(at.board_bytes(at.MAX_WORKERS))
        self._board = self._memory.ctypes.data
        words = self._memory.view(np.int64)
        words[at.GIVE_WAY // 8] = _give_way()
        words[at.ACQUIRE // 8] = _function("PyThread_acquire_lock")
        words[at.RELEASE // 8] = _function("PyThread_release_lock")
        run_alone, run_together, work = scheduler.addresses()
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
_pool_made = threading.Lock()


def shared_pool() -> Pool:
    """Return the process's pool."""
    global _pool
    with _pool_made:
        if _pool is None:
            _pool = Pool()
        return _pool


def _forget() -> None:
    """A forked child has none of its parent's threads: it begins with a pool of its own."""
    global _pool, _pool_made
    _pool, _pool_made = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
