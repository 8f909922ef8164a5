"""Everything that is known about one model: embedded, released, or a file of the user's.

As JSON all have the same keys, with null for what does not apply or is not known:

- ``name``, ``weights`` (whose), ``embedded``, ``state``, ``classes``, ``size`` (pixels), ``note``
  and ``license``;
- ``path`` and ``stored_bytes`` of the model file, if it is here;
- ``url``, ``release_bytes``, ``check``, ``sha256_prefix``, ``sha384``, ``top1`` and ``top5`` as
  published, of a release; ``pinned_sha256`` of its first fetch, or ``pin_problem`` where the pin is
  damaged.

``contents``, in ``minimix models show`` alone, is what a model file holds.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from minimix.errors import WeightsError
from minimix.hub.releases import EMBEDDED, EMBEDDED_LICENSE, EMBEDDED_NOTE, MODELS, WORTH, Release

if TYPE_CHECKING:
    from minimix.weights import ModelFile

_FIRST_LABELS = 5
_OF_A_RELEASE = (
    *("url", "release_bytes", "check", "sha256_prefix", "sha384"),
    *("pinned_sha256", "pin_problem", "top1", "top5"),
)


def embedded_json() -> dict[str, Any]:
    """The embedded model, in plain JSON types."""
    from minimix.hub import embedded_path

    return {
        "name": EMBEDDED,
        "weights": None,
        "embedded": True,
        "state": "embedded",
        **_stored(embedded_path()),
        **_family(EMBEDDED),
        "note": EMBEDDED_NOTE,
        "license": EMBEDDED_LICENSE,
        **dict.fromkeys(_OF_A_RELEASE),
    }


def release_json(release: Release) -> dict[str, Any]:
    """A released model and what of it is here, in plain JSON types."""
    from minimix.hub.modelcache import cached_path, is_cached

    path = cached_path(release)
    is_here = is_cached(release)
    pinned, pin_problem = _pin(release)
    state = "cached" if is_here else "" if pin_problem else "can be fetched"
    top1, top5 = release.accuracy or (None, None)
    return {
        "name": release.model,
        "weights": release.weights,
        "embedded": False,
        "state": ", ".join(filter(None, (state, "damaged pin" if pin_problem else ""))),
        **_stored(path if is_here else None),
        **_family(release.model),
        "note": release.accuracy_text,
        "license": release.license,
        "url": release.url,
        "release_bytes": release.size_bytes,
        "check": release.check,
        "sha256_prefix": release.sha256_prefix or None,
        "sha384": release.sha384 or None,
        "pinned_sha256": pinned,
        "pin_problem": pin_problem,
        "top1": top1,
        "top5": top5,
    }


def _pin(release: Release) -> tuple[str | None, str | None]:
    """The pinned SHA-256, and what is wrong with the pin."""
    from minimix.hub.pins import read_pin

    try:
        return read_pin(release) or None, None
    except WeightsError as error:
        return None, str(error)


def _stored(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {"path": None, "stored_bytes": None}
    return {"path": str(path), "stored_bytes": path.stat().st_size}


def _family(name: str) -> dict[str, int]:
    from minimix.zoo import FAMILIES

    return {"classes": FAMILIES[name].num_classes, "size": FAMILIES[name].size}


def release_pairs(release: Release, facts: dict[str, Any]) -> list[tuple[str, str]]:
    """The same for people; ``facts`` are those of ``release_json``."""
    others = ", ".join(other for other in MODELS[release.model] if other != release.weights)
    size = "not published" if release.size_bytes is None else f"{release.size_bytes:,} bytes"
    here = f"{facts['path']} ({facts['stored_bytes']:,} bytes)" if facts["path"] else None
    return [
        ("name", release.model),
        ("weights", release.weights + (f"; there are also {others}" if others else "")),
        ("accuracy", release.accuracy_text),
        ("licence", release.license),
        ("released at", release.url),
        *(("also at", text) for text in release.elsewhere),
        ("size", size),
        ("check", release.check_text),
        *(("" if n else "its worth", text) for n, text in enumerate(WORTH[release.check])),
        (
            "pinned",
            facts["pinned_sha256"]
            or facts["pin_problem"]
            or "not yet; what is fetched first is what must come later",
        ),
        ("cached", here or f"no; minimix models fetch {release.arguments}"),
    ]


def file_json(path: Path, *, is_embedded: bool) -> dict[str, Any]:
    """A model file and its contents, in plain JSON types; errors as ``minimix.weights.load``."""
    from minimix import weights

    file = weights.load(path)
    facts = embedded_json() | {
        "name": file.architecture.name,
        **_stored(path),
        "classes": file.architecture.num_classes,
        "size": file.pipeline.size,
    }
    if not is_embedded:
        license_ = file.provenance.get("license")
        facts |= {"embedded": False, "state": "file", "note": None, "license": license_}
    return facts | {"contents": _contents(path, file)}


def _contents(path: Path, file: ModelFile) -> dict[str, Any]:
    import hashlib

    graph, size = file.graph, file.pipeline.size
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "sha256": digest,
        "dtype": file.dtype,
        "parameters": sum(map(graph.param_count, graph)),
        "macs": sum(graph.macs(size, size).values()),
        "architecture": file.architecture.to_json(),
        "dialect": file.dialect.to_json(),
        "pipeline": file.pipeline.to_json(),
        "labels": list(file.labels),
        "provenance": {k: v for k, v in file.provenance.items() if k != "tensors"},
    }


def file_pairs(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """The same for people; ``facts`` are those of ``file_json``."""
    held = facts["contents"]
    labels, provenance = held["labels"], held["provenance"]
    architecture, pipeline, dialect = (held[k] for k in ("architecture", "pipeline", "dialect"))
    eps = dialect["batch_norm_eps"]
    source = provenance.get("source", {})
    return [
        ("name", facts["name"]),
        ("file", f"{facts['path']} ({facts['stored_bytes']:,} bytes, {held['dtype']})"),
        ("sha256", held["sha256"]),
        (
            "architecture",
            f"stem {architecture['stem_channels']}, {len(architecture['blocks'])} blocks, "
            f"head {architecture['head_channels']}, {architecture['num_classes']:,} classes",
        ),
        ("parameters", f"{held['parameters']:,}"),
        ("multiply-adds", f"{held['macs']:,} at {pipeline['size']} px"),
        (
            "dialect",
            f"{dialect['name']}: {dialect['padding']} padding, batch norm "
            + ("folded" if eps is None else f"eps {eps:g}")
            + f", squeeze-excite activation {dialect['se_activation']}",
        ),
        (
            "pipeline",
            f"{pipeline['name']}: {pipeline['size']} px, {pipeline['crop']} "
            f"{pipeline['crop_fraction']}, {pipeline['resize']}, {pipeline['channels']}",
        ),
        ("labels", _first(labels)),
        ("licence", str(provenance.get("license", "not stated"))),
        ("made by", str(provenance.get("tool", "not stated"))),
        *((f"source {key.replace('_', ' ')}", str(value)) for key, value in source.items()),
    ]


def _first(labels: list[str]) -> str:
    more = f" and {len(labels) - _FIRST_LABELS:,} more" * (len(labels) > _FIRST_LABELS)
    return f"{len(labels):,}: {', '.join(labels[:_FIRST_LABELS])}{more}"
