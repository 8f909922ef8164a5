"""Record what timm computes for the narrow networks of ``seeded.py``; needs PyTorch and timm.

Run from the repository's root: python -m tests.golden.make_timm

The files beside this script hold, per network: ``shapes`` (JSON: timm's names and shapes, in its
order), ``logits`` and ``logits_f64`` (N, classes), ``layers`` (stem, blocks and head after their
last step, then the pooled features), ``layer_sizes`` and ``layer_values`` (layers, N, samples) at
``seeded.sample_positions`` of timm's own (C, H, W) order, and ``versions``.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import timm
import torch
from timm.models import efficientnet

from tests.golden.seeded import CASES, Case, pictures, sample_positions, state_dict


def build(case: Case) -> Any:
    """Let timm's own function describe the network, with a head of another width."""

    def create(variant: str, pretrained: bool, **kwargs: Any) -> torch.nn.Module:
        return efficientnet.EfficientNet(**(kwargs | {"num_features": case.head}))

    options: dict[str, Any] = {"num_classes": case.classes}
    if case.tensorflow:
        options |= {"pad_type": "same", "bn_eps": 1e-3}
    if case.variant == "m":
        options["depth_multiplier"] = case.depth_multiplier
    generators: Any = {"s": efficientnet._gen_mixnet_s, "m": efficientnet._gen_mixnet_m}
    with mock.patch.object(efficientnet, "_create_effnet", create):
        return generators[case.variant](
            case.name, channel_multiplier=case.channel_multiplier, **options
        ).eval()


def observed(net: Any) -> dict[str, torch.nn.Module]:
    """Our names of the recorded layers -> timm's modules whose results they are."""
    blocks = [block for stage in net.blocks for block in stage]
    return {
        "stem": net.bn1,
        **{f"blocks.{n}": block for n, block in enumerate(blocks)},
        "head": net.bn2,
        "pool": net.global_pool,
    }


def record(case: Case) -> dict[str, Any]:
    """Fill the network with seeded weights, run it on seeded pictures, keep samples."""
    net = build(case)
    shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    drawn = state_dict(shapes, case.seed)
    net.load_state_dict({name: torch.from_numpy(array) for name, array in drawn.items()})
    seen: dict[str, np.ndarray] = {}

    def keep(name: str, module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
        seen[name] = output.numpy().reshape(len(output), -1)

    hooks = [m.register_forward_hook(partial(keep, name)) for name, m in observed(net).items()]
    x = torch.from_numpy(np.ascontiguousarray(pictures(case).transpose(0, 3, 1, 2)))
    logits = net(x).numpy()
    for hook in hooks:
        hook.remove()
    values = [v[:, sample_positions(case, name, v.shape[1])] for name, v in seen.items()]
    for name, layer in seen.items():
        print(f"  {name}: std {layer.std():.3g}, largest {abs(layer).max():.3g}")
    return {
        "shapes": json.dumps(shapes),
        "logits": logits,
        "logits_f64": net.double()(x.double()).numpy(),
        "layers": np.array(list(seen)),
        "layer_sizes": np.array([v.shape[1] for v in seen.values()]),
        "layer_values": np.array(values),
        "versions": f"timm {timm.__version__}, torch {torch.__version__}",
    }


def main() -> None:
    """Write one file per network."""
    torch.set_num_threads(1)
    for case in CASES.values():
        print(case.name)
        with torch.no_grad():
            recording = record(case)
        print("  logits", recording["logits"].round(2).tolist())
        np.savez_compressed(Path(__file__).parent / f"{case.name}.npz", **recording)


if __name__ == "__main__":
    main()
