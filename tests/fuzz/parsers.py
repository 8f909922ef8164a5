"""All parsers of outside bytes but the readers of tensors, one row each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz import seeds_pictures, seeds_texts, seeds_work
from tests.fuzz.declared import Files
from tests.fuzz.mutations import Seed
from tests.fuzz.parser_rule import Parse, examining, no_oracle
from tests.fuzz.samples import FILE_NAME, Row


def _row(
    name: str,
    seeds: Callable[[], list[Seed]],
    parse: Parse,
    target: str = FILE_NAME,
    prepare: Callable[[Path, Files], None] | None = None,
) -> Row:
    return Row(name, seeds, no_oracle, target, examining(parse, prepare))


def _pictures(kind: str) -> Row:
    seeds = partial(seeds_pictures.seeds, kind)
    return _row(f"pictures-{kind.lower()}", seeds, seeds_pictures.parsing(kind))


def _labels(ending: str) -> Row:
    seeds, parse = partial(seeds_texts.labels, ending), seeds_texts.LabelsOf(ending)
    return _row(f"labels-{ending[1:]}", seeds, parse, seeds_texts.LABELS)


PARSERS: tuple[Row, ...] = (
    *map(_pictures, ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "others")),
    _row("block-string", seeds_texts.blocks, seeds_texts.parse_blocks),
    _row(
        "model-header",
        seeds_texts.headers,
        seeds_texts.parse_header,
        prepare=seeds_texts.prepare_header,
    ),
    *map(_labels, (".txt", ".csv", ".json")),
    _row("path-list", seeds_texts.lists, seeds_texts.parse_list),
    _row("pin", seeds_texts.pin_lines, seeds_texts.parse_pin),
    _row("partial-file", seeds_texts.origins, seeds_texts.parse_origin, seeds_texts.PART),
    _row("tar-shard", seeds_work.shards, seeds_work.parse_pictures_in, seeds_work.SHARD),
    *(
        [_row("parquet", seeds_work.tables, seeds_work.parse_pictures_in, seeds_work.TABLE)]
        if find_spec("pyarrow")
        else []
    ),
    _row("kept-work", seeds_work.work, seeds_work.parse_work, seeds_work.MANIFEST),
    _row("batch-line", seeds_work.chunk_lines, seeds_work.parse_chunk_line),
    _row("recording", seeds_work.recordings, seeds_work.parse_recording),
    _row("kernel-code", seeds_work.kernels, seeds_work.parse_kernel),
)
"""Every parser; one joins by a row."""
