"""Write the three tiny torch files beside this script; needs PyTorch (2.13 made those kept here).

Run: python tests/golden/make_torch_files.py
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path


def main() -> None:
    """Save one state dict in both formats, and one of bfloat16."""
    import torch

    folder = Path(__file__).parent
    state: OrderedDict[str, object] = OrderedDict()
    state["conv.weight"] = torch.arange(6, dtype=torch.float32).reshape(2, 3) / 4
    state["conv.transposed"] = torch.arange(6, dtype=torch.float16).reshape(2, 3).T
    state["bn.num_batches_tracked"] = torch.tensor(7)
    state._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    torch.save(state, folder / "torch_zip.pth")
    torch.save(state, folder / "torch_legacy.pth", _use_new_zipfile_serialization=False)
    halves = torch.tensor([1.0, -2.5, 3.140625], dtype=torch.bfloat16)
    torch.save({"state_dict": {"module.w": halves}, "epoch": 7}, folder / "torch_bfloat16.pth")


if __name__ == "__main__":
    main()
