"""Pictures decoded ahead: order, bounds, and nobody waits for an input that is not there yet."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import count

import numpy as np
import pytest
from PIL import Image

import minimix as mx
from minimix.errors import InputError, UsageError
from minimix.inputs import Input
from minimix.workflows import decoding
from minimix.workflows.decoding import decode_ahead, decoded_batches
from tests.cli import command, environment
from tests.pictures import encoded, picture

PATIENCE_S = 60


@pytest.fixture(scope="module")
def model(tiny_model):
    return mx.load(tiny_model, engine="reference", threads=2)


def source(n):
    return Input(str(n), lambda: picture(seed=n))


def names(batches):
    return [[key for key, _ in batch] for batch in batches]


def decoding_threads():
    return [t for t in threading.enumerate() if t.name.startswith("minimix-decode")]


@pytest.mark.parametrize("size", [1, 3, 16])
@pytest.mark.parametrize("total", [0, 1, 3, 10])
def test_batches_hold_every_picture_once_and_in_order(model, size, total):
    items = [(n, source(n)) for n in range(total)]
    batches = list(decoded_batches(model, items, exif="apply", size=size))
    assert [key for batch in names(batches) for key in batch] == list(range(total))
    assert all(1 <= len(batch) <= size for batch in batches)
    for batch in batches:
        for n, x in batch:
            assert np.array_equal(x, model.preprocess(picture(seed=n)))
    assert decoding_threads() == []


def test_a_picture_does_not_wait_for_one_that_has_not_arrived(model):
    arrived = threading.Event()

    def items():
        yield 0, source(0)
        assert arrived.wait(PATIENCE_S)
        yield 1, source(1)

    batches = decoded_batches(model, items(), exif="apply", size=16)
    assert names([next(batches)]) == [[0]]
    arrived.set()
    assert names(batches) == [[1]]


def test_a_picture_waits_only_a_moment_for_one_that_is_slow_to_open(model):
    opened = threading.Event()

    def slow():
        assert opened.wait(PATIENCE_S)
        return picture(seed=1)

    items = [(0, source(0)), (1, Input("slow", slow)), (2, source(2))]
    batches = decoded_batches(model, items, exif="apply", size=16, threads=2)
    assert names([next(batches)]) == [[0]]
    opened.set()
    assert [n for batch in names(batches) for n in batch] == [1, 2]


def test_pictures_that_are_ready_are_computed_together(model, monkeypatch):
    monkeypatch.setattr(decoding, "PATIENCE_S", PATIENCE_S)
    opened = threading.Event()

    def first():
        assert opened.wait(PATIENCE_S)
        return picture(seed=0)

    def items():
        yield 0, Input("first", first)
        yield from ((n, source(n)) for n in range(1, 8))
        opened.set()

    batches = decoded_batches(model, items(), exif="apply", size=4, threads=2)
    assert names(batches) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_inputs_are_read_no_further_than_two_batches_ahead(model):
    read = []

    def items():
        for n in count():
            read.append(n)
            yield n, source(n)

    batches = decoded_batches(model, items(), exif="apply", size=3)
    for _ in range(5):
        last = next(batches)[-1][0]
        # Twice three, what the batch still holds, and one that was asked for and waits for room.
        assert max(read) <= last + 6 + 2
    batches.close()
    time.sleep(0.05)
    ended = len(read)
    time.sleep(0.05)
    assert len(read) == ended and decoding_threads() == []


def test_what_a_picture_lacks_is_in_its_place(model):
    def missing():
        raise InputError("lost: no such file")

    items = [(0, source(0)), (1, Input("lost", missing)), (2, source(2))]
    entries = [x for batch in decoded_batches(model, items, exif="apply", size=2) for x in batch]
    assert [isinstance(x, InputError) for _, x in entries] == [False, True, False]
    assert decoding.reason(items[1][1], entries[1][1]) == "no such file"


@pytest.mark.parametrize("where", ["opening", "listing"])
def test_an_error_that_is_no_input_s_is_raised_where_the_batches_are_asked_for(model, where):
    def fail():
        raise MemoryError(where)

    def items():
        yield 0, source(0)
        if where == "listing":
            fail()
        yield 1, Input("1", fail)

    with pytest.raises(MemoryError, match=where):
        list(decoded_batches(model, items(), exif="apply", size=1))
    assert decoding_threads() == []


def test_whoever_leaves_early_does_not_wait_for_a_slow_input(model, monkeypatch):
    monkeypatch.setattr(decoding, "FAREWELL_S", 0.05)
    opened = threading.Event()

    def slow():
        opened.wait(PATIENCE_S)
        return picture()

    entries = decode_ahead(
        model, [(0, source(0)), (1, Input("slow", slow))], exif="apply", ahead=2, threads=2
    )
    next(entries)
    start = time.monotonic()
    entries.close()
    assert time.monotonic() - start < PATIENCE_S / 2
    opened.set()


@pytest.mark.parametrize(("asked", "expected"), [(None, 2), (1, 1), (3, 3)])
def test_the_model_s_threads_decode_unless_others_are_asked_for(model, asked, expected):
    entries = decode_ahead(model, [(0, source(0))], exif="apply", ahead=1, threads=asked)
    next(entries)
    assert len(decoding_threads()) == expected
    entries.close()


def test_a_number_of_threads_that_cannot_be_is_refused(model):
    with pytest.raises(UsageError, match="threads is 0"):
        list(decode_ahead(model, [(0, source(0))], exif="apply", ahead=1, threads=0))


@pytest.fixture
def listing(tiny_model, tmp_path):
    """``classify`` on a list that is still being written, and the path of a picture."""
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.fromarray(picture())))
    argv = ("classify", "--from-file", "-", "--model", tiny_model, "--engine", "reference")
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    argv = command(*argv, "--format", "ndjson")
    with subprocess.Popen(argv, env=environment(), bufsize=0, **pipes) as process:
        yield process, os.fsencode(path)
        process.kill()


def test_the_first_result_comes_while_the_list_is_still_open(listing):
    process, path = listing
    for n in range(3):
        process.stdin.write(path + b"\n")
        assert json.loads(process.stdout.readline())["ok"], n
    out, err = process.communicate(b"nowhere.png\n", timeout=PATIENCE_S)
    assert json.loads(out)["error"].startswith("no such file")
    assert process.returncode == 3 and err.endswith(b"1 of 4 inputs failed\n")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_ctrl_c_ends_a_run_that_waits_for_its_list(listing):
    process, path = listing
    process.stdin.write(path + b"\n")
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 130
    assert process.stderr.read() == b"interrupted: 1 inputs are done; name the rest to go on\n"
