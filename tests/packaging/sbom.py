"""``python -m tests.packaging.sbom > FILE``: what an installation consists of, as CycloneDX."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.packaging.components import Component, closure, ours

SPECIFICATION = "1.6"


def bill(root: Component, components: Mapping[str, Component]) -> dict[str, Any]:
    """A CycloneDX document; the same installation gives the same one."""
    everything = [root, *components.values()]
    links = [
        {"ref": _purl(one), "dependsOn": [_purl(components[name]) for name in one.requires]}
        for one in everything
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "version": 1,
        "metadata": {"component": _entry(root)},
        "components": [_entry(one) for one in components.values()],
        "dependencies": links,
    }


def _entry(component: Component) -> dict[str, Any]:
    stated: dict[str, Any] = {"license": {"name": component.license}}
    return {
        "type": "library",
        "bom-ref": _purl(component),
        "name": component.name,
        "version": component.version,
        "purl": _purl(component),
        "licenses": [{"expression": component.license} if component.is_expression else stated],
    }


def _purl(component: Component) -> str:
    return f"pkg:pypi/{component.name}@{component.version}"


def main() -> None:
    """Print it."""
    root = ours()
    print(json.dumps(bill(root, closure(root.requires)), indent=2))


if __name__ == "__main__":
    main()
