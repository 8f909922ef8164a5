"""What a mapping gives back: our parameters, and where each came from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from minimix.arrays import Array
from minimix.dialect import Dialect, Pipeline
from minimix.errors import GraphError, WeightsError
from minimix.graph import Graph, Node
from minimix.operators import Operator
from minimix.zoo import Architecture, build


@dataclass(frozen=True)
class Mapped:
    """A checkpoint under our names and in our layouts.

    Attributes:
        params: in the layouts of ``build(architecture, dialects[0])``.
        sources: our name -> the names it was made of.
        ignored: source names that were knowingly left out -> why.
        dialects: those that the tensors fit; several where the tensors cannot tell them apart.
        pipelines: those that the file fits; several where only whoever made it knows which.
        likely: name of the pipeline to take where nobody says; empty where none is likelier.
        normalises: whether the network's own graph normalises pictures, so that it decides
            channels, range, mean and std of every pipeline.
        labels: class names, where the file states them; then it states dialect, pipeline and
            licence too (``weights_tools.stated``).
        license: of the weights, as the file states it.
    """

    architecture: Architecture
    params: dict[str, Array]
    sources: dict[str, tuple[str, ...]]
    ignored: dict[str, str]
    dialects: tuple[Dialect, ...]
    pipelines: tuple[Pipeline, ...]
    likely: str = ""
    normalises: bool = False
    labels: tuple[str, ...] = ()
    license: str = ""

    @property
    def is_stated(self) -> bool:
        """Whether the file itself says what its tensors cannot."""
        return bool(self.labels)


def fill(
    arch: Architecture,
    tensors: Mapping[str, Array],
    *,
    source_name: Callable[[Node, str], str],
    to_ours: Callable[[Array, Operator], Array],
    ignored: dict[str, str],
    dialects: tuple[Dialect, ...],
    pipeline: Pipeline,
) -> Mapped:
    """Fill every parameter of an architecture from the one source tensor that it is made of.

    Args:
        source_name: node and the parameter's name within it (``0.weight``) -> the source's name.
        to_ours: source array and our operator -> the array in our layout.

    Raises:
        WeightsError: a tensor is missing, misshapen, used twice or left over.
    """
    try:
        graph = build(arch, dialects[0])
    except GraphError as error:
        raise WeightsError(f"the tensors' widths do not fit together: {error}") from error
    params: dict[str, Array] = {}
    sources: dict[str, tuple[str, ...]] = {}
    for node in graph:
        for name in graph.param_names[node.name]:
            source = source_name(node, name[len(node.name) + 1 :])
            if source not in tensors:
                raise WeightsError(f"{source}: missing; {name} of {arch.name} is made of it")
            array = to_ours(tensors[source], node.operator)
            if array.shape != graph.param_shapes[name]:
                raise WeightsError(
                    f"{source}: gives {array.shape}, but {name} of {arch.name} is "
                    f"{graph.param_shapes[name]}"
                )
            params[name], sources[name] = array, (source,)
    mapped = Mapped(arch, params, sources, ignored, dialects, (pipeline,))
    check_all_used(tensors, mapped, graph)
    return mapped


def check_all_used(names: Iterable[str], mapped: Mapped, graph: Graph) -> None:
    """Check that every source tensor is used once, or knowingly ignored.

    Raises:
        WeightsError: names what is left over, or used twice.
    """
    used = [name for sources in mapped.sources.values() for name in sources]
    once = set(used)
    left_over = [name for name in names if name not in once and name not in mapped.ignored]
    twice = sorted({name for name in used if used.count(name) > 1})
    for what, found in (("left over", left_over), ("used twice", twice)):
        if found:
            more = f" and {len(found) - 5} more" if len(found) > 5 else ""
            raise WeightsError(
                f"{len(found)} tensors {what} after {graph.name} was filled: "
                f"{', '.join(found[:5])}{more}"
            )
