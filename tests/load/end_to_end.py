"""Files to predictions, minimix against timm on PyTorch, on the same JPEGs in the same run.

    python -m tests.load.end_to_end --model mixnet-s.h5 --peer timm --checkpoint mixnet_s.pth

The peer's script is what its documentation shows: its own transforms on Pillow's pictures, batches
of 32, ``torch.inference_mode``; in several ways, with and without a DataLoader's processes, and in
both memory layouts.  The ways take turns; a rate is the median of the rounds.  What is timed is
the work from the files' names to the best classes' indices; loading and warming up are not.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import minimix as mx
from minimix.cores import available_cores
from minimix.inputs import named_input
from minimix.workflows.decoding import decoded_batches
from tests.load.pictures import write_jpegs

BATCH = 32
SIZES = {"500x375": (500, 375), "2000x1500": (2000, 1500), "4000x3000": (4000, 3000)}


def of_minimix(model, **options):
    """What ``minimix classify`` does, without the printing."""

    def run(paths):
        found = []
        items = ((path, named_input(str(path))) for path in paths)
        for batch in decoded_batches(model, items, exif="apply", size=16, **options):
            logits = model(np.concatenate([x for _, x in batch]))
            found += np.argmax(logits, axis=1).tolist()
        return found

    return run


def of_minimix_in_turn(model):
    """Every picture decoded, prepared and computed before the next."""

    def run(paths):
        return [int(model(model.preprocess(path)).argmax()) for path in paths]

    return run


def ways_of_timm(checkpoint, name, threads, workers):
    """Label -> what runs timm that way: on the list, or through a DataLoader."""
    import torch

    # timm imports torchvision, whose wheel of another index lacks two operators that it declares.
    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou) -> Tensor")
    import timm
    from PIL import Image

    torch.set_num_threads(threads)
    net = timm.create_model(name, checkpoint_path=str(checkpoint)).eval()
    config = timm.data.resolve_model_data_config(net)
    transform = timm.data.create_transform(**config, is_training=False)

    class Pictures(torch.utils.data.Dataset):
        def __init__(self, paths):
            self.paths = paths

        def __len__(self):
            return len(self.paths)

        def __getitem__(self, n):
            with Image.open(self.paths[n]) as image:
                return transform(image.convert("RGB"))

    def way(layout, loaders):
        def run(paths):
            net.to(memory_format=layout)
            loader = torch.utils.data.DataLoader(Pictures(paths), BATCH, num_workers=loaders)
            with torch.inference_mode():
                batches = [net(x.to(memory_format=layout)).argmax(1) for x in loader]
            return torch.cat(batches).tolist()

        return run

    layouts = {"": torch.contiguous_format, ", channels last": torch.channels_last}
    return {
        f"timm, {loaders} worker{'s' * (loaders != 1)}{label}": way(layout, loaders)
        for label, layout in layouts.items()
        for loaders in (0, workers)
    }


def measure(ways, paths, rounds):
    """Label -> pictures a second of each round; all ways must find the same classes."""
    warm_up = paths[: 2 * BATCH]
    expected = None
    for run in ways.values():
        run(warm_up)
    rates = {label: [] for label in ways}
    for _ in range(rounds):
        for label, run in ways.items():
            start = time.perf_counter()
            found = run(paths)
            rates[label].append(len(paths) / (time.perf_counter() - start))
            expected = expected or found
            assert found == expected, f"{label}: {np.not_equal(found, expected).sum()} differ"
            time.sleep(0.1)  # idle threads of the one must not disturb the next
    return rates


def report(size, count, rates):
    """A table: median rate, its range, and minimix's over it."""
    ours = statistics.median(rates["minimix"])
    print(f"\n{size}, {count} JPEGs; load {os.getloadavg()[0]:.1f} on {available_cores()} cores")
    print("| | pictures/s, median | range | minimix is faster by |\n|---|---|---|---|")
    for label, found in rates.items():
        rate = statistics.median(found)
        ratios = [a / b for a, b in zip(rates["minimix"], found, strict=True)]
        spread = f"{min(ratios):.2f}..{max(ratios):.2f}"
        print(
            f"| {label} | {rate:.1f} | {min(found):.1f}..{max(found):.1f} "
            f"| {ours / rate:.2f} ({spread}) |",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="a model file or name, as for classify")
    parser.add_argument("--count", type=int, default=300, help="JPEGs of 500 x 375")
    parser.add_argument("--large", type=int, default=30, help="JPEGs of each larger size")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--workers", type=int, default=2, help="of the peer's DataLoader")
    parser.add_argument("--peer", choices=("timm",), help="compare with it")
    parser.add_argument("--checkpoint", type=Path, help="the same weights, for the peer")
    parser.add_argument("--peer-model", default="mixnet_s")
    arguments = parser.parse_args()
    if arguments.peer and not arguments.checkpoint:
        parser.error("--peer needs the same weights in its own format: --checkpoint FILE")
    model = mx.load(arguments.model, threads=arguments.threads)
    model.prepare()
    ways = {"minimix": of_minimix(model), "minimix, one after another": of_minimix_in_turn(model)}
    if arguments.peer:
        ways |= ways_of_timm(
            arguments.checkpoint, arguments.peer_model, arguments.threads, arguments.workers
        )
    for size in arguments.sizes:
        width, height = SIZES[size]
        count = arguments.count if size == "500x375" else arguments.large
        with tempfile.TemporaryDirectory() as folder:
            paths = write_jpegs(folder, count, width=width, height=height)
            report(size, count, measure(ways, paths, arguments.rounds))


if __name__ == "__main__":
    main()
