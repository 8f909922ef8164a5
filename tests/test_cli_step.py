"""``minimix step``: true numbers on every screen, on any terminal, with keys or printed."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minimix
from minimix.cli.keys import split_keys
from minimix.cli.step_browser import HELP, Browser
from minimix.cli.step_pictures import Paper, paint, paint_kernel
from minimix.cli.step_terminal import press_line
from minimix.cli.step_view import View
from minimix.collapsed import collapse
from minimix.errors import UsageError
from minimix.palette import diverging, sequential
from minimix.stepping import Walk, completed
from tests.cli import command, environment, run, spawn
from tests.pictures import encoded, picture

posix = pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX's")
PAPERS = [
    Paper(40, "truecolor", True),
    Paper(40, "none", False),
    Paper(57, "256", True),
    Paper(80, "none", True),
    Paper(120, "none", False),
    Paper(200, "truecolor", True),
]
ONE_OF_EACH = ("image", "stem.conv", "blocks.3.expand", "blocks.3.mixconv", "blocks.3.se",
               "blocks.4.add", "blocks.13.mixconv", "pool", "classifier")  # fmt: skip


@pytest.fixture(scope="module")
def net(tiny_model):
    return minimix.load(tiny_model, engine="reference")


@pytest.fixture(scope="module")
def walk(net):
    return Walk(net, picture())


@pytest.fixture
def panda(tmp_path):
    from PIL import Image

    path = tmp_path / "panda.png"
    path.write_bytes(encoded(Image.fromarray(picture())))
    return path


def step(capsys, panda, tiny_model, *more):
    argv = ("step", panda, "--model", tiny_model, "--engine", "reference")
    return run(capsys, *argv, *more)


def text_of(walk, name, width=120):
    lines = View(walk, Paper(width, "none", True)).lines(walk.jump(name))
    return "\n".join(line.plain.rstrip() for line in lines)


def headings(out):
    return [line.split()[0] for line in out.splitlines() if re.search(r" \d+ of \d+$", line)]


def test_printed_are_all_steps_in_order_without_colour(capsys, panda, tiny_model, net):
    code, out, err = step(capsys, panda, tiny_model)
    assert (code, err) == (0, "")
    assert headings(out) == [node.name for node in collapse(net.graph)]
    assert "\x1b" not in out and max(map(len, out.splitlines())) <= 80


def test_with_all_every_node_is_a_step(capsys, panda, tiny_model, net):
    out = step(capsys, panda, tiny_model, "--all", "--only", "blocks.1*").out
    names = [node.name for node in net.graph if node.name.startswith("blocks.1")]
    assert headings(out) == names and "blocks.14.mixconv_bn" in names


def test_a_walk_can_begin_later_and_stop_at_a_pattern_only(capsys, panda, tiny_model, net):
    names = [node.name for node in collapse(net.graph)]
    out = step(capsys, panda, tiny_model, "--from", "blocks.14").out
    assert headings(out) == names[names.index("blocks.14.expand") :]
    out = step(capsys, panda, tiny_model, "--only", "*.se").out
    assert headings(out) == [name for name in names if name.endswith(".se")]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--from", "blocks.99"), "blocks.99: mixnet-pocket has no such node; try blocks."),
        (("--from", "steem.conv"), "no such node; try stem.conv"),
        (("--from", ""), "has no such node"),
        (("--only", "*.sse"), "'*.sse' matches no node"),
    ],
)
def test_a_node_that_is_not_there_is_a_usage_error(capsys, panda, tiny_model, more, message):
    code, out, err = step(capsys, panda, tiny_model, *more)
    assert (code, out) == (2, "") and message in err


def test_a_folder_of_pictures_is_a_usage_error_and_a_missing_one_an_input_error(
    capsys, panda, tiny_model, tmp_path
):
    (tmp_path / "two.png").write_bytes(panda.read_bytes())
    assert step(capsys, tmp_path, tiny_model).code == 2
    assert step(capsys, tmp_path / "none.png", tiny_model).code == 3


@pytest.mark.parametrize("paper", PAPERS, ids=str)
def test_no_line_is_wider_than_the_terminal(walk, paper):
    view = View(walk, paper)
    for place in map(walk.jump, ONE_OF_EACH):
        assert max(line.cell_len for line in view.lines(place)) <= paper.width


def test_the_numbers_are_the_engine_s(walk, net):
    with net.trace(net.preprocess(picture())) as trace:
        for stop in [walk.stops[walk.jump(name)] for name in ONE_OF_EACH]:
            output = trace[stop.node.last.name].output
            np.testing.assert_array_equal(stop.output, output)
            found = re.search(r"output +(\S+) to (\S+), mean (\S+), std (\S+?)[,\n]",
                              text_of(walk, stop.name) + "\n")  # fmt: skip
            numbers = [float(text.replace("−", "-").rstrip(",")) for text in found.groups()]
            expected = [output.min(), output.max(), output.mean(), output.std()]
            np.testing.assert_allclose(numbers, expected, rtol=6e-3, atol=1e-6)


def test_the_costs_of_all_steps_are_those_of_the_network(walk, net):
    macs = net.graph.macs(64, 64)
    assert sum(stop.macs for stop in walk.stops) == sum(macs.values()) == walk.total_macs
    assert sum(stop.parameters for stop in walk.stops) == sum(map(net.graph.param_count, net.graph))
    assert f"{macs['head.conv']:,} multiply-adds" in text_of(walk, "head.conv")


def test_a_mixconv_says_its_shapes_its_formula_and_what_each_group_sees(walk):
    text = text_of(walk, "blocks.3.mixconv")
    assert "shape    16 × 16 × 96 → 8 × 8 × 96, stride 2" in text
    assert "y[i, j, c] = Σ over di, dj" in text and "swish(x) = x · sigmoid(x)" in text
    assert "expand → [mixconv] → se → project" in text
    for size, channels, sees in ((3, "0–31", 27), (5, "32–63", 35), (7, "64–95", 43)):
        assert f"■ {size}×{size}    channels {channels}: {sees} × {sees} px, every 8 px" in text


def test_gates_are_sorted_and_those_of_the_trace(walk, net):
    with net.trace(net.preprocess(picture()), keep="blocks.3.se") as trace:
        gates = trace["blocks.3.se"].gates[0]
    shown = re.findall(r"#(\d+) .* (\d\.\d{3})$", text_of(walk, "blocks.3.se"), re.MULTILINE)
    order = np.argsort(-gates, kind="stable")
    assert [int(channel) for channel, _ in shown] == [*order[:3], *order[-3:]]
    assert [float(gate) for _, gate in shown] == sorted((float(g) for _, g in shown), reverse=True)
    np.testing.assert_allclose([float(g) for _, g in shown], gates[[*order[:3], *order[-3:]]],
                               atol=5e-4)  # fmt: skip


def test_the_last_step_names_the_classes_as_classify_does(walk, net):
    best = net.classify(picture())
    assert [name for name, _ in walk.stops[-1].top] == [score.label for score in best.top]
    np.testing.assert_allclose([p for _, p in walk.stops[-1].top], [s.p for s in best.top])
    assert f"{best.label} " in text_of(walk, "classifier")


def test_dead_channels_are_counted(walk):
    stop = walk.stops[walk.jump("stem.conv")]
    dead = int((~stop.output[0].any(axis=(0, 1))).sum())
    assert f"{dead} of 8 channels dead" in text_of(walk, "stem.conv")


def test_the_strip_shows_where_one_is(walk):
    assert " 2[3]4 5 " in text_of(walk, "blocks.3.se", 80)
    assert "· ·[blocks.3]· ·" in text_of(walk, "blocks.3.se", 40)


def test_a_cell_is_two_pixels_in_the_colours_of_the_maps():
    paper = Paper(80, "truecolor", True)
    (line,) = paint(np.array([[0.0], [1.0]]), 0, 1, paper)
    (span,) = line.spans
    low, high = sequential()[[0, 255]].tolist()
    assert line.plain == "▀"
    assert list(span.style.color.triplet) == low and list(span.style.bgcolor.triplet) == high
    (line,) = paint_kernel(np.zeros((1, 1)), 1.0, 2, paper)
    assert list(line.spans[0].style.color.triplet) == diverging()[128].tolist()


def test_without_colour_characters_say_more_or_less_and_the_sign():
    paper = Paper(80, "none", False)
    assert [line.plain for line in paint(np.array([[0.0, 0.5, 1.0]]), 0, 1, paper)] == [" +@"]
    weights = np.array([[-1.0, 0.0, 1.0]])
    assert [line.plain for line in paint_kernel(weights, 1.0, 1, paper)] == ["##  @@"]


@pytest.mark.parametrize(
    ("env", "has", "lacks"),
    [
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, ("▀", "38;2;230;159;0m"), ("38;5;",)),
        ({"TERM": "xterm-256color", "COLORTERM": ""}, ("▀", "38;5;"), ("38;2;",)),
        ({"TERM": "vt220", "COLORTERM": ""}, ("\x1b[1m", "#"), ("▀", "38;2;", "38;5;")),
    ],
)
def test_colours_are_those_that_the_terminal_has(panda, tiny_model, env, has, lacks):
    argv = ("--engine", "reference", "--only", "blocks.3.mixconv", "--color", "always")
    done = spawn("step", panda, "--model", tiny_model, *argv, env=environment(**env))
    out = done.stdout.decode("utf-8")
    assert done.returncode == 0
    assert all(text in out for text in has) and not any(text in out for text in lacks)


def test_no_color_and_never_mean_no_escape_sequences(capsys, panda, tiny_model, monkeypatch):
    argv = ("--only", "blocks.3.mixconv")
    assert "\x1b" not in step(capsys, panda, tiny_model, *argv, "--color", "never").out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" in step(capsys, panda, tiny_model, *argv).out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in step(capsys, panda, tiny_model, *argv).out


def test_a_stream_without_unicode_gets_ascii_and_no_escapes(panda, tiny_model):
    env = environment(PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    argv = ("step", panda, "--model", tiny_model, "--engine", "reference", "--only", "blocks.3.*")
    done = spawn(*argv, env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "\\u" not in done.stdout.decode("ascii") and b"sum over di, dj" in done.stdout


@posix
def test_a_reader_that_leaves_ends_the_steps_quietly(panda, tiny_model):
    argv = command("step", panda, "--model", tiny_model, "--engine", "reference", "--all")
    with subprocess.Popen(
        argv, env=environment(COLUMNS="200"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0


# Walking, without a terminal.


def browser_of(walk, **options):
    return Browser(walk, View(walk, Paper(80, "none", True)).lines, **options)


def press(browser, keys):
    return all([browser.press(key) for key in keys])


def at(browser):
    return browser.walk.names[browser.place]


def test_next_and_previous_stay_within_the_network(walk):
    browser = browser_of(walk)
    assert press(browser, ["p", "left"]) and browser.place == 0
    assert press(browser, ["n", " ", "right"]) and browser.place == 3
    assert press(browser, ["G", "n", "n"]) and at(browser) == "classifier"
    assert press(browser, ["home"]) and browser.place == 0


def test_blocks_are_walked_forward_and_back(walk):
    browser = browser_of(walk, place=walk.jump("blocks.3.se"))
    press(browser, "b")
    assert at(browser) == "blocks.4.expand"
    press(browser, "nB")
    assert at(browser) == "blocks.4.expand"
    press(browser, "[")
    assert at(browser) == "blocks.3.expand"
    press(browser, "]" * 40)
    assert at(browser) == "classifier"
    press(browser, "B" * 40)
    assert at(browser) == "image"


def test_a_jump_completes_and_says_what_is_not_there(walk):
    browser = browser_of(walk)
    press(browser, [*"jblocks.13.m", "tab"])
    assert browser.typed == "blocks.13.mixconv"
    assert "jump to: blocks.13.mixconv" in browser.frame(80, 24)[-1].plain
    press(browser, ["enter"])
    assert at(browser) == "blocks.13.mixconv"
    press(browser, [*"jxx", "backspace", "enter"])
    assert "x: mixnet-pocket has no such node" in browser.frame(99, 24)[-1].plain
    assert at(browser) == "blocks.13.mixconv" and browser.mode == "walk"
    press(browser, [*"jstem", "escape"])
    assert at(browser) == "blocks.13.mixconv"


def test_a_batch_norm_s_name_leads_to_its_convolution(walk):
    assert walk.names[walk.jump("blocks.3.mixconv_bn")] == "blocks.3.mixconv"


def test_finding_goes_on_from_here_and_around(walk):
    browser = browser_of(walk)
    press(browser, [*"/squeeze", "enter"])
    first = browser.place
    assert at(browser) == "blocks.3.se"
    press(browser, ["/", "enter"])
    assert at(browser) == "blocks.4.se"
    while browser.place != first:
        before = browser.place
        press(browser, ["/", "enter"])
        assert browser.place > before or browser.place == first
    press(browser, [*"/zebra", "enter"])
    assert browser.message == "zebra: in no node's name or kind"
    with pytest.raises(UsageError, match="zebra"):
        walk.find("zebra", 0)


def test_quitting_and_help_and_unknown_keys(walk):
    for key in ("q", "escape", "end of input"):
        assert not browser_of(walk).press(key)
    browser = browser_of(walk)
    assert press(browser, ["?"])
    assert [line.plain for line in browser.frame(80, 30)][: len(HELP.splitlines())] == (
        HELP.splitlines()
    )
    assert press(browser, ["q"]) and browser.mode == "walk"
    assert press(browser, ["x"]) and "x: no such key" in browser.frame(80, 24)[-1].plain


@pytest.mark.parametrize("height", [2, 10, 24, 100])
def test_a_frame_fills_the_screen_and_scrolling_stays_within(walk, height):
    browser = browser_of(walk, place=walk.jump("blocks.3.mixconv"))
    whole = [line.plain for line in browser.lines(browser.place)]
    seen = set()
    for _ in range(len(whole)):
        frame = [line.plain for line in browser.frame(80, height)]
        assert len(frame) == height and all(len(line) <= 80 for line in frame)
        seen |= set(frame[:-1])
        press(browser, ["down"])
    assert set(whole) <= seen | {""}
    press(browser, ["page up"] * 20)
    assert browser.offset == 0


def test_lines_do_what_keys_do(walk):
    browser = browser_of(walk)
    assert press_line(browser, "") and browser.place == 1
    assert press_line(browser, "j blocks.3.se") and at(browser) == "blocks.3.se"
    assert press_line(browser, "/pool") and at(browser) == "pool"
    assert not press_line(browser, "q")


@given(st.text(st.characters(categories=("L", "N", "P", "S")), max_size=20))
def test_plain_characters_are_keys_of_their_own(text):
    assert split_keys(text) == list(text)


@given(st.lists(st.sampled_from(["\x1b[A", "\x1bOB", "\x1b[5~", "n", "\r", "\x1b[Z"])))
def test_keys_are_told_apart_however_they_come_together(sent):
    names = {"\x1b[A": ["up"], "\x1bOB": ["down"], "\x1b[5~": ["page up"], "\r": ["enter"]}
    names |= {"n": ["n"], "\x1b[Z": []}
    assert split_keys("".join(sent)) == [key for text in sent for key in names[text]]


@given(st.lists(st.text("ab.", min_size=1, max_size=5), min_size=1, unique=True), st.data())
def test_completing_keeps_every_name_that_was_possible(names, data):
    name = data.draw(st.sampled_from(names))
    typed = name[: data.draw(st.integers(0, len(name)))]
    longer = completed(typed, names)
    assert longer.startswith(typed)
    assert [n for n in names if n.startswith(longer)] == [n for n in names if n.startswith(typed)]


# With a terminal.


@contextmanager
def on_a_terminal(*argv, **env):
    """The process, and its terminal's other end."""
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*argv),
        stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True, start_new_session=True,
        env=environment(**({"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"} | env)),
    )  # fmt: skip
    try:
        yield process, ours, theirs
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def read_until(handle, wanted, seconds=30):
    """What the terminal shows until that text, without its escape sequences."""
    shown, until = "", time.monotonic() + seconds
    while wanted not in shown:
        ready, _, _ = select.select([handle], [], [], max(0, until - time.monotonic()))
        assert ready, f"{wanted!r} does not come; there is {shown[-500:]!r}"
        shown += os.read(handle, 65536).decode("utf-8", "replace")
        shown = re.sub(r"\x1b\[(?!\?)[0-9;]*[A-Za-z]", "", shown)
    return shown


@posix
def test_keys_walk_through_the_network_and_the_terminal_is_left_as_it_was(panda, tiny_model):
    import termios

    argv = ("step", panda, "--model", tiny_model, "--engine", "reference")
    with on_a_terminal(*argv) as (process, ours, theirs):
        before = termios.tcgetattr(theirs)
        assert "image  input" in read_until(ours, "q quit")
        assert not termios.tcgetattr(theirs)[3] & termios.ICANON
        os.write(ours, b"\x1b[C")
        read_until(ours, "stem.conv")
        os.write(ours, b"jblocks.13.m\t\r")
        read_until(ours, "blocks.13.mixconv  mixconv + batch norm + swish")
        os.write(ours, b"q")
        assert read_until(ours, "\x1b[?1049l").endswith("\x1b[?25h\x1b[?1049l")
        assert process.wait(timeout=30) == 0
        assert termios.tcgetattr(theirs) == before


@posix
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_the_terminal_as_it_was(panda, tiny_model, sent, code):
    import termios

    argv = ("step", panda, "--model", tiny_model, "--engine", "reference")
    with on_a_terminal(*argv) as (process, ours, theirs):
        before = termios.tcgetattr(theirs)
        read_until(ours, "q quit")
        process.send_signal(sent)
        read_until(ours, "\x1b[?1049l")
        assert process.wait(timeout=30) == code
        assert termios.tcgetattr(theirs) == before


@posix
def test_a_plain_terminal_is_walked_line_by_line_without_escapes(panda, tiny_model):
    argv = ("step", panda, "--model", tiny_model, "--engine", "reference")
    with on_a_terminal(*argv, TERM="dumb") as (process, ours, _):
        assert "\x1b" not in read_until(ours, "q quit: ")
        os.write(ours, b"j blocks.3.se\n")
        assert "gates" in read_until(ours, "q quit: ")
        os.write(ours, b"q\n")
        assert process.wait(timeout=30) == 0
