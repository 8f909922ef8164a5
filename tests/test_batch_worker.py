"""What runs in a worker's process: rows are those of the model, alone or not, from any chunk."""

from __future__ import annotations

import os
import socket

import numpy as np
import pytest
from PIL import Image

import minimix
from minimix.errors import UsageError
from minimix.ops import softmax
from minimix.workflows.batching import worker
from minimix.workflows.batching.chunks import FileChunk
from minimix.workflows.batching.worker import Options, classify_chunk, install, rows_of
from tests.pictures import picture


@pytest.fixture(scope="module")
def model():
    return minimix.load("mixnet-pocket", engine="reference")


@pytest.fixture
def chunk(tmp_path):
    """Six pictures, of which one is broken and one is gone."""
    for n in range(5):
        Image.fromarray(picture(seed=n)).save(tmp_path / f"{n}.png")
    (tmp_path / "2.png").write_bytes(b"no picture")
    return FileChunk(tuple(str(tmp_path / f"{n}.png") for n in range(6)))


@pytest.mark.parametrize("waits", [False, True])  # in line, or fetched by threads
def test_rows_are_those_of_the_model_one_by_one(model, chunk, monkeypatch, waits):
    monkeypatch.setattr(FileChunk, "waits", waits)
    rows = rows_of(model, chunk, range(1, 6), Options(top=3, batch_size=2))
    assert sorted(rows.failed) == [1, 4]
    assert rows.failed[1].startswith("not an image")
    assert rows.failed[4].startswith("no such file")
    for place, name in ((0, "1"), (2, "3"), (3, "4")):
        logits = model(model.preprocess(chunk.files[int(name)]))[0]
        best = np.argsort(-logits, kind="stable")[:3]
        assert rows.values["index"][place].tolist() == best.tolist()
        assert rows.values["p"][place] == pytest.approx(softmax(logits)[best], abs=1e-6)


def test_a_task_says_which_process_did_it_and_what_that_held(model, chunk, monkeypatch):
    monkeypatch.setattr(worker, "_models", {})
    install("key", model, minimix.__version__)
    done = classify_chunk("key", chunk, 0, 2, Options())
    assert len(done.rows) == 2 and not done.rows.failed
    assert done.process == f"{socket.gethostname()}:{os.getpid()}"
    assert 10 * 2**20 < done.peak_bytes < 2**40


def test_a_model_that_is_not_there_is_said(chunk, monkeypatch):
    monkeypatch.setattr(worker, "_models", {})
    with pytest.raises(UsageError, match="could not load the model"):
        classify_chunk("key", chunk, 0, 1, Options())


def test_another_version_is_refused(model):
    with pytest.raises(UsageError, match=r"has minimix .*and the run is of 0\.0\.0; install"):
        install("key", model, "0.0.0")
