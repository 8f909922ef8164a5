"""Which dialect and pipeline a network's own graph gets: told, likely, asked for, or an error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minimix.errors import UsageError
from tests.graph_networks import plain
from weights_tools.choices import choose_dialect, choose_pipeline
from weights_tools.mappings.graphs.mapping import map_topology
from weights_tools.mappings.mapped import Mapped
from weights_tools.readers.checkpoint import Checkpoint

IMAGENET: dict[str, Any] = {
    "mean": (123.675, 116.28, 103.53),
    "std": (58.395, 57.12, 57.375),
}
BGR: dict[str, Any] = {what: numbers[::-1] for what, numbers in IMAGENET.items()}


def network(name: str = "net.xml", **form: Any) -> tuple[Checkpoint, Mapped]:
    """A network's graph under a file's name, and what it maps to."""
    checkpoint = replace(plain(container="openvino-ir", **form).checkpoint, path=Path(name))
    return checkpoint, map_topology(checkpoint)


# Where every input of stride 2 is odd, TensorFlow's padding and PyTorch's put zeros alike.
AMBIGUOUS = [33, 65, 225]


@pytest.mark.parametrize("size", AMBIGUOUS)
def test_at_an_odd_size_a_graph_is_of_either_padding_and_a_name_of_timm_s_decides(
    size: int,
) -> None:
    checkpoint, mapped = network("tf_mixnet_s.xml", size=size)
    dialect, reason = choose_dialect(checkpoint, mapped, None)
    assert (dialect.name, reason) == ("timm-tf", "from the release's name, tf_mixnet_*")
    checkpoint, mapped = network(size=size)
    with pytest.raises(
        UsageError,
        match=rf"^net\.xml: at its input of {size} pixels, TensorFlow's padding and PyTorch's "
        "put zeros at the same places; say which: --dialect timm or --dialect timm-tf$",
    ):
        choose_dialect(checkpoint, mapped, None)


@pytest.mark.parametrize("size", AMBIGUOUS)
@pytest.mark.parametrize("name", ["net.xml", "tf_mixnet_s.xml", "mixnet_s.xml"])
def test_a_name_of_timm_s_decides_nothing_where_the_choice_is_another(name: str, size: int) -> None:
    checkpoint, mapped = network(name, size=size, **BGR)
    assert [dialect.name for dialect in mapped.dialects] == ["timm", "omz"]
    with pytest.raises(UsageError, match="say which: --dialect timm or --dialect omz$"):
        choose_dialect(checkpoint, mapped, None)
    assert choose_dialect(checkpoint, mapped, "omz")[0].padding == "same"
    assert choose_dialect(checkpoint, mapped, "timm")[0].padding == "symmetric"


def test_pictures_that_the_network_normalises_as_bgr_are_open_model_zoo_s_unless_asked() -> None:
    checkpoint, mapped = network(**BGR)
    pipeline, reason = choose_pipeline(checkpoint, mapped, None)
    assert (pipeline.name, pipeline.crop, pipeline.channels) == ("omz", "center-fraction", "BGR")
    assert reason == (
        "the likeliest: the network normalises BGR; if it is another: "
        "--pipeline timm or tensorflow or mindcv"
    )
    asked, reason = choose_pipeline(checkpoint, mapped, "tensorflow")
    assert (asked.name, asked.crop, reason) == ("tensorflow", "center-square", "as asked for")
    # What the network does itself no option changes.
    for what in ("channels", "range", "mean", "std", "size"):
        assert getattr(asked, what) == getattr(pipeline, what)


@pytest.mark.parametrize("form", [{}, IMAGENET])
def test_the_pipeline_of_a_graph_is_never_guessed(form: dict[str, Any]) -> None:
    checkpoint, mapped = network(**form)
    with pytest.raises(UsageError, match="say which: --pipeline timm or tensorflow or mindcv or "):
        choose_pipeline(checkpoint, mapped, None)
    with pytest.raises(UsageError, match="'keras' was asked for, the file is made for timm or "):
        choose_pipeline(checkpoint, mapped, "keras")


def test_a_name_that_a_file_chose_is_quoted_in_messages() -> None:
    checkpoint, mapped = network()
    named = replace(mapped.dialects[0], name="a\nb" * 500)
    stated = replace(mapped, dialects=(named,), labels=tuple("abcde"))
    with pytest.raises(UsageError, match="the file states 'a.nba") as caught:
        choose_dialect(checkpoint, stated, "timm")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300
