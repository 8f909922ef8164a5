"""The bar: on a terminal alone, beside results and never among them."""

from __future__ import annotations

import io
import sys

import pytest

from minimix.cli.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("total", [7, None])
def test_a_terminal_shows_how_many_are_done_and_steps_aside(monkeypatch, total):
    screen = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", screen)
    with progress(True, total) as bar:
        bar.advance(3)
        with bar.paused():
            before = screen.getvalue()
            bar.advance(2)
            assert screen.getvalue() == before
        assert f"5/{total or '?'}" in screen.getvalue()
        bar.show(6, 8)
    assert "6/8" in screen.getvalue()


@pytest.mark.parametrize(("wanted", "screen"), [(True, io.StringIO()), (False, Terminal())])
def test_elsewhere_nothing_is_written(monkeypatch, wanted, screen):
    monkeypatch.setattr(sys, "stderr", screen)
    with progress(wanted, 7) as bar:
        bar.advance(1)
        with bar.paused():
            bar.show(3, 7)
    assert screen.getvalue() == ""


def test_a_process_without_standard_error_has_no_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with progress(True, 7) as bar:
        bar.advance(1)
