"""The backgrounds that mixnet-pocket never sees in training: (rng, S) -> (S, S, 3) uint8 each.

They share colours and coordinates with the training family, and no way of making a pattern.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from weights_tools.pocket.glyphs import Picture
from weights_tools.pocket.paint import (
    along,
    colours,
    enlarge_field,
    grid,
    ink,
    palette,
    ramp,
    shrink,
    to_picture,
)

OVERSAMPLING = 2


def checkerboard(rng: np.random.Generator, S: int) -> Picture:
    """Squares of two colours, turned by any angle."""
    x, y = grid(S)
    angle, count = rng.uniform(0, np.pi / 2), rng.uniform(3, 16)
    cos, sin = np.float32(np.cos(angle) * count), np.float32(np.sin(angle) * count)
    product = np.sin(np.pi * (cos * x + sin * y)) * np.sin(np.pi * (cos * y - sin * x))
    # A steep ramp through zero is a hard edge with half a pixel of antialiasing.
    return to_picture(ramp(product * np.float32(0.3 * S / count) + 0.5, palette(rng, 2)))


def voronoi(rng: np.random.Generator, S: int) -> Picture:
    """Cells of the nearest of random points, a colour each, some with darker borders."""
    count = int(rng.integers(6, 32))
    points = rng.uniform(-0.6, 0.6, (count, 2)).astype(np.float32)
    x, y = grid(S)
    apart = (x[..., None] - points[:, 0]) ** 2 + (y[..., None] - points[:, 1]) ** 2
    nearest = apart.argmin(axis=2)
    cells = palette(rng, count)[nearest]
    if rng.random() < 0.5:
        return to_picture(cells)
    depth = np.sqrt(np.take_along_axis(apart, nearest[..., None], axis=2))
    return to_picture(cells * (1 - np.float32(rng.uniform(1, 4)) * depth))


def interference(rng: np.random.Generator, S: int) -> Picture:
    """Sum of plane and circular waves."""
    x, y = grid(S)
    total = np.zeros((S, S), np.float32)
    for _ in range(int(rng.integers(2, 6))):
        across, down = rng.uniform(-0.7, 0.7, 2).astype(np.float32)
        plane = rng.random() < 0.6
        distance = along(rng, S) if plane else np.hypot(x - across, y - down)
        total += np.sin(distance * np.float32(rng.uniform(6, 70)))
    return to_picture(ramp(total * np.float32(0.25) + 0.5, palette(rng, 3)))


def bricks(rng: np.random.Generator, S: int) -> Picture:
    """Courses of bricks or tiles with joints, each brick of a slightly different shade."""
    rows = rng.uniform(4, 12)
    cols = rows * rng.uniform(0.35, 1.0)
    x, y = grid(S)
    v = (y + 0.5) * np.float32(rows)
    course = np.floor(v)
    u = (x + 0.5) * np.float32(cols) + course % 2 * np.float32(0.5)
    joint = rng.uniform(0.04, 0.12)
    in_joint = (v % 1 < joint) | (u % 1 < joint * cols / rows)
    shades = rng.normal(0, rng.uniform(0.02, 0.12), (16, 16)).astype(np.float32)
    shade = shades[course.astype(int) % 16, np.floor(u).astype(int) % 16]
    brick, mortar = colours(rng, 2)
    picture = to_picture(np.where(in_joint[..., None], mortar, brick + shade[..., None]))
    return np.ascontiguousarray(np.rot90(picture, int(rng.integers(0, 4))))


def wood(rng: np.random.Generator, S: int) -> Picture:
    """Rings or veins: a sine whose argument is bent by a slow field."""
    x, y = grid(S)
    bend = enlarge_field(rng.standard_normal((4, 4), dtype=np.float32), S)
    across, down = rng.uniform(-1, 1, 2).astype(np.float32)
    distance = np.hypot(x - across, (y - down) * np.float32(rng.uniform(0.2, 1.0)))
    phase = distance * np.float32(rng.uniform(15, 70)) + bend * np.float32(rng.uniform(0.5, 3))
    sharp = np.float32(rng.uniform(0.4, 1.5))
    return to_picture(ramp(np.abs(np.sin(phase)) ** sharp, palette(rng, 3)))


def walks(rng: np.random.Generator, S: int) -> Picture:
    """Long random walks, drawn as threads over each other."""
    side = S * OVERSAMPLING
    inks = [ink(colour) for colour in palette(rng, 6)]
    image = Image.new("RGB", (side, side), inks[0])
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(6, 22))):
        turns = np.cumsum(rng.normal(0, rng.uniform(0.1, 0.8), 60))
        steps = np.stack([np.cos(turns), np.sin(turns)], axis=1) * side * 0.025
        path = np.cumsum(steps, axis=0) + rng.uniform(0, side, 2)
        fill = inks[int(rng.integers(1, 6))]
        draw.line(path.ravel().tolist(), fill=fill, width=int(rng.integers(2, 9)), joint="curve")
    return shrink(image, OVERSAMPLING)


def low_poly(rng: np.random.Generator, S: int) -> Picture:
    """Triangles of a jittered mesh, shaded from one colour to another."""
    side = S * OVERSAMPLING
    cells = int(rng.integers(4, 10))
    knots = np.stack(np.meshgrid(*[np.arange(-1, cells + 2)] * 2), axis=-1).astype(float)
    knots = (knots + rng.uniform(-0.38, 0.38, knots.shape)) * side / cells
    start, end = colours(rng, 2)
    slope = rng.normal(0, 0.6, 2) / side
    image = Image.new("RGB", (side, side))
    draw = ImageDraw.Draw(image)
    for i in range(cells + 2):
        for j in range(cells + 2):
            a, b, c, d = knots[i, j], knots[i, j + 1], knots[i + 1, j + 1], knots[i + 1, j]
            for triangle in ((a, b, c), (a, c, d)):
                corners = np.stack(triangle)
                where = (corners.mean(axis=0) - side / 2) @ slope + 0.5 + rng.normal(0, 0.09)
                fill = ink(np.clip(start + np.float32(where) * (end - start), 0, 1))
                draw.polygon(corners.ravel().tolist(), fill=fill)
    return shrink(image, OVERSAMPLING)


def halftone(rng: np.random.Generator, S: int) -> Picture:
    """Dots on a turned lattice, growing across the picture."""
    x, y = grid(S)
    angle, count = rng.uniform(0, np.pi / 2), rng.uniform(5, 16)
    cos, sin = np.float32(np.cos(angle) * count), np.float32(np.sin(angle) * count)
    u, v = (cos * x + sin * y) % 1 - 0.5, (cos * y - sin * x) % 1 - 0.5
    radius = np.float32(rng.uniform(0.15, 0.4)) + along(rng, S) * np.float32(rng.uniform(0, 0.4))
    inside = (radius - np.hypot(u, v)) * np.float32(S / count) + 0.5
    return to_picture(ramp(inside, palette(rng, 2)))
