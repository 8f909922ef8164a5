"""Fixtures of several test files."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

from minimix import weights
from minimix.dialect import DIALECTS, PIPELINES
from minimix.zoo import architecture, build
from tests.strategies import random_params

# A loaded machine is no error of the code under test, and nothing is written beside the tests.
settings.register_profile("minimix", deadline=None, database=None)
settings.load_profile("minimix")

# A shell has what it starts in the background ignore Ctrl-C, and all that this starts in turn.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """The path of a model file: pocket's blocks, 7 classes, 64 px, random weights."""
    arch, dialect = architecture("mixnet-pocket", num_classes=7), DIALECTS["timm"]
    file = weights.ModelFile(
        arch,
        dialect,
        PIPELINES["timm"].with_size(64),
        ("panda", "bear", "polar bear", "koala", "fox", "owl", "bus"),
        random_params(build(arch, dialect), seed=7),
        {
            "source": {
                "name": "random.pth",
                "sha256": "ab" * 32,
                "size_bytes": 12345,
                "container": "none",
            },
            "tool": "tests",
            "license": "none: random numbers",
            "tensors": {},
        },
    )
    path = tmp_path_factory.mktemp("models") / "tiny.h5"
    weights.save(path, file)
    return path


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory):
    """One folder of compiled kernels for all tests, processes that they start included."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIMIX_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield
