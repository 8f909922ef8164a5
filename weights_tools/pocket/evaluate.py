"""How good is mixnet-pocket, on what it was not trained on?

    python -m weights_tools.pocket.evaluate mixnet-pocket --photos FOLDER --pictures 2000

Draws pictures from seeds and backgrounds that training never saw, and composites on photographs;
then beyond the trained ranges.  All go through minimix itself: its pipeline, its engine.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

import minimix
from minimix.model import Model
from weights_tools.pocket.backgrounds import Family, photographs
from weights_tools.pocket.pictures import SIZE, Ranges, batch

SEED = 9_000_001
BATCH = 32
TRAINED = Ranges()


@dataclass(frozen=True)
class Result:
    """Accuracy on one set: right answers, and the pictures that were missed.

    Attributes:
        missed: (picture, true class, answered class).
    """

    name: str
    pictures: int
    missed: list[tuple[np.ndarray[tuple[int, ...], np.dtype[np.uint8]], int, int]]

    @property
    def top1(self) -> float:
        """Share of right answers."""
        return 1 - len(self.missed) / self.pictures


def measure(
    model: Model,
    name: str,
    pictures: int,
    family: str | Family,
    ranges: Ranges = TRAINED,
    size: int = SIZE,
) -> Result:
    """Draw pictures of ``size`` pixels, classify them, keep the mistakes."""
    missed = []
    for start in range(0, pictures, BATCH):
        count = min(BATCH, pictures - start)
        drawn, classes = batch(SEED, start, count, size, family, ranges)
        answers = model(model.preprocess(list(drawn))).argmax(axis=1)
        missed += [
            (picture, int(true), int(answer))
            for picture, true, answer in zip(drawn, classes, answers, strict=True)
            if true != answer
        ]
    return Result(name, pictures, missed)


def beyond(ranges: Ranges) -> dict[str, Ranges]:
    """Half as much rotation again, and a quarter less or more scale than was trained."""
    low, high = ranges.scale
    turn = ranges.rotation[1]
    return {
        "rotation x1.5 (only the new angles)": replace(ranges, rotation=(turn, 1.5 * turn)),
        "scale x0.75": replace(ranges, scale=(0.75 * low, low)),
        "scale x1.25": replace(ranges, scale=(high, 1.25 * high)),
    }


def sheet(model: Model, result: Result, path: Path, columns: int = 8) -> None:
    """Write a picture of the first mistakes, in reading order, and list them."""
    shown = result.missed[: columns * 4]
    if not shown:
        return
    side = max(picture.shape[0] for picture, _, _ in shown)
    canvas = Image.new("RGB", (columns * side, -(-len(shown) // columns) * side), "white")
    for n, (picture, true, answer) in enumerate(shown):
        canvas.paste(Image.fromarray(picture), (n % columns * side, n // columns * side))
        print(f"    {n + 1:2d} {model.labels[true]} -> {model.labels[answer]}")
    canvas.save(path)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Measure mixnet-pocket on unseen pictures.")
    parser.add_argument("model", nargs="?", default="mixnet-pocket")
    parser.add_argument("--photos", type=Path, help="folder of photographs to composite on")
    parser.add_argument("--pictures", type=int, default=2000, help="per set")
    parser.add_argument("--sheets", type=Path, help="folder for pictures of the mistakes")
    arguments = parser.parse_args()
    model = minimix.load(arguments.model)
    sets: list[tuple[str, str | Family, Ranges, int]] = [
        ("held-out backgrounds", "held_out", TRAINED, SIZE),
        ("held-out, drawn at 2x", "held_out", TRAINED, 2 * SIZE),
    ]
    if arguments.photos is not None:
        photos = [Image.open(path) for path in sorted(arguments.photos.glob("*.[jJ][pP]*[gG]"))]
        sets.append((f"on {len(photos)} photographs", photographs(photos), TRAINED, SIZE))
    for name, ranges in beyond(TRAINED).items():
        sets.append((f"held-out, {name}", "held_out", ranges, SIZE))
    for name, family, ranges, size in sets:
        result = measure(model, name, arguments.pictures, family, ranges, size)
        print(f"{name:50s} {result.top1:7.2%}  ({len(result.missed)} of {result.pictures} missed)")
        pairs = Counter((true, answer) for _, true, answer in result.missed).most_common(6)
        for (true, answer), count in pairs:
            print(f"    {count:3d}x {model.labels[true]} -> {model.labels[answer]}")
        if arguments.sheets is not None:
            sheet(
                model, result, arguments.sheets / f"{name.replace(' ', '_').replace(',', '')}.png"
            )


if __name__ == "__main__":
    main()
