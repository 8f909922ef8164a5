"""Recordings for the tests of the explorer, made once, and what reads them."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache

import numpy as np

from minimix.engine import has_numba
from minimix.explorer import record
from minimix.model import Model, load
from minimix.weights import ModelFile
from minimix.workflows.startup import sample_picture
from tests.model_files import tiny_file

PANDA = sample_picture()
BUS = PANDA.parents[1] / "bus" / "1.png"


@cache
def pocket() -> Model:
    """The embedded model, on the engine that is the default here."""
    return load("mixnet-pocket", engine="compiled" if has_numba() else "reference")


def tiny(**changes) -> Model:
    """A network of three blocks on the reference engine."""
    file: ModelFile = tiny_file(**changes)
    return Model(file, engine="reference")


@cache
def single():
    """The pocket model on the panda, with times."""
    return record(pocket(), PANDA, machine="a machine")


@cache
def pair():
    """The pocket model on the panda and the bus, without times."""
    return record(pocket(), PANDA, compare=BUS, times=False)


@cache
def small():
    """The tiny network on two pictures, with times."""
    return record(tiny(), PANDA, compare=BUS)


# Made when a test asks, not when tests are collected: compiling needs the tests' own cache.
RECORDS = {"single": single, "pair": pair, "small": small}


def edited(found, change):
    """A recording with its document changed by ``change(document)``."""
    document = copy.deepcopy(found.document)
    change(document)
    return replace(found, document=document)


def node(found, name):
    (it,) = [node for node in found.document["nodes"] if node["name"] == name]
    return it


def input_of(found, p):
    """(size, size, 3) float32, as the format says."""
    given = found.document["pictures"][p]["input"]
    values = found.array(given["values"])
    if given["levels"] is None:
        return values
    levels, indices = found.array(given["levels"]), values.astype(int)
    return np.stack([levels[c][indices[..., c]] for c in range(3)], axis=-1)


def maps_of(found, entry, p):
    """(channels, H, W), dequantised, and half a step of each channel."""
    maps = entry["maps"]
    low, high = (np.array(maps[key])[:, None, None] for key in ("low", "high"))
    steps = found.array(maps["values"][p])
    return low + steps * (high - low) / 255, (high - low) / 510
