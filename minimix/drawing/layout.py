"""Where everything goes: one row a block, its parts in columns, so that blocks compare at a glance.

The flow runs through a row from left to right, then back to the beginning of the next one.
"""

from __future__ import annotations

from dataclasses import dataclass

from minimix.drawing.rows import Part, Row, rows_of, shown_name
from minimix.drawing.shapes import Area, Box, Drawing, Label, Line, Sign
from minimix.graph import Graph
from minimix.operators import Add, Input, Shape, SqueezeExcite

MARGIN, GUTTER, EDGE = 28.0, 164.0, 72.0
"""Around the sheet; names and costs at the left; between two parts, where shapes are written."""

LANE, LANE_GAP, SWATCH = 21.0, 4.0, 28.0
PART_WIDTH, PART_HEIGHT = 104.0, 52.0
MIXCONV_WIDTH, GATES_WIDTH, GATES_HEIGHT = 180.0, 132.0, 38.0
SIGN = 11.0
ABOVE, BELOW, BETWEEN = 38.0, 8.0, 26.0
"""Over a row's parts, for the residual; under them; between rows, for the way back."""

FAN = 14.0
"""From where a row's flow parts to its lanes."""

SE_WIDTH = GATES_WIDTH + 2 * 22 + SIGN
WIDTHS = {"expand": PART_WIDTH, "mixconv": MIXCONV_WIDTH, "se": SE_WIDTH, "project": PART_WIDTH,
          "add": 2 * SIGN}  # fmt: skip
LEFT = MARGIN + GUTTER
WIDTH = LEFT + sum(WIDTHS.values()) + EDGE * len(WIDTHS) + 34 + MARGIN
COST_WIDTH = 130.0


def draw(graph: Graph, size: int) -> Drawing:
    """A graph and the side of its input in pixels -> its drawing."""
    rows = rows_of(graph, size)
    parameters, macs = sum(row.parameters for row in rows), sum(row.macs for row in rows)
    title = f"{shown_name(graph)}, {size} × {size} px"
    totals = f"{parameters:,} parameters, {macs:,} multiply-adds"
    sheet = Drawing(title, f"{title}: {totals}, in {len(rows)} rows", WIDTH)
    sheet.labels.append(Label(MARGIN, MARGIN + 18, title, 20, "start", bold=True))
    sheet.labels.append(Label(MARGIN, MARGIN + 40, totals, 12, "start", quiet=True))
    y = _legend(sheet, rows, MARGIN + 62)
    most = max(row.macs for row in rows)
    end: tuple[float, float] | None = None
    for row in rows:
        end, y = _RowPen(sheet, row, y).draw(end, most, macs)
    _outcome(sheet, rows[-1].parts[-1], end)
    sheet.height = y + MARGIN
    return sheet


def _legend(sheet: Drawing, rows: tuple[Row, ...], y: float) -> float:
    x = MARGIN
    extents = sorted({extent for row in rows for part in row.parts for extent, _ in part.lanes})
    for extent in extents:
        sheet.boxes.append(Box(Area(x, y, SWATCH, LANE), "swatch", extent))
        label = Label(x + SWATCH + 7, y + 15, f"{extent}×{extent}", anchor="start")
        sheet.labels.append(label)
        x = label.area.x + label.area.width + 18
    sheet.labels.append(
        Label(
            x,
            y + 15,
            "depthwise kernels of a MixConv, each on channels (ch) of its own",
            anchor="start",
        )
    )
    y += LANE + 24
    x = MARGIN
    for sign, said in (
        ("x", "squeeze-excite: each channel times a gate, computed from all channels' means"),
        ("+", "the block's input is added"),
    ):
        sheet.signs.append(Sign(x + SIGN, y, SIGN, "x" if sign == "x" else "+"))
        label = Label(x + 2 * SIGN + 8, y + 4, said, anchor="start")
        sheet.labels.append(label)
        x = label.area.x + label.area.width + 22
    note = "on each edge: height × width of its maps, and their channels"
    sheet.labels.append(Label(MARGIN, y + SIGN + 22, note, anchor="start"))
    return y + SIGN + 44


def _outcome(sheet: Drawing, last: Part, end: tuple[float, float] | None) -> None:
    if end is not None:
        x, y = end
        sheet.lines.append(Line(((x, y), (x + EDGE, y)), arrow=True))
        _write_shape(sheet, x + EDGE / 2, y, last.shape)
        sheet.labels.append(Label(x + EDGE + 8, y + 4, "logits", 12, "start", bold=True))


def _write_shape(sheet: Drawing, x: float, y: float, shape: Shape) -> None:
    if len(shape) == 3:
        sheet.labels.append(Label(x, y - 7, f"{shape[0]} × {shape[1]}", 10, quiet=True))
    sheet.labels.append(Label(x, y + 15, f"{shape[-1]:,}", 10))


@dataclass
class _RowPen:
    """Draws one row whose top is at ``y``."""

    sheet: Drawing
    row: Row
    y: float

    def draw(
        self, end: tuple[float, float] | None, most: int, total: int
    ) -> tuple[tuple[float, float], float]:
        """Draw from where the row before ended -> where this one ends, and the next one's top."""
        half = max(map(_half, self.row.parts))
        middle = self.y + ABOVE + half
        gated = any(isinstance(part.operator, SqueezeExcite) for part in self.row.parts)
        bottom = middle + max(half, GATES_HEIGHT + 26 if gated else 0) + BELOW
        self._write_costs(middle, most, total)
        if end is not None:
            self._come_from(end, middle)
        x, columns = LEFT, _columns(self.row)
        for part, left in zip(self.row.parts, columns, strict=True):
            if not isinstance(part.operator, Input):
                self._edge(x, left, middle, part)
            x = self._part(part, left, middle)
        return (x, middle), bottom + BETWEEN

    def _write_costs(self, middle: float, most: int, total: int) -> None:
        row, sheet = self.row, self.sheet
        share = f"{row.macs / total:.1%}".replace("%", " %")
        sheet.labels += [
            Label(MARGIN, middle - 16, row.name, 13, "start", bold=True),
            Label(MARGIN, middle + 1, f"{row.parameters:,} parameters", 11, "start", quiet=True),
            Label(MARGIN, middle + 16, f"{row.macs / 1e6:.2f} M MACs, {share}", 11, "start",
                  quiet=True),
        ]  # fmt: skip
        width = max(1.0, COST_WIDTH * row.macs / most)
        tip = f"{row.macs:,} multiply-adds, {share} of all"
        sheet.boxes.append(Box(Area(MARGIN, middle + 24, width, 5), "cost", tip=tip))

    def _come_from(self, end: tuple[float, float], middle: float) -> None:
        (x, y), turn = end, self.y - BETWEEN / 2
        right, left = WIDTH - MARGIN, LEFT - 14
        points = ((x, y), (right, y), (right, turn), (left, turn), (left, middle), (LEFT, middle))
        self.sheet.lines.append(Line(points))

    def _edge(self, x: float, left: float, middle: float, part: Part) -> None:
        # Where the flow parts, the arrows come later.
        is_whole = not part.lanes and not isinstance(part.operator, SqueezeExcite)
        self.sheet.lines.append(Line(((x, middle), (left, middle)), arrow=is_whole))
        _write_shape(self.sheet, left - EDGE / 2, middle, part.read)

    def _part(self, part: Part, left: float, middle: float) -> float:
        """Draw a part -> where the flow leaves it."""
        if part.lanes:
            return self._mixconv(part, left, middle)
        match part.operator:
            case SqueezeExcite():
                return self._squeeze_excite(part, left, middle)
            case Add():
                return self._add(part, left, middle)
        area = Area(left, middle - PART_HEIGHT / 2, PART_WIDTH, PART_HEIGHT)
        self.sheet.boxes.append(Box(area, "part", tip=part.tip))
        facts = (*part.facts,) or _plain_facts(part)
        self.sheet.stack(left + PART_WIDTH / 2, middle, (part.local, *facts))
        return left + PART_WIDTH

    def _mixconv(self, part: Part, left: float, middle: float) -> float:
        sheet, right = self.sheet, left + MIXCONV_WIDTH
        top = middle - _half(part)
        facts = ", ".join((part.local, *part.facts))
        sheet.labels.append(Label(left + MIXCONV_WIDTH / 2, top - 8, facts, 11, bold=True))
        for n, (extent, channels) in enumerate(part.lanes):
            y = top + n * (LANE + LANE_GAP)
            lane = Area(left + FAN, y, MIXCONV_WIDTH - 2 * FAN, LANE)
            tip = f"{extent}×{extent} on {channels} channels; {part.tip}"
            sheet.boxes.append(Box(lane, "lane", extent, tip))
            sheet.boxes.append(Box(Area(lane.x, y, SWATCH, LANE), "swatch", extent))
            said = f"{extent}×{extent}  {channels:,} ch"
            sheet.labels.append(Label(lane.x + SWATCH + 8, y + 15, said, anchor="start"))
            centre = y + LANE / 2
            fan = ((left, middle), (left + FAN / 2, middle), (left + FAN / 2, centre))
            sheet.lines.append(Line((*fan, (lane.x, centre)), arrow=True))
            gather = ((right - FAN, centre), (right - FAN / 2, centre), (right - FAN / 2, middle))
            sheet.lines.append(Line((*gather, (right, middle))))
        return right

    def _squeeze_excite(self, part: Part, left: float, middle: float) -> float:
        assert isinstance(part.operator, SqueezeExcite)  # the only caller has matched it
        sheet, channels = self.sheet, part.shape[-1]
        gates = Area(left + 22, middle + 24, GATES_WIDTH, GATES_HEIGHT)
        centre, x = gates.y + GATES_HEIGHT / 2, left + SE_WIDTH - SIGN
        sheet.lines += [
            Line(((left, middle), (x - SIGN, middle)), arrow=True),
            Line(((left, middle), (left + 8, middle), (left + 8, centre), (gates.x, centre)),
                 "gates", arrow=True),
            Line(((gates.x + gates.width, centre), (x, centre), (x, middle + SIGN)),
                 "gates", arrow=True),
        ]  # fmt: skip
        sheet.boxes.append(Box(gates, "part", tip=part.tip))
        inside = f"{channels} → {part.operator.reduced_channels} → {channels}"
        sheet.stack(gates.x + GATES_WIDTH / 2, centre, (part.local, inside))
        sheet.signs.append(Sign(x, middle, SIGN, "x", part.tip))
        return x + SIGN

    def _add(self, part: Part, left: float, middle: float) -> float:
        x, top = left + SIGN, self.y + 8
        start = LEFT + 5
        points = ((start, middle), (start, top), (x, top), (x, middle - SIGN))
        self.sheet.lines.append(Line(points, "residual", arrow=True))
        self.sheet.signs.append(Sign(x, middle, SIGN, "+", part.tip))
        return left + 2 * SIGN


def _half(part: Part) -> float:
    """Half the height of a part on its row's middle line."""
    if not part.lanes:
        return PART_HEIGHT / 2
    return (len(part.lanes) * (LANE + LANE_GAP) - LANE_GAP) / 2


def _plain_facts(part: Part) -> tuple[str, ...]:
    if isinstance(part.operator, Input):
        return (f"{part.shape[0]} × {part.shape[1]} px", f"{part.shape[2]} channels")
    return {"pool": ("mean",), "linear": ("matrix product",)}.get(
        part.operator.kind, (part.operator.kind,)
    )


def _columns(row: Row) -> list[float]:
    """Left edges of a row's parts: by name where all are a block's, else one after another."""
    if all(part.local in WIDTHS for part in row.parts):
        lefts, x = {}, LEFT
        for name, width in WIDTHS.items():
            lefts[name] = x + EDGE
            x += EDGE + width
        return [lefts[part.local] for part in row.parts]
    lefts_in_order, x = [], LEFT
    for part in row.parts:
        x += 0 if isinstance(part.operator, Input) else EDGE
        lefts_in_order.append(x)
        x += PART_WIDTH
    return lefts_in_order
