"""A network that ends at a node: the same numbers there, and nothing after it."""

from __future__ import annotations

import numpy as np
import pytest

from minimix.model import Model
from minimix.tolerances import SAME_NETWORK
from minimix.workflows.node_output import NodeOutput, cut_at
from tests.model_files import tiny_file
from tests.pictures import picture


@pytest.mark.parametrize("engine", ["reference", "auto"])
@pytest.mark.parametrize("node", ["image", "stem.conv", "blocks.1.mixconv", "blocks.1.se", "pool"])
def test_a_network_cut_at_a_node_gives_what_the_whole_one_passes_there(engine, node):
    model = Model(tiny_file(), engine=engine, threads=1)
    assert node in model.graph, [n.name for n in model.graph]
    x = model.preprocess([picture(seed=1), picture(seed=2)])
    cut = NodeOutput(model, node)
    cut.prepare()
    with Model(tiny_file(), engine="reference").trace(x, keep=node) as trace:
        values = trace[node].output
    found = cut(x)
    assert found.shape == (2, *cut.shape)
    assert np.abs(found - values).max() <= SAME_NETWORK * np.abs(values).max()


def test_a_cut_graph_holds_only_what_is_needed():
    assert [node.name for node in cut_at(tiny_file().graph, "stem.conv")] == ["image", "stem.conv"]
