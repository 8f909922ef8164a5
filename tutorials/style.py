"""One visual language for the tutorials' pictures; importing it sets matplotlib's defaults.

Every picture is 8 inches wide and has one font, so that it looks the same on every machine and
can be read at 800 px.  The colours of kernels and both maps come from ``minimix.palette``; what is
no kernel is drawn in ink, grey and one accent.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch

from minimix.palette import KERNEL_HATCHES, OTHER_COLOUR, diverging, kernel_colour, sequential

if "MPLBACKEND" not in os.environ:  # a notebook sets it; a script draws to files only
    matplotlib.use("agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).resolve().parent
IMAGES = HERE / "images"
PICTURES_VARIABLE = "MINIMIX_TUTORIAL_PICTURES"

WIDTH = 8.0
"""Inches; shown 800 px wide."""

INK, GREY, PALE, ACCENT = "#1F2933", OTHER_COLOUR, "#E5E7EB", "#4C3A9E"
"""Text and main marks; what is secondary; grids and empty bars; the one thing to look at."""

SEQUENTIAL = ListedColormap(sequential() / 255, name="minimix-sequential")
"""For activations: dark blue is low, light yellow is high."""

DIVERGING = ListedColormap(diverging() / 255, name="minimix-diverging")
"""For weights and attributions: blue is negative, near white is zero, red is positive."""

plt.rcParams.update(
    {
        "font.family": "DejaVu Sans",  # comes with matplotlib; its figures are tabular
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": GREY,
        "axes.titlesize": 9.5,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": False,
        "axes.axisbelow": True,
        "grid.color": PALE,
        "xtick.color": GREY,
        "ytick.color": GREY,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "hatch.linewidth": 0.7,
        "image.interpolation": "nearest",
        "figure.dpi": 100,
        "savefig.dpi": 200,
    }
)


@dataclass(frozen=True)
class Picture:
    """A saved picture; a notebook shows it."""

    path: Path
    alt: str

    def __repr__(self) -> str:
        return f"<picture {self.path.name}>"

    def _repr_png_(self) -> tuple[bytes, dict[str, Any]]:
        return self.path.read_bytes(), {"width": round(WIDTH * 100), "alt": self.alt}


def figure(height: float, title: str, note: str = "") -> Figure:
    """Inches, what the picture shows, where its numbers come from -> an empty figure, 8 in wide.

    The title is one sentence, the finding; the note, small and at the bottom, names units and
    model.  Axes are laid out around each other by themselves (matplotlib's "constrained" layout).
    """
    spaced = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08, wspace=0.03, hspace=0.03)
    drawn = plt.figure(figsize=(WIDTH, height), layout=spaced)
    drawn.suptitle(title, x=0.012, ha="left", fontsize=12.5, fontweight="bold")
    if note:
        drawn.supxlabel(note, x=0.012, ha="left", fontsize=8, color=GREY)
    return drawn


def save(drawn: Figure, name: str, alt: str) -> Picture:
    """Write the tutorial's one picture, NAME.png, into ``tutorials/pictures`` and say where it is.

    The environment variable MINIMIX_TUTORIAL_PICTURES names another folder.

    Args:
        drawn: the figure; it is closed.
        name: of the tutorial's file, without its ending.
        alt: what the picture shows, for those who do not see it.
    """
    folder = Path(os.environ.get(PICTURES_VARIABLE) or HERE / "pictures")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    drawn.savefig(path, metadata={"Description": alt, "Software": None})
    plt.close(drawn)
    print(f"picture: {os.path.relpath(path)}")
    return Picture(path, alt)


def kernel_style(kernel_size: int) -> dict[str, Any]:
    """Kernel size -> the keywords that draw its bars and boxes: colour and hatch."""
    return {
        "facecolor": kernel_colour(kernel_size),
        "hatch": KERNEL_HATCHES.get(kernel_size, ""),
        "edgecolor": "white",
        "linewidth": 0.5,
    }


def kernel_legend(where: Axes | Figure, kernel_sizes: Sequence[int], **place: Any) -> None:
    """Name the colours and hatches of kernel sizes: ``3 x 3``, ``5 x 5``, ..."""
    patches = [Patch(**kernel_style(k), label=f"{k} × {k}") for k in kernel_sizes]
    where.legend(handles=patches, **place)


def show(ax: Axes, pixels: np.ndarray, title: str = "") -> None:
    """(H, W, 3) in 0..255 -> the picture itself, without ticks."""
    ax.imshow(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
    _frame(ax, title)


def heat(
    ax: Axes,
    values: np.ndarray,
    title: str = "",
    *,
    signed: bool = False,
    low: float | None = None,
    high: float | None = None,
    label: str | None = None,
) -> Any:
    """(H, W) numbers -> a map of them, with its scale beside it if ``label`` names what they are.

    Args:
        ax: where.
        values: activations, or with ``signed`` weights or attributions, zero in the middle.
        title: above the map.
        signed: the diverging map; ``high`` is then the largest magnitude, ``-high`` the lowest.
        low: the number of the first colour; by default the smallest value.
        high: the number of the last colour; by default the largest.
        label: what the numbers are, and their unit; without it the caller shows the scale
            elsewhere, by ``scale``.
    """
    high = float(np.abs(values).max() if signed else values.max()) if high is None else high
    low = -high if signed else float(values.min()) if low is None else low
    image = ax.imshow(values, cmap=DIVERGING if signed else SEQUENTIAL, vmin=low, vmax=high)
    _frame(ax, title)
    if label is not None:
        scale(ax, image, label)
    return image


def scale(axes: Axes | Sequence[Axes], image: Any, label: str, **place: Any) -> Any:
    """Draw the scale of a map beside one or several axes: its ends, the middle, and the label."""
    first: Axes = np.asarray(axes, object).flat[0]
    bar = first.figure.colorbar(image, ax=axes, **({"fraction": 0.05, "pad": 0.03} | place))
    low, high = image.get_clim()
    values = [low, (low + high) / 2, high]
    bar.set_ticks(values, labels=[f"{value:.3g}".replace("-", "−") for value in values])
    bar.set_label(label)
    bar.outline.set_visible(False)
    return bar


def _frame(ax: Axes, title: str) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.set_title(title)
