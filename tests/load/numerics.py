"""How far each engine is from float64, layer by layer, in units of the last place of float32.

    python -m tests.load.numerics --model mixnet-pocket ../shared/reference/timm/mixnet_s.pth

A model is a name, a model file, or a checkpoint of any framework that can be converted.  What is
right is the reference engine in float64, on the float32 parameters and pictures; what is measured
is the reference engine, the compiled one as it runs (optimised), and PyTorch where it is installed,
each from the pictures to that layer.  ``--checkpoint`` has timm itself compute, from its own file.

A unit is the last place of the largest number that a picture has in the layer, or of each number
(of which many are nearly zero, where a unit is next to nothing).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

import minimix
from minimix.engine import has_numba
from minimix.engine.reference import ReferenceEngine
from minimix.errors import MinimixError
from minimix.model import Model
from minimix.operators import Add, GlobalAveragePool
from tests.load.numerics_drawing import drawing
from weights_tools.convert import read_model
from weights_tools.verify import recorded_layers

PACKAGED = Path(minimix.__file__).parent / "data" / "pictures"
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
PERCENTILES = (50, 99, 100)


@dataclass(frozen=True)
class Errors:
    """In ULP: percentiles 50, 99 and 100 of a layer; the root mean square of each picture.

    Attributes:
        of_largest: in the last place of a picture's largest number.
        of_each: in the last place of each number.
    """

    of_largest: tuple[float, ...]
    of_each: tuple[float, ...]
    rms: np.ndarray


def ulp(values):
    """Distance from |value| to the next float32, as float64.

    >>> float(ulp(1.5) * 2**23)
    1.0
    """
    return np.spacing(np.abs(values).astype(np.float32)).astype(np.float64)


def errors(found, exact):
    """Two arrays of one shape -> how far the first is from the second."""
    found, exact = (array.reshape(len(exact), -1) for array in (found, exact))
    off = np.abs(found.astype(np.float64) - exact)
    scaled = off / ulp(np.abs(exact).max(axis=1, keepdims=True))
    each = off / ulp(exact)
    return Errors(
        tuple(np.percentile(scaled, PERCENTILES).tolist()),
        tuple(np.percentile(each, PERCENTILES).tolist()),
        np.sqrt(np.mean(scaled**2, axis=1)),
    )


def layers_of(graph):
    """Names of the nodes that are looked at: each stage's last, the logits among them."""
    return (*recorded_layers(graph), *graph.outputs)


def exact(model, x):
    """Layer -> its float64 array."""
    params = {name: array.astype(np.float64) for name, array in model.file.params.items()}
    return by_reference(model.graph, params, x.astype(np.float64))


def by_reference(graph, params, x):
    engine, names = ReferenceEngine(graph, params), layers_of(graph)
    found = {}
    engine.run(x, lambda node, y: found.update({node.name: y}) if node.name in names else None)
    return found


def by_compiled(graph, params, x):
    """The graph is optimised up to the layers; the logits are those of the graph as it is."""
    from minimix.engine.compiled import CompiledEngine

    names = layers_of(graph)
    shown = replace(graph, outputs=names)
    found = dict(zip(names, CompiledEngine(shown, params).run(x), strict=True))
    (found[graph.outputs[0]],) = CompiledEngine(graph, params).run(x)
    return found


def by_torch(graph, params, x):
    """PyTorch's own operators, node by node, with the same parameters."""
    import torch

    from weights_tools.torch_net import TorchNet

    net = TorchNet(graph, x.shape[1]).eval()
    net.load_params(params)
    alive = {graph.nodes[0].name: torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))}
    with torch.inference_mode():
        for node in graph.nodes[1:]:
            inputs = [alive[name] for name in node.inputs]
            if isinstance(node.operator, Add):
                alive[node.name] = inputs[0] + inputs[1]
            elif isinstance(node.operator, GlobalAveragePool):
                alive[node.name] = inputs[0].mean((2, 3))
            else:
                alive[node.name] = net.by_node[node.name.replace(".", "/")](inputs[0])
    return {name: pixels_first(alive[name].numpy()) for name in layers_of(graph)}


def by_timm(checkpoint, name, graph, x):
    """The released implementation with its own file."""
    import torch

    # timm imports torchvision, whose wheel of another index lacks two operators that it declares.
    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou) -> Tensor")
    import timm

    net = timm.create_model(name, checkpoint_path=str(checkpoint)).eval()
    blocks = [block for stage in net.blocks for block in stage]
    places = [net.bn1, *blocks, net.bn2, net.global_pool, net.classifier]
    found = {}
    for layer, module in zip(layers_of(graph), places, strict=True):
        module.register_forward_hook(
            lambda _, __, y, layer=layer: found.update({layer: pixels_first(y.numpy())})
        )
    with torch.inference_mode():
        net(torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))))
    return found


def pixels_first(array):
    """(N, C, H, W) -> (N, H, W, C); a vector as it is."""
    return np.moveaxis(array, 1, -1) if array.ndim == 4 else array


def engines(model, x, *, torch=True, checkpoint=None, peer_model="mixnet_s"):
    """Label -> layer -> array, of every engine that can be had, PyTorch unless it is unwanted."""
    graph, params = model.graph, model.file.params
    found = {"reference": by_reference(graph, params, x)}
    if has_numba():
        found["compiled"] = by_compiled(graph, params, x)
    if checkpoint:
        found["PyTorch"] = by_timm(checkpoint, peer_model, graph, x)
    elif torch and find_spec("torch"):
        found["PyTorch"] = by_torch(graph, params, x)
    return found


def measure(model, x, **options):
    """Label -> layer -> its errors."""
    right = exact(model, x)
    return {
        label: {name: errors(layers[name], y) for name, y in right.items()}
        for label, layers in engines(model, x, **options).items()
    }


def opened(text):
    """A model's name, its file, or a checkpoint -> the model, on the reference engine."""
    try:
        return minimix.load(text, engine="reference")
    except MinimixError:
        return Model(read_model(Path(text)).model, engine="reference")


def report(title, measured):
    """A table a model: per layer the errors; then how the compiled engine stands to PyTorch."""
    labels = list(measured)
    print(
        f"\n{title}: ULP of a picture's largest number, 50 % / 99 % / largest (each number's 50 %)"
    )
    print("| layer | " + " | ".join(labels) + " |")
    print("|---" * (len(labels) + 1) + "|")
    for name in measured[labels[0]]:
        cells = []
        for label in labels:
            found = measured[label][name]
            cells.append(
                " / ".join(f"{u:.2f}" for u in found.of_largest) + f" ({found.of_each[0]:.2f})"
            )
        print(f"| {name} | " + " | ".join(cells) + " |")
    if {"compiled", "PyTorch"} <= set(labels):
        compare(measured["compiled"], measured["PyTorch"])


class Ratio(NamedTuple):
    """One engine's root mean squares over another's, picture by picture.

    One picture's numbers share most of their error with each other, and which of two ways to round
    is luckier differs from picture to picture.  Some networks blow up some pictures, with errors a
    hundred times those of the others: each counts once, by its ratio.

    Attributes:
        mean: of the pictures' ratios, the geometric one.
        low: with ``high``, holds nine in ten such means of pictures drawn again from these.
        pictures: the ratio of each.
    """

    mean: float
    low: float
    high: float
    pictures: np.ndarray


def ratio(ours, theirs):
    """Two engines' errors in one layer -> how the first stands to the second."""
    # Less than a hundredth of a unit is as good as exact: an empty picture, say.
    ours, theirs = (np.maximum(e.rms, 0.01) for e in (ours, theirs))
    logs = np.log(ours / theirs)
    drawn = np.random.default_rng(0).choice(logs, (2000, len(logs))).mean(axis=1)
    return Ratio(*np.exp([logs.mean(), *np.percentile(drawn, (5, 95))]).tolist(), ours / theirs)


def compare(ours, theirs):
    """Print how the compiled engine's errors stand to PyTorch's."""
    (*layers, last) = (ratio(ours[name], theirs[name]) for name in ours)
    found, sure = [r.mean for r in layers], sum(r.low > 1 for r in layers)
    low, high = np.percentile(last.pictures, (25, 75))
    print(
        f"compiled over PyTorch, of {len(last.pictures)} pictures: layers {min(found):.2f}.."
        f"{max(found):.2f}, median {np.median(found):.2f}, above 1 in {sum(r > 1 for r in found)} "
        f"of {len(layers)} (nine in ten sure in {sure}); logits {last.mean:.2f} ({last.low:.2f}.."
        f"{last.high:.2f}; of a picture {low:.2f}..{high:.2f}, the middle half)"
    )


def pictures_of(folder, count):
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
    return found[:: max(len(found) // count, 1)][:count]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["mixnet-pocket"])
    parser.add_argument("--pictures", type=Path, default=PACKAGED, help="a folder of them")
    parser.add_argument("--count", type=int, default=24, help="how many pictures")
    parser.add_argument("--checkpoint", type=Path, help="one model's weights as timm has them")
    parser.add_argument("--peer-model", default="mixnet_s", help="timm's name of it")
    parser.add_argument("--svg", type=Path, help="draw the errors here")
    arguments = parser.parse_args()
    if arguments.checkpoint and len(arguments.model) > 1:
        parser.error("--checkpoint is of one model: give one --model")
    drawn = {}
    for text in arguments.model:
        model = opened(text)
        x = model.preprocess(pictures_of(arguments.pictures, arguments.count))
        measured = measure(
            model, x, checkpoint=arguments.checkpoint, peer_model=arguments.peer_model
        )
        title = f"{model.name} ({model.file.dialect.name}), {len(x)} pictures, {model.size} px"
        report(title, measured)
        drawn[title] = measured
    if arguments.svg:
        arguments.svg.write_text(drawing(drawn), "utf-8")


if __name__ == "__main__":
    main()
