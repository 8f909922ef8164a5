"""The commands that ``tests.load.interruptions`` interrupts: their inputs and their results."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

SMALL = ("--model", "{shared}/tiny.h5")
TOOLS = "weights_tools"


@dataclass(frozen=True)
class Command:
    """A command to interrupt.

    Attributes:
        argv: ``{shared}`` is the folder of inputs; the working folder is the run's own.
        out: the result's name there.
        program: the package whose ``__main__`` it is.
        starts_cold: it begins with an empty cache.
        is_narrow: the released model is the one that the server has.
        code: its exit code when it is left alone.
    """

    argv: tuple[str, ...]
    out: str | None = None
    program: str = "minimix"
    starts_cold: bool = False
    is_narrow: bool = False
    code: int = 0


def _with_out(*argv: str) -> Command:
    return Command(argv, out=argv[argv.index("-o") + 1])


COMMANDS = {
    "classify": Command(("classify", "{shared}/pictures", "--format", "ndjson")),
    "features": _with_out("features", "{shared}/pictures", "-o", "out.npz", *SMALL),
    "features h5": _with_out("features", "{shared}/pictures", "-o", "out.h5", "--node", "pool"),
    "validate": _with_out("validate", "{shared}/val", "-o", "rows.csv"),
    "finetune": _with_out("finetune", "{shared}/things", "-o", "new.h5", "--augment", "2"),
    "batch": _with_out("batch", "{shared}/pictures", "-o", "rows", "--format", "ndjson"),
    "explore": _with_out("explore", "{shared}/panda.png", "-o", "a.html", "--no-times"),
    "step": Command(("step", "{shared}/panda.png", "--all")),
    "summary": Command(("summary", "--svg", "graph.svg"), out="graph.svg"),
    "bench": Command(("bench", *SMALL, "--runs", "2", "--seconds", "0.1", "--threads", "1,2")),
    "warmup": Command(("warmup", *SMALL), starts_cold=True),
    "models fetch": Command(("models", "fetch", "mixnet-s"), starts_cold=True, is_narrow=True),
    "fetch": Command(
        ("fetch", "mixnet-s", "-o", "mixnet_s.pth"),
        "mixnet_s.pth",
        TOOLS,
        starts_cold=True,  # it pins what it fetches, in the cache
        is_narrow=True,
    ),
    "convert": Command(
        ("convert", "{shared}/mixnet_s.bin", "-o", "a.h5", "--dialect", "timm"), "a.h5", TOOLS
    ),
    "inspect": Command(("inspect", "{shared}/mixnet_s.bin"), program=TOOLS),
    "verify": Command(
        ("verify", "{shared}/tiny.h5", "--against", "{shared}/other.h5"), program=TOOLS, code=5
    ),
    "diff": Command(("diff", "{shared}/tiny.h5", "{shared}/other.h5"), program=TOOLS, code=5),
    "export": Command(
        ("export", "{shared}/narrow.h5", "-o", "a.safetensors"), "a.safetensors", TOOLS
    ),
}


def digest(path: Path | None) -> str | None:
    """A result -> what is compared of it; None where there is none."""
    from minimix import weights

    if path is None or not path.exists():
        return None
    if path.is_dir():  # of rows; the summary beside them says how long it took
        parts = sorted(path.glob("part-*"))
        content = b"".join(part.read_bytes() for part in parts)
    elif path.suffix == ".h5" and path.name != "out.h5":
        params = weights.load(path).params
        content = b"".join(params[name].tobytes() for name in sorted(params))
    else:
        content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()


def make_inputs(folder: Path) -> None:
    """Pictures and models for all commands."""
    import numpy as np
    from PIL import Image

    from tests.model_files import saved, tiny_file
    from tests.new_classes import draw_folder
    from tests.pictures import picture
    from tests.release_server import narrow_checkpoint
    from weights_tools.convert import Wanted, convert

    for name, count in (("pictures", 40), ("val/giant panda", 20), ("val/bear", 20)):
        (folder / name).mkdir(parents=True)
        for n in range(count):
            Image.fromarray(picture(120, 160, seed=n)).save(folder / name / f"{n:03d}.jpg")
    Image.fromarray(np.asarray(picture())).save(folder / "panda.png")
    draw_folder(folder / "things", 6, seed=1, names=("key", "fish", "flag"))
    saved(folder / "tiny.h5")
    saved(folder / "other.h5", tiny_file(seed=1))
    (folder / "mixnet_s.bin").write_bytes(narrow_checkpoint())
    convert(folder / "mixnet_s.bin", folder / "narrow.h5", Wanted(dialect="timm"))
