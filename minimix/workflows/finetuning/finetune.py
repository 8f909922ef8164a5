"""A model file with a new classifier: the backbone as it was, its last step learned from pictures.

pictures -> features of pictures and views -> accuracy -> classifier of all pictures -> model file
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import minimix
from minimix import weights
from minimix.arrays import Array
from minimix.errors import InputError, UsageError
from minimix.files import check_free
from minimix.images import Exif
from minimix.model import Model
from minimix.weights import ModelFile
from minimix.workflows.features import POOLED
from minimix.workflows.finetuning.assessing import (
    Accuracy,
    Features,
    assess,
    best_penalty,
    held_out,
    is_enough_to_hold_out,
)
from minimix.workflows.finetuning.augment import ViewingModel, Views
from minimix.workflows.finetuning.classifier import Classifier, Learner, check_installed
from minimix.workflows.finetuning.data import FEWEST, Pictures
from minimix.workflows.node_output import NodeOutput
from minimix.workflows.resuming.parts import Parts, is_product, parts_folder
from minimix.workflows.resuming.rows import RowType
from minimix.workflows.resuming.tasks import Progress, Task, complete, model_facts, opened, results
from minimix.workflows.wording import counted

MOST_VIEWS = 64
_VIEWS, _ENOUGH_ROWS = 8, 10_000
_BACKBONE, _CLASSIFIER = "backbone: ", "; classifier: learned from your pictures"

Told = Callable[[Accuracy], None]


@dataclass(frozen=True)
class Options:
    """How the classifier is learned and assessed.

    Attributes:
        learner: logistic or ridge, and whether classes are balanced.
        held_out: share of every class's pictures that accuracy is measured on, from 0 to below 1.
            Where that is fewer than five a class on average, as 0.2 of fewer than 25 are, folds
            take turns instead; with 0 always.
        views: of every picture that is learned from: crops, half of them mirrored.  None is 8, and
            fewer where there are more than about a thousand pictures.
        flips: whether views are mirrored.
        final: what the written classifier has learned from: ``all`` pictures, or ``train``, those
            that are not held out; then it is the very one whose accuracy was measured.
        seed: of the split, the folds and the views.
    """

    learner: Learner = field(default_factory=Learner)
    held_out: float = 0.2
    views: int | None = None
    flips: bool = True
    final: Literal["all", "train"] = "all"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise UsageError(f"held_out is {self.held_out!r}; expected a share from 0 to below 1")
        if self.views is not None and not 0 <= self.views <= MOST_VIEWS:
            raise UsageError(f"views are {self.views!r}; expected 0 to {MOST_VIEWS}")
        if self.final == "train" and not self.held_out:
            raise UsageError("without held-out pictures there is none to leave out at the end")

    def views_of(self, count: int) -> int:
        """How many views are taken of each of so many pictures.

        >>> [Options().views_of(count) for count in (80, 3000, 50_000)]
        [8, 2, 0]
        """
        if self.views is not None:
            return self.views
        return min(_VIEWS, max(0, _ENOUGH_ROWS // count - 1))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "classifier": self.learner.kind,
            "class_weight": "balanced" if self.learner.is_balanced else None,
            "held_out": self.held_out,
            "final": self.final,
            "flips": self.flips,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Finetuned:
    """What was learned, and how good it is.

    Attributes:
        file: the model, as it was written.
        accuracy: on pictures that were not learned from.
        counts: readable pictures of every class.
        learned: pictures that the written classifier has learned from.
        views: of each of them.
        penalty: per row, of the written classifier.
        has_converged: whether the optimiser came to its end.
        failed: (name, why) of every picture that could not be read; they count nowhere.
        found: pictures whose features an earlier run had computed.
    """

    file: ModelFile
    accuracy: Accuracy
    counts: tuple[int, ...]
    learned: int
    views: int
    penalty: float
    has_converged: bool
    failed: tuple[tuple[str, str], ...]
    found: int


def check_result(out: Path, *, force: bool) -> None:
    """Check that a model can be written to a file.

    Raises:
        UsageError: it exists, it does not end in .h5, or scikit-learn is not installed.
    """
    if out.suffix != ".h5":
        raise UsageError(f"{out}: expected a name that ends in .h5, as model files do")
    check_free(out, force=force or is_product(parts_folder(out), out))
    check_installed()


def finetune(
    model: Model,
    pictures: Pictures,
    out: Path,
    options: Options = Options(),  # noqa: B008 - frozen
    *,
    exif: Exif = "apply",
    batch_size: int = 16,
    force: bool = False,
    restart: bool = False,
    progress: Progress | None = None,
    told: Told | None = None,
) -> Finetuned:
    """Learn a classifier of new classes on a model's pooled features; write the model with it.

    Features are kept in ``OUT.parts/`` until the end; the same call goes on where another was cut.

    Args:
        model: whose backbone is taken as it is.
        pictures: ``minimix.workflows.finetuning.data.gather`` makes them.
        out: the model file to write.
        options: how to learn.
        exif: whether the orientation that a camera noted is applied.
        batch_size: pictures computed together.
        force: replace an existing file.
        restart: discard what an earlier run left behind.
        progress: called with the pictures done, and their number.
        told: called with the accuracy as soon as it is known.

    Raises:
        UsageError: the file exists, scikit-learn is not installed, or other work is kept there.
        InputError: of some class, fewer than two pictures can be read.
        OutputError: the disk is full, the folder is read-only.
    """
    check_result(out, force=force)
    views = Views(options.views_of(len(pictures.inputs)), options.flips, options.seed)
    task = _task(model, pictures, views, exif, batch_size)
    with opened(task, parts_folder(out), restart=restart) as parts:
        found = complete(task, parts, progress)
        features, failed = _features(task, parts, pictures)
        _refuse_too_few(features, failed, pictures, parts)
        rng = np.random.default_rng(options.seed)
        asked = None
        enough = is_enough_to_hold_out(len(features), len(pictures.labels), options.held_out)
        if enough or options.final == "train":
            asked = held_out(features.classes, options.held_out, rng)
        accuracy = assess(features, options.learner, asked, rng)
        if told is not None:
            told(accuracy)
        if options.final == "train" and asked is not None:
            features, penalty = features.of(~asked), accuracy.penalties[0]
        else:
            penalty = best_penalty(features, options.learner, rng)
        classifier = features.fit(options.learner, penalty)
        counts = _counts(features, pictures)
        provenance = _provenance(model, pictures, options, accuracy, counts)
        provenance["finetuning"] |= {"views": views.count, "penalty": penalty}
        file = with_classifier(model, classifier, pictures.labels, provenance)
        with parts.result(out) as temporary:
            weights.save(temporary, file)
    return Finetuned(
        file,
        accuracy,
        counts,
        len(features),
        views.count,
        penalty,
        classifier.has_converged,
        tuple(failed),
        found,
    )


def with_classifier(
    model: Model, classifier: Classifier, labels: tuple[str, ...], provenance: dict[str, Any]
) -> ModelFile:
    """Return a model's file with another last step; float32, so that nothing is rounded twice."""
    last = {
        "classifier.weight": classifier.weight.astype(np.float32),
        "classifier.bias": classifier.bias.astype(np.float32),
    }
    return ModelFile(
        architecture=replace(model.file.architecture, num_classes=len(labels)),
        dialect=model.file.dialect,
        pipeline=model.pipeline,
        labels=labels,
        params={**model.file.params, **last},
        provenance=provenance,
    )


def _task(model: Model, pictures: Pictures, views: Views, exif: Exif, batch_size: int) -> Task:
    network = NodeOutput(model, POOLED)
    rows = 1 + views.count

    def compute(x: Array) -> NDArray[Any]:
        pooled = [network(x[n : n + batch_size]) for n in range(0, len(x), batch_size)]
        return np.concatenate(pooled).reshape(-1, rows, *network.shape)

    return Task(
        "finetune",
        ViewingModel(model, views),
        compute,
        RowType(np.dtype("<f4"), (rows, *network.shape)),
        pictures.inputs,
        exif,
        # So that as many network inputs wait decoded as in other commands.
        max(1, batch_size // rows),
        options={"views": views.count, "flips": views.flips, "seed": views.seed},
    )


def _features(
    task: Task, parts: Parts, pictures: Pictures
) -> tuple[Features, list[tuple[str, str]]]:
    """Features of all pictures that could be read; (name, why) of the others."""
    values = np.empty((len(pictures.inputs), *task.kind.shape), np.float32)
    is_there = np.ones(len(values), np.bool_)
    failed: list[tuple[str, str]] = []
    for span, rows in results(task, parts):
        values[span.start : span.stop] = rows.values
        is_there[span.start : span.stop] = rows.ok
        failed += [(pictures.inputs[span[n]].name, why) for n, why in sorted(rows.failed.items())]
    features = Features(values, np.array(pictures.classes, np.intp))
    return (features.of(is_there) if failed else features), failed


def _counts(features: Features, pictures: Pictures) -> tuple[int, ...]:
    return tuple(np.bincount(features.classes, minlength=len(pictures.labels)).tolist())


def _refuse_too_few(
    features: Features, failed: list[tuple[str, str]], pictures: Pictures, parts: Parts
) -> None:
    for label, count in zip(pictures.labels, _counts(features, pictures), strict=True):
        if count < FEWEST:
            parts.remove()  # other pictures are other work
            why = "".join(f"\n  {name}: {reason}" for name, reason in failed[:5])
            raise InputError(
                f"{pictures.folder}: of class {label!r} {counted(count, 'picture')} can be read, "
                f"expected {FEWEST} or more; {len(failed):,} of {len(pictures.inputs):,} failed, "
                f"the first of them:{why}"
            )


def _provenance(
    model: Model,
    pictures: Pictures,
    options: Options,
    accuracy: Accuracy,
    counts: tuple[int, ...],
) -> dict[str, Any]:
    """Where the backbone comes from, as its own file says it, and how the classifier was made."""
    theirs = model.file.provenance
    license_ = theirs.get("license", "").removeprefix(_BACKBONE).removesuffix(_CLASSIFIER)
    backbone: dict[str, Any] = {
        "name": model.name,
        "sha256": model_facts(model)["sha256"],
        "classes": len(model.labels),
        "license": license_,
    }
    if "finetuning" in theirs:
        backbone["finetuning"] = theirs["finetuning"]
    kept: dict[str, Any] = {
        key: {name: value for name, value in theirs[key].items() if "classifier." not in name}
        for key in ("tensors", "ignored")
        if key in theirs
    }
    return {
        **theirs,
        **kept,
        "tool": f"minimix {minimix.__version__} finetune",
        "license": f"{_BACKBONE}{license_ or 'not stated'}{_CLASSIFIER}",
        "finetuning": {
            "backbone": backbone,
            "folder": os.fsencode(pictures.folder).decode("utf-8", "replace"),
            "pictures": dict(zip(pictures.labels, counts, strict=True)),
            "accuracy": accuracy.to_json(),
            **options.to_json(),
        },
    }
