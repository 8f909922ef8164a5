"""Everything that is known about one model: embedded, released, or a file of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minimix.hub.releases import EMBEDDED, EMBEDDED_LICENSE, EMBEDDED_NOTE, MODELS, WORTH, Release

_FIRST_LABELS = 5


def embedded_json() -> dict[str, Any]:
    """The embedded model, in plain JSON types."""
    from minimix.hub import embedded_path

    return {
        **_facts(EMBEDDED, "", embedded_path(), "embedded"),
        "note": EMBEDDED_NOTE,
        "license": EMBEDDED_LICENSE,
        **dict.fromkeys(
            (
                "url",
                "size_bytes",
                "check",
                "sha256_prefix",
                "sha384",
                "pinned_sha256",
                "top1",
                "top5",
            )
        ),
    }


def release_json(release: Release) -> dict[str, Any]:
    """A released model and what of it is here, in plain JSON types."""
    from minimix.hub.modelcache import cached_path
    from minimix.hub.pins import read_pin

    path = cached_path(release)
    is_cached = path.is_file()
    state = "cached" if is_cached else "can be fetched"
    top1, top5 = release.accuracy or (None, None)
    return {
        **_facts(release.model, release.weights, path if is_cached else None, state),
        "note": release.accuracy_text,
        "license": release.license,
        "url": release.url,
        "size_bytes": release.size_bytes,
        "check": release.check,
        "sha256_prefix": release.sha256_prefix or None,
        "sha384": release.sha384 or None,
        "pinned_sha256": read_pin(release) or None,
        "top1": top1,
        "top5": top5,
    }


def _facts(name: str, weights: str, path: Path | None, state: str) -> dict[str, Any]:
    from minimix.zoo import FAMILIES

    return {
        "name": name,
        "weights": weights or None,
        "embedded": not weights,
        "state": state,
        "path": None if path is None else str(path),
        "stored_bytes": None if path is None else path.stat().st_size,
        "classes": FAMILIES[name].num_classes,
        "size": FAMILIES[name].size,
    }


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
            facts["pinned_sha256"] or "not yet; what is fetched first is what must come later",
        ),
        ("cached", here or f"no; minimix models fetch {release.arguments}"),
    ]


def file_json(path: Path) -> dict[str, Any]:
    """A model file, in plain JSON types; errors as ``minimix.weights.load``."""
    import hashlib

    from minimix import weights

    file = weights.load(path)
    graph = file.graph
    size = file.pipeline.size
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "name": file.architecture.name,
        "path": str(path),
        "size_bytes": path.stat().st_size,
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
    labels, provenance = facts["labels"], facts["provenance"]
    architecture, pipeline, dialect = (facts[k] for k in ("architecture", "pipeline", "dialect"))
    eps = dialect["batch_norm_eps"]
    source = provenance.get("source", {})
    return [
        ("name", facts["name"]),
        ("file", f"{facts['path']} ({facts['size_bytes']:,} bytes, {facts['dtype']})"),
        ("sha256", facts["sha256"]),
        (
            "architecture",
            f"stem {architecture['stem_channels']}, {len(architecture['blocks'])} blocks, "
            f"head {architecture['head_channels']}, {architecture['num_classes']:,} classes",
        ),
        ("parameters", f"{facts['parameters']:,}"),
        ("multiply-adds", f"{facts['macs']:,} at {pipeline['size']} px"),
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
