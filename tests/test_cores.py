"""How many threads: asked for, stated by the environment, or as many as there are cores."""

from __future__ import annotations

import os

import pytest

from minimix.cores import MOST_THREADS, THREADS_VARIABLE, available_cores, thread_count
from minimix.errors import UsageError


def test_what_is_asked_for_comes_before_what_the_environment_says(monkeypatch):
    monkeypatch.setenv(THREADS_VARIABLE, "5")
    assert thread_count(3) == 3
    assert thread_count() == 5


def test_without_either_there_is_a_thread_per_core(monkeypatch):
    monkeypatch.delenv(THREADS_VARIABLE, raising=False)
    assert thread_count() == min(available_cores(), MOST_THREADS)
    monkeypatch.setattr("minimix.cores.available_cores", lambda: 500)
    assert thread_count() == MOST_THREADS


def test_cores_are_those_that_the_process_may_use_where_the_system_says(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 5, 7}, raising=False)
    assert available_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert available_cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1


@pytest.mark.parametrize("text", ["-1", "two", "1.5", "²", " "])
def test_what_is_no_number_in_the_environment_is_refused(monkeypatch, text):
    monkeypatch.setenv(THREADS_VARIABLE, text)
    with pytest.raises(UsageError, match=f"{THREADS_VARIABLE} is .*expected a whole number"):
        thread_count()


@pytest.mark.parametrize("count", [0, -1, MOST_THREADS + 1])
def test_what_no_machine_has_is_refused(count):
    with pytest.raises(UsageError, match="expected at least 1 and at most"):
        thread_count(count)
