"""Bars, colour, columns: what the terminal gets."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimix.cli import output
from minimix.cli.output import BAR_CELLS, Screen, cells, pad, printable, table

PLAIN = Screen(color=False, bars=True, unicode=True)
COLORED = Screen(color=True, bars=True, unicode=True)
ASCII = Screen(color=False, bars=True, unicode=False)
PROBABILITIES = st.floats(0, 1)


def test_the_bars_of_the_documentation_s_example():
    assert PLAIN.bar(0.944) == "█" * 18
    assert PLAIN.bar(0.002) == "▏"
    assert PLAIN.bar(1.0) == "█" * BAR_CELLS
    assert PLAIN.bar(0.0) == PLAIN.bar(0.0004) == ""


@given(PROBABILITIES, PROBABILITIES)
def test_a_more_probable_class_never_has_the_shorter_bar(p, q):
    low, high = sorted((p, q))
    for screen in (PLAIN, ASCII):
        a, b = screen.bar(low), screen.bar(high)
        assert len(a) <= len(b) <= BAR_CELLS
        assert a[:-1] == b[: max(len(a) - 1, 0)]


@given(PROBABILITIES)
def test_bars_of_an_ascii_terminal_are_ascii(p):
    assert set(ASCII.bar(p)) <= {"#"}


@given(st.text())
def test_what_is_printable_neither_moves_the_cursor_nor_fails_to_encode(text):
    shown = printable(text)
    shown.encode()
    assert len((shown + "|").splitlines()) == 1
    assert "\x1b" not in shown and "\r" not in shown


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_ordinary_text_is_printed_as_it_is(text):
    assert printable(text) == text


@given(
    st.lists(
        st.tuples(st.text("a大\u0301é", max_size=5), st.integers(0, 10**9).map("{:,}".format)),
        min_size=1,
        max_size=5,
    )
)
def test_the_columns_of_a_table_align_on_the_terminal(rows):
    lines = table([(COLORED.bold(name), number) for name, number in rows], "<>")
    assert len({cells(line) for line in lines}) == 1
    assert all(line.endswith(number) for line, (_, number) in zip(lines, rows, strict=True))


def test_padding_ignores_escape_sequences():
    assert pad(COLORED.kernel(3), 3, ">").startswith("  \x1b")
    assert cells(COLORED.kernel(11)) == 2
    assert PLAIN.kernel(11) == "11" and COLORED.kernel(4) == "4"


def test_kernel_colours_are_exact_where_the_terminal_can(monkeypatch):
    monkeypatch.setenv("COLORTERM", "truecolor")
    assert COLORED.kernel(5) == "\x1b[1;38;2;230;159;0m5\x1b[0m"
    monkeypatch.setenv("COLORTERM", "")
    assert COLORED.kernel(5) == "\x1b[1;38;5;178m5\x1b[0m"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("wish", "variables", "terminal", "colored"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"TERM": "dumb"}, True, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": ""}, True, True),
        ("auto", {"FORCE_COLOR": "1"}, False, True),
        ("auto", {"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_colour_follows_the_option_then_the_environment_then_the_terminal(
    monkeypatch, wish, variables, terminal, colored
):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", Terminal() if terminal else io.StringIO())
    screen = output.screen(wish)
    assert screen.color is colored
    assert screen.bars is (terminal or colored)
