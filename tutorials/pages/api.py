"""The pages of the API reference, from the public names: docstrings are their text.

Names that become public in ``minimix`` are found by themselves; those without a place in
``_MINIMIX`` come last.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

import minimix
from minimix import errors, operators, ops

_MINIMIX = {
    "Models": ("load", "list_models", "Model"),
    "What comes out": ("Prediction", "Score", "Trace", "Step"),
    "Why": ("ClassActivation", "Occlusion", "Patched"),
}
_WORKFLOWS = {
    "Features": ("minimix.workflows.features", "extract_features", "Extracted"),
    "Accuracy": ("minimix.workflows.validation.validate", "validate", "Report"),
    "Fine-tuning": ("minimix.workflows.finetuning.finetune", "finetune", "Options", "Finetuned"),
    "Batches": ("minimix.workflows.batching.run", "run_batch", "Report"),
    "Batches: what": ("minimix.workflows.batching.sources", "Sources"),
    "Batches: where": ("minimix.workflows.batching.cluster", "Place", "Tally"),
    "Batches: rows": ("minimix.workflows.batching.worker", "Options"),
    "Inputs": ("minimix.inputs", "find_inputs", "Input"),
}
_WEIGHTS_TOOLS = {
    "Read": ("weights_tools.readers", "read", "detect", "refused_globals", "Checkpoint"),
    "Inspect": ("weights_tools.inspect", "inspect", "Inspection"),
    "Convert": ("weights_tools.convert", "convert", "read_model", "Wanted", "Conversion"),
    "Verify": ("weights_tools.verify", "check_layers", "check_images", "Check"),
    "Compare": ("weights_tools.compare", "compare_params", "compare_outputs"),
    "Diff": ("weights_tools.diff", "diff", "Difference", "TensorDifference"),
    "Export to ONNX": ("weights_tools.export_onnx", "export"),
    "Export to timm": ("weights_tools.export_safetensors", "export_safetensors", "Exported"),
    "Model files": ("minimix.weights", "load", "save", "ModelFile"),
    "What a checkpoint means": ("minimix.dialect", "Dialect", "Pipeline"),
}


def write(folder: Path) -> None:
    """Write an index and a page per part of the API."""
    folder.mkdir()
    pages = {
        "minimix": _page("minimix", "``import minimix as mx``", _minimix()),
        "ops": _page("Operators", inspect.getdoc(ops) or "", _operators()),
        "workflows": _page(
            "Workflows",
            "What the commands ``features``, ``validate``, ``finetune`` and ``batch`` run.",
            _modules(_WORKFLOWS),
        ),
        "weights_tools": _page(
            "Checkpoints",
            "What ``python -m weights_tools`` runs, and what a model file holds.",
            _modules(_WEIGHTS_TOOLS),
        ),
        "errors": _page("Errors", "All are caught by ``minimix.MinimixError``.", _errors()),
    }
    for name, text in pages.items():
        (folder / f"{name}.rst").write_text(text, "utf-8")
    lines = (
        "minimix: load, classify, look inside <minimix>",
        "Operators: what a layer is, in NumPy <ops>",
        "Workflows: features, accuracy, fine-tuning, batches <workflows>",
        "Checkpoints: read, convert, verify, export <weights_tools>",
        "Errors and exit codes <errors>",
    )
    note = "From the docstrings; the :ref:`index <genindex>` has all names.\n\n"
    note += ".. toctree::\n   :maxdepth: 3\n\n"
    text = _page("API reference", note, [f"   {line}\n" for line in lines])
    (folder / "index.rst").write_text(text, "utf-8")


def _page(title: str, opening: str, parts: Iterable[str]) -> str:
    return f"{title}\n{'=' * len(title)}\n\n{opening}\n\n{''.join(parts)}"


def _section(title: str) -> str:
    return f"\n{title}\n{'-' * len(title)}\n\n"


def _minimix() -> Iterator[str]:
    placed = {name for names in _MINIMIX.values() for name in names}
    others = [name for name in minimix.__all__ if name not in {*placed, "MinimixError", "ops"}]
    others.remove("__version__")
    for title, names in {**_MINIMIX, "In other programs": others}.items():
        yield _section(title)
        yield from (_documented("minimix", name) for name in names)


def _operators() -> Iterator[str]:
    functions = [name for name in ops.__all__ if inspect.isfunction(getattr(ops, name))]
    yield _section("Functions of arrays")
    yield from (_documented("minimix.ops", name) for name in functions)
    yield _section("What a graph's nodes are")
    yield "Shapes and costs as integer functions; the tables in ``minimix.ops`` compute them.\n\n"
    yield from (
        _documented("minimix.operators", name)
        for name, kind in vars(operators).items()
        if inspect.isclass(kind) and kind.__module__ == operators.__name__
    )
    yield _section("The reference engine")
    yield _documented("minimix.engine.reference", "ReferenceEngine")


def _modules(sections: dict[str, tuple[str, ...]]) -> Iterator[str]:
    for title, (module, *names) in sections.items():
        yield _section(title)
        yield from (_documented(module, name) for name in names)


def _errors() -> Iterator[str]:
    yield _documented("minimix", "MinimixError")
    for name, kind in vars(errors).items():
        if inspect.isclass(kind) and kind is not errors.MinimixError:
            yield _documented("minimix.errors", name)


def _documented(module: str, name: str) -> str:
    kind = "class" if inspect.isclass(getattr(import_module(module), name)) else "function"
    return f".. auto{kind}:: {module}.{name}\n\n"
