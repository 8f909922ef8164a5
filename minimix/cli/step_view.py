"""A stop of the walk as lines of text: where it is, what it computes, what came of it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

import numpy as np
from rich.text import Text

from minimix.arrays import Array
from minimix.cli.output import Screen, printable
from minimix.cli.step_pictures import (
    GAP,
    Paper,
    Picture,
    captioned,
    in_rows,
    number,
    padded,
    paint,
    paint_kernel,
    paint_rgb,
    scale,
)
from minimix.geometry import receptive_extent
from minimix.groups import Group
from minimix.markup import shape_text
from minimix.mosaic import fitted, resized
from minimix.operators import MixConv
from minimix.palette import kernel_colour
from minimix.receptive import Field
from minimix.stepping import Stop, Walk

LABEL = 9
"""Cells of the column of names at the left."""

NARROW_SIDE, SIDE, WIDE = 14, 28, 96
"""Side of a feature map, in pixels; from this width on, in cells, the larger side."""

KERNEL_LABEL = 9
"""Cells of a kernel size's label and what parts it from what follows."""

KERNELS, GATES, PROFILE = 3, 3, 60
_EIGHTHS = "▁▂▃▄▅▆▇█"


class View:
    """Shows the stops of a walk on paper of some width."""

    def __init__(self, walk: Walk, paper: Paper) -> None:
        self.walk, self.paper = walk, paper
        self.room = paper.width - LABEL

    def lines(self, place: int) -> list[Text]:
        """A stop's place -> its lines, none wider than the paper."""
        stop = self.walk.stops[place]
        found = [self._heading(stop, place), self._strip(stop), *self._path(stop), Text()]
        for label, content in self._sections(stop):
            for n, line in enumerate(content):
                name = Text(label if n == 0 else "", "dim")
                found.append(Text.assemble(padded(name, LABEL), line))
        for line in found:
            line.truncate(self.paper.width)
        return found

    def _heading(self, stop: Stop, place: int) -> Text:
        where = f"{place + 1} of {len(self.walk)}"
        name = Text.assemble((stop.name, "bold"), "  ", (stop.kinds, "dim"))
        name.truncate(max(1, self.paper.width - len(where) - 1))
        return Text.assemble(padded(name, self.paper.width - len(where)), (where, "dim"))

    def _strip(self, stop: Stop) -> Text:
        """The network in a line: every part's name, or a sign where there is no room."""
        stages = self.walk.stages
        names = [stage.removeprefix("blocks.") for stage in stages]
        if sum(map(len, names)) + len(names) + 1 > self.paper.width:
            names = [stage if stage == stop.stage else "·" for stage in stages]
        line = Text()
        for name, stage in zip(names, stages, strict=True):
            if stage == stop.stage:
                line.rstrip()
                line = Text(line.plain[:-1] if line.plain.endswith(" ") else line.plain, "dim")
                line.append(f"[{name}]", "bold not dim")
            else:
                line.append(f"{name} ", "dim")
        return line

    def _path(self, stop: Stop) -> list[Text]:
        inside = self.walk.inside(stop.stage)
        if len(inside) < 2:
            return []
        line = Text()
        for other in inside:
            line.append(" → " if line else "", "dim")
            local = other.name.rpartition(".")[2]
            line.append(
                f"[{local}]" if other is stop else local, "bold" if other is stop else "dim"
            )
        return [line]

    def _sections(self, stop: Stop) -> Iterator[tuple[str, Sequence[Text]]]:
        yield "shape", self._shape(stop)
        if stop.macs or stop.parameters:
            share = stop.macs / self.walk.total_macs
            yield (
                "cost",
                self._wrapped(
                    f"{stop.parameters:,} parameters, {stop.macs:,} multiply-adds "
                    f"({100 * share:.1f} % of the network's)"
                ),
            )
        yield "formula", [line for text in stop.formulas for line in self._wrapped(text)]
        yield "sees", self._sees(stop)
        yield "output", self._output(stop)
        if stop.picture is not None:
            yield "picture", self._picture(stop)
        elif stop.output.ndim == 4:
            yield "maps", self._maps(stop)
        elif not stop.top:
            yield "values", self._vector(stop)
        if isinstance(stop.node.root.operator, MixConv):
            yield "kernels", self._kernels(stop)
        if stop.gates is not None:
            yield "gates", self._gates(stop)
        if stop.top:
            yield "classes", self._classes(stop)

    def _wrapped(self, text: str) -> list[Text]:
        return [Text(line) for line in textwrap.wrap(text, max(20, self.room))]

    def _shape(self, stop: Stop) -> list[Text]:
        shape = stop.output.shape[1:]
        before = "" if stop.read == shape else f"{shape_text(stop.read)} → "
        stride = getattr(stop.node.root.operator, "stride", 1)
        after = f", stride {stride}" if stride > 1 else ""
        return self._wrapped(before + shape_text(shape) + after)

    def _sees(self, stop: Stop) -> list[Text]:
        if not stop.groups:
            told = _field_text(stop.fields[0])
            told += "; by its gates the whole picture" if stop.gates is not None else ""
            return self._wrapped(told)
        lines = []
        fields = stop.fields if len(stop.fields) == len(stop.groups) else None
        for n, group in enumerate(stop.groups):
            field = stop.fields[0] if fields is None else fields[n]
            last = group.first + group.channels - 1
            label = self._kernel_label(group)
            told = f"channels {group.first}–{last}: {_field_text(field)}"
            wrapped = textwrap.wrap(told, max(20, self.room - KERNEL_LABEL))
            for part in wrapped:
                first = label if part is wrapped[0] else Text()
                lines.append(Text.assemble(padded(first, KERNEL_LABEL), part))
        return lines

    def _kernel_label(self, group: Group) -> Text:
        extent = receptive_extent(group.kernel_size, group.dilation)
        return Text(f"■ {extent}×{extent}", f"bold {kernel_colour(extent)}")

    def _output(self, stop: Stop) -> list[Text]:
        found = stop.statistics
        text = (
            f"{number(found['low'])} to {number(found['high'])}, mean {number(found['mean'])}, "
            f"std {number(found['std'])}"
        )
        if stop.output.ndim == 4 and stop.picture is None:
            text += f", {len(stop.dead):,} of {stop.output.shape[-1]:,} channels dead"
        return self._wrapped(text)

    @property
    def _side(self) -> int:
        return SIDE if self.paper.width >= WIDE else NARROW_SIDE

    def _picture(self, stop: Stop) -> list[Text]:
        assert stop.picture is not None  # the only caller has looked
        H, W, _ = stop.picture.shape
        height, width = fitted(H, W, min(2 * self._side, self.room))
        return paint_rgb(np.rint(resized(stop.picture, height, width)).astype(np.uint8), self.paper)

    def _maps(self, stop: Stop) -> list[Text]:
        in_a_row = max(1, (self.room + GAP) // (self._side + GAP))
        channels = stop.liveliest(in_a_row if self._side == SIDE else 2 * in_a_row)
        planes = stop.output[0][..., channels]
        height, width = _drawn(planes.shape[0], planes.shape[1], self._side)
        shown = resized(planes, height, width)
        low, high = float(shown.min()), float(shown.max())
        pictures = [
            captioned(
                paint(shown[..., n], low, high, self.paper), self._caption(stop, c), self.paper
            )
            for n, c in enumerate(channels)
        ]
        total = stop.output.shape[-1]
        said = Text(f"{len(channels)} of {total:,} channels, most energy first   ")
        return [*in_rows(pictures, self.room), *self._scaled(said, scale(low, high, self.paper))]

    def _scaled(self, said: Text, bar: Text) -> list[Text]:
        """A text and a scale, on one line if there is room."""
        one = Text.assemble((said.plain, "dim"), bar)
        if one.cell_len <= self.room:
            return [one]
        return [*(Text(line.plain, "dim") for line in self._wrapped(said.plain)), bar]

    def _caption(self, stop: Stop, channel: int) -> Text:
        group = stop.group_of(channel)
        if group is None or group.weight is None or group.kernel_size == 1:
            return Text(f"#{channel}")
        extent = receptive_extent(group.kernel_size, group.dilation)
        return Text.assemble(
            (f"{extent}×{extent}", f"bold {kernel_colour(extent)}"), f" #{channel}"
        )

    def _vector(self, stop: Stop) -> list[Text]:
        values = stop.output[0]
        columns = min(self.room, 64)
        grid = np.full(-(-len(values) // columns) * columns, values.min())
        grid[: len(values)] = values
        low, high = float(values.min()), float(values.max())
        said = Text(f"{len(values):,} numbers, row by row   ")
        picture = paint(grid.reshape(-1, columns), low, high, self.paper)
        return [*picture, *self._scaled(said, scale(low, high, self.paper))]

    def _kernels(self, stop: Stop) -> list[Text]:
        order = stop.liveliest(stop.output.shape[-1])
        widest = max(group.kernel_size for group in stop.groups)
        zoom = 2 if widest <= 7 else 1
        pictures: list[Picture] = []
        scales: list[Text] = []
        for group in stop.groups:
            inside = [c for c in order if stop.group_of(c) is group][:KERNELS]
            kernels = [group.kernel(c) for c in inside]
            largest = float(max(np.abs(kernel).max() for kernel in kernels))
            pictures += [
                captioned(
                    paint_kernel(kernel, largest, zoom, self.paper),
                    self._caption(stop, c),
                    self.paper,
                )
                for kernel, c in zip(kernels, inside, strict=True)
            ]
            label = self._kernel_label(group)
            bar = scale(-largest, largest, self.paper, signed=True)
            scales.append(Text.assemble(label, " ", bar))
        return [*in_rows(pictures, self.room), *in_rows([[bar] for bar in scales], self.room)]

    def _gates(self, stop: Stop) -> list[Text]:
        assert stop.gates is not None  # the only caller has looked
        gates = np.sort(stop.gates)[::-1]
        order = np.argsort(-stop.gates, kind="stable").tolist()
        ends = [*order[:GATES], *order[max(GATES, len(order) - GATES) :]]
        lines = [
            self._bar(f"#{c}", float(stop.gates[c]), f"{stop.gates[c]:.3f}", len(f"#{len(order)}"))
            for c in ends
        ]
        if len(order) > 2 * GATES:
            lines.insert(GATES, Text(f"... {len(order) - 2 * GATES:,} between", "dim"))
        return [*lines, *self._profile(gates)]

    def _profile(self, gates: Array) -> list[Text]:
        """All gates, from the highest to the lowest, as a line of columns."""
        if not self.paper.unicode:
            return []
        columns = min(self.room - 4, PROFILE, len(gates))
        heights = resized(gates[None], 1, columns)[0]
        signs = "".join(_EIGHTHS[min(7, int(height * 8))] for height in heights)
        return [Text.assemble("1 ", signs, " 0"), Text("all, from the most open on", "dim")]

    def _classes(self, stop: Stop) -> list[Text]:
        names = [printable(name) for name, _ in stop.top]
        width = min(max(map(len, names)), max(8, self.room - 30))
        return [
            self._bar(name, p, f"{100 * p:.1f} %", width)
            for name, (_, p) in zip(names, stop.top, strict=True)
        ]

    def _bar(self, name: str, share: float, told: str, width: int) -> Text:
        bar = Screen(color=False, bars=True, unicode=self.paper.unicode).bar(share)
        title = Text(name)
        title.truncate(width)
        return Text.assemble(padded(title, width), "  ", bar, " " if bar else "", told)


def _drawn(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width of a map -> those of its picture; what grows grows by whole pixels."""
    factor = side // max(height, width)
    return (height * factor, width * factor) if factor else fitted(height, width, side)


def _field_text(field: Field) -> str:
    if field.step == 0:
        return "the whole picture"
    every = f", every {field.step} px" if field.step > 1 else ""
    return f"{field.size} × {field.size} px{every}"
