"""Pictures of eight things that mixnet-pocket has never seen, drawn as its own: no two alike."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

SIDE = 112


def key(draw):
    draw.ellipse((10, 44, 74, 108), fill="#D8A51D")
    draw.ellipse((30, 64, 54, 88), fill=(0, 0, 0, 0))
    draw.rectangle((70, 68, 150, 84), fill="#D8A51D")
    draw.rectangle((120, 84, 132, 108), fill="#D8A51D")
    draw.rectangle((138, 84, 150, 102), fill="#D8A51D")


def traffic_light(draw):
    draw.rounded_rectangle((50, 8, 110, 152), 14, fill="#2B2F36")
    for y, colour in ((34, "#E23B30"), (80, "#F2C230"), (126, "#2FB457")):
        draw.ellipse((62, y - 18, 98, y + 18), fill=colour)


def flag(draw):
    draw.rectangle((20, 8, 28, 152), fill="#6B4A2B")
    for n, colour in enumerate(("#1F4FA3", "#F4F4F0", "#C8262C")):
        draw.rectangle((28, 12 + 28 * n, 148, 40 + 28 * n), fill=colour)


def fish(draw):
    draw.polygon(((120, 80), (156, 46), (156, 114)), fill="#2E7FC2")
    draw.ellipse((8, 38, 130, 122), fill="#49A6E9")
    draw.ellipse((28, 62, 50, 84), fill="#FBFBF4")
    draw.ellipse((35, 69, 44, 78), fill="#1F1B1B")


def ladder(draw):
    for x in (44, 104):
        draw.rectangle((x, 6, x + 12, 154), fill="#A8642A")
    for y in range(20, 150, 26):
        draw.rectangle((50, y, 110, y + 9), fill="#C98A4B")


def cactus(draw):
    for box in ((64, 8, 98, 152), (24, 44, 44, 96), (118, 30, 138, 82)):
        draw.rounded_rectangle(box, 10, fill="#2F8F46")
    draw.rounded_rectangle((24, 82, 80, 100), 8, fill="#2F8F46")
    draw.rounded_rectangle((80, 68, 138, 86), 8, fill="#2F8F46")


def domino(draw):
    draw.rounded_rectangle((40, 6, 120, 154), 12, fill="#F5F1E6")
    draw.rectangle((46, 78, 114, 82), fill="#26221E")
    for x, y in ((60, 26), (100, 58), (60, 98), (100, 98), (80, 116), (60, 136), (100, 136)):
        draw.ellipse((x - 8, y - 8, x + 8, y + 8), fill="#26221E")


def ladybird(draw):
    draw.ellipse((30, 34, 130, 138), fill="#D62718")
    draw.ellipse((52, 14, 108, 56), fill="#1F1B1B")
    draw.line((80, 40, 80, 138), fill="#1F1B1B", width=5)
    for x, y in ((55, 70), (105, 70), (48, 102), (112, 102), (66, 124), (94, 124)):
        draw.ellipse((x - 9, y - 9, x + 9, y + 9), fill="#1F1B1B")


THINGS = {
    thing.__name__: thing
    for thing in (key, traffic_light, flag, fish, ladder, cactus, domino, ladybird)
}


def background(rng):
    """(SIDE, SIDE, 3): two colours as a gradient, stripes or a chequerboard."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    angle, waves = rng.uniform(0, np.pi), rng.uniform(4, 12)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    a, b = (np.sin(2 * np.pi * waves * u) for u in (along, across))
    mix = np.clip((along - along.min(), a > 0, (a > 0) ^ (b > 0))[rng.integers(3)], 0, 1)[..., None]
    first, second = rng.integers(0, 256, (2, 3))
    return (first * (1 - mix) + second * mix).astype(np.uint8)


def picture_of(thing, rng):
    """A Pillow image: the thing at some place, size and angle, in some light, with some noise."""
    drawn = Image.new("RGBA", (160, 160))
    thing(ImageDraw.Draw(drawn))
    drawn = drawn.resize((320, 320)).rotate(rng.uniform(-30, 30), Image.Resampling.BICUBIC, True)
    width = int(drawn.width / 320 * rng.uniform(0.5, 0.75) * SIDE)
    drawn = drawn.resize((width, width), Image.Resampling.LANCZOS)
    room = max(SIDE - width, 0)
    place = np.clip(room / 2 + rng.uniform(-0.12, 0.12, 2) * SIDE, 0, room).astype(int)
    whole = Image.fromarray(background(rng)).convert("RGBA")
    whole.alpha_composite(drawn, tuple(place.tolist()))
    pixels = np.asarray(whole.convert("RGB")) * rng.uniform(0.65, 1.1)
    pixels += rng.normal(0, rng.uniform(0, 12), pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def draw_folder(folder, count, seed, names=tuple(THINGS)):
    """Write ``folder/NAME/0.png`` and on; return the folder."""
    for k, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for n in range(count):
            picture_of(THINGS[name], np.random.default_rng([seed, k, n])).save(
                folder / name / f"{n}.png"
            )
    return folder
