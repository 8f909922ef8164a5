"""How classified pictures are written: a table for people; json, ndjson and csv for programs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from minimix.cli import output
from minimix.cli.output import BAR_CELLS, Screen, cells, pad, printable

if TYPE_CHECKING:
    from minimix.model import Model, Score

SCHEMA_VERSION = 1
_SEPARATORS = (",", ":")


@dataclass(frozen=True)
class Row:
    """What became of one input: the best classes and the network's ms, or an error."""

    input: str
    top: tuple[Score, ...] = ()
    ms: float = 0.0
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether the picture could be classified."""
        return not self.error

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types; probabilities to six decimals, more than float32 settles."""
        if not self.ok:
            return {"input": self.input, "ok": False, "error": self.error}
        top = [{"index": s.index, "label": s.label, "p": round(s.p, 6)} for s in self.top]
        return {"input": self.input, "ok": True, "top": top, "ms": round(self.ms, 2)}


class Writer(Protocol):
    """Takes rows one by one; ``end`` is called once, also when a run is interrupted."""

    def row(self, row: Row) -> None:
        """Write one row."""

    def end(self) -> None:
        """Write what closes the document."""


class TableWriter:
    """Bars and percentages on a terminal; the same without bars elsewhere.  Errors to stderr."""

    def __init__(self, screen: Screen, labels: Sequence[str] = ()) -> None:
        """``labels`` are all that can come, so that the tables of several pictures align."""
        self.screen = screen
        self.label_width = max(map(cells, labels), default=0)
        self.several = bool(labels)
        self.is_first = True

    def row(self, row: Row) -> None:
        """Write a picture's classes, under its name if there are several."""
        if not row.ok:
            output.flush()
            output.error(f"{row.input}: {row.error}")
            return
        lines = self._lines(row.top)
        if self.several:
            lines = [self.screen.bold(printable(row.input)), *(f"  {line}" for line in lines)]
            lines = lines if self.is_first else ["", *lines]
        self.is_first = False
        output.write("\n".join(lines) + "\n")

    def _lines(self, top: Sequence[Score]) -> list[str]:
        labels = [printable(score.label) for score in top]
        percents = [f"{score.p:.1%}".replace("%", " %") for score in top]
        bars = [self.screen.bar(score.p) if self.screen.bars else "" for score in top]
        label_width = self.label_width or max(map(cells, labels))
        bar_width = BAR_CELLS if self.several else max(map(cells, bars))
        percent_width = len("100.0 %") if self.several else max(map(len, percents))
        lines: list[str] = []
        for label, bar, percent in zip(labels, bars, percents, strict=True):
            line = pad(label, label_width) + "  "
            if self.screen.bars:
                line += pad(bar, bar_width) + " "
            line += pad(percent, percent_width, ">")
            lines.append(line if lines else self.screen.bold(line))
        return lines

    def end(self) -> None:
        """A table needs no close."""


class NdjsonWriter:
    """One JSON object a line, each with the version of its shape."""

    def row(self, row: Row) -> None:
        """Write a line."""
        output.write(_compact({"v": SCHEMA_VERSION} | row.to_json()) + "\n")

    def end(self) -> None:
        """Lines need no close."""


class JsonWriter:
    """One JSON document, written result by result, so that any number of inputs fits."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.is_first = True

    def row(self, row: Row) -> None:
        """Write a result, the document's head before the first."""
        output.write((self._head() if self.is_first else ",\n") + "  " + _compact(row.to_json()))
        self.is_first = False

    def _head(self) -> str:
        head = _compact({"schema_version": SCHEMA_VERSION, "model": self.model})
        return head.removesuffix("}") + ',"results":[\n'

    def end(self) -> None:
        """Close the document."""
        output.write(f"{self._head() if self.is_first else chr(10)}]}}\n")


class CsvWriter:
    """A line per input and rank, or per input that failed."""

    def __init__(self) -> None:
        self.is_first = True

    def row(self, row: Row) -> None:
        """Write an input's lines."""
        if self.is_first:
            self._line("input", "ok", "rank", "index", "label", "p", "error")
        self.is_first = False
        if not row.ok:
            self._line(row.input, "false", "", "", "", "", row.error)
        for rank, score in enumerate(row.top, start=1):
            self._line(row.input, "true", rank, score.index, score.label, f"{score.p:.6f}", "")

    def _line(self, *fields: object) -> None:
        csv.writer(output.Results(), lineterminator="\n").writerow(fields)

    def end(self) -> None:
        """Lines need no close."""


def _compact(value: dict[str, Any]) -> str:
    # What the encoding lacks must become JSON's own escape, not the stream's.
    ascii_only = not output.has_unicode(sys.stdout)
    return json.dumps(value, ensure_ascii=ascii_only, separators=_SEPARATORS)


def make_writer(kind: str, model: Model, screen: Screen, *, several: bool) -> Writer:
    """The value of --format -> its writer."""
    makers: dict[str, Callable[[], Writer]] = {
        "table": lambda: TableWriter(screen, model.labels if several else ()),
        "json": lambda: JsonWriter(model.name),
        "ndjson": NdjsonWriter,
        "csv": CsvWriter,
    }
    return makers["table" if kind == "auto" else kind]()
