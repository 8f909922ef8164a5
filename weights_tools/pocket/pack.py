"""Make the embedded model file from what ``weights_tools.pocket.train`` wrote.

python -m weights_tools.pocket.pack run/ -o minimix/data/mixnet-pocket.h5
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np

import minimix
from minimix import weights
from minimix.dialect import DIALECTS, PIPELINES
from minimix.weights import ModelFile
from minimix.zoo import FAMILIES, architecture
from weights_tools.pocket.classes import LABELS

LICENSE = "Apache-2.0; trained on drawings from Noto Color Emoji (SIL Open Font License 1.1)"


def pack(run: Path, out: Path, *, force: bool = False) -> None:
    """Write ``run/params.npz`` as a float16 model file, with the curve's end as provenance.

    Raises:
        OSError: the run's files are missing.
        WeightsError: the parameters are not mixnet-pocket's.
    """
    source = run / "params.npz"
    data = source.read_bytes()
    with np.load(source) as stored:
        params = {name: stored[name] for name in stored}
    last = json.loads((run / "curve.ndjson").read_text().splitlines()[-1])
    file = ModelFile(
        architecture=architecture("mixnet-pocket"),
        dialect=DIALECTS["timm"],
        pipeline=PIPELINES["timm"].with_size(FAMILIES["mixnet-pocket"].size),
        labels=LABELS,
        params=params,
        provenance={
            "source": {
                "name": "weights_tools.pocket.train",
                "container": "npz",
                "size_bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            },
            "tool": f"minimix {minimix.__version__}",
            "license": LICENSE,
            "training": last,
        },
        dtype="float16",
    )
    weights.save(out, file, force=force)


def main() -> None:
    """Read the arguments and pack."""
    parser = argparse.ArgumentParser(description="Make the embedded model file of a training run.")
    parser.add_argument("run", type=Path, help="the folder that the training wrote")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    arguments = parser.parse_args()
    pack(arguments.run, arguments.out, force=arguments.force)


if __name__ == "__main__":
    main()
