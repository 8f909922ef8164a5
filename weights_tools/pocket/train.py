"""Train mixnet-pocket on drawn pictures.  Run by hand, where PyTorch is installed.

    python -m weights_tools.pocket.train --out run/ --pictures 400000 --seed 20261121

Writes ``run/params.npz`` (our names and layouts, the exponential moving average of the weights)
and ``run/curve.ndjson`` (one row per hundred steps).  ``weights_tools.pocket.pack`` makes the
model file of it.  Pictures come from a process of their own, gradient steps from this one.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minimix.dialect import DIALECTS, PIPELINES
from minimix.zoo import FAMILIES, architecture, build
from weights_tools.pocket.pictures import SIZE, batch
from weights_tools.torch_net import TorchNet

BATCH = 128
PEAK_RATE = 4e-3
WEIGHT_DECAY = 0.03
LABEL_SMOOTHING = 0.05
WARMUP_STEPS = 300
AVERAGE_DECAY = 0.998
HELD_OUT_SEED = 777_001  # disjoint from every training seed a person would type


def draw_batch(task: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """(seed, first picture) -> pictures, classes.  Runs in the drawing process."""
    seed, start = task
    return batch(seed, start, BATCH)


def to_input(pictures: np.ndarray) -> Tensor:  # type: ignore[type-arg]
    """(N, 109, 109, 3) uint8 -> (N, 3, 96, 96) float32: timm's crop and normalisation."""
    pipeline, side = PIPELINES["timm"], FAMILIES["mixnet-pocket"].size
    first = round((SIZE - side) / 2)
    crop = torch.from_numpy(pictures[:, first : first + side, first : first + side])
    x = crop.permute(0, 3, 1, 2).float().div_(255)  # channels last in memory, as torch likes it
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (pipeline.mean, pipeline.std))
    return (x - mean) / std


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    if step < WARMUP_STEPS:
        return PEAK_RATE * (step + 1) / WARMUP_STEPS
    done = (step - WARMUP_STEPS) / max(1, steps - WARMUP_STEPS)
    return PEAK_RATE * 0.5 * (1 + math.cos(math.pi * done))


def parameter_groups(net: nn.Module) -> list[dict[str, object]]:
    """Weight decay for matrices and kernels only, not for scales and biases."""
    decayed = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": WEIGHT_DECAY},
        {"params": plain, "weight_decay": 0.0},
    ]


@torch.no_grad()
def update_average(average: nn.Module, net: nn.Module, step: int) -> None:
    """Move the averaged weights, and batch-norm statistics, towards the current ones."""
    decay = min(AVERAGE_DECAY, (1 + step) / (10 + step))
    ours, theirs = average.state_dict(), net.state_dict()
    for name, value in ours.items():
        if value.is_floating_point():
            value.lerp_(theirs[name], 1 - decay)


@torch.no_grad()
def accuracy(net: nn.Module, pictures: np.ndarray, classes: np.ndarray) -> float:  # type: ignore[type-arg]
    """Top-1 share on pictures that were not trained on."""
    net.eval()
    right = 0
    for start in range(0, len(pictures), BATCH):
        logits = net(to_input(pictures[start : start + BATCH]))
        right += int((logits.argmax(1).numpy() == classes[start : start + BATCH]).sum())
    return right / len(pictures)


def batches(seed: int, steps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:  # type: ignore[type-arg]
    """Training batches in order, drawn ahead by one process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        waiting = [pool.apply_async(draw_batch, ((seed, n * BATCH),)) for n in range(min(8, steps))]
        for step in range(steps):
            yield waiting.pop(0).get()
            ahead = step + 8
            if ahead < steps:
                waiting.append(pool.apply_async(draw_batch, ((seed, ahead * BATCH),)))


def train(out: Path, pictures: int, seed: int) -> None:
    """Train from scratch; the result is a function of the arguments, up to rounding."""
    torch.manual_seed(seed)
    family = FAMILIES["mixnet-pocket"]
    graph = build(architecture("mixnet-pocket"), DIALECTS["timm"])
    net = TorchNet(graph, family.size).to(memory_format=torch.channels_last)
    average = TorchNet(graph, family.size).to(memory_format=torch.channels_last)
    average.load_state_dict(net.state_dict())
    optimizer = torch.optim.AdamW(parameter_groups(net), lr=PEAK_RATE)
    steps = pictures // BATCH
    held_out = batch(HELD_OUT_SEED, 0, 512, family="held_out")
    out.mkdir(parents=True, exist_ok=True)
    started, losses = time.monotonic(), []
    for step, (images, classes) in enumerate(batches(seed, steps)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        net.train()
        logits = net(to_input(images))
        loss = F.cross_entropy(logits, torch.from_numpy(classes), label_smoothing=LABEL_SMOOTHING)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        update_average(average, net, step)
        losses.append(loss.item())
        if (step + 1) % 100 == 0 or step + 1 == steps:
            row = {
                "pictures": (step + 1) * BATCH,
                "loss": round(sum(losses) / len(losses), 4),
                "held_out_top1": round(accuracy(average, *held_out), 4),
                "minutes": round((time.monotonic() - started) / 60, 1),
            }
            losses.clear()
            with (out / "curve.ndjson").open("a") as curve:
                curve.write(json.dumps(row) + "\n")
            np.savez(out / "params.npz", **average.canonical_params())  # type: ignore[arg-type]


def main() -> None:
    """Read the arguments and train."""
    parser = argparse.ArgumentParser(description="Train mixnet-pocket on drawn pictures.")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and curve")
    parser.add_argument("--pictures", type=int, default=400_000, help="how many to train on")
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--threads", type=int, default=2, help="threads of the gradient steps")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    train(arguments.out, arguments.pictures, arguments.seed)


if __name__ == "__main__":
    main()
