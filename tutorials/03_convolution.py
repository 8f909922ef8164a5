# %% [markdown]
# # 3. Convolution in five nested loops
#
# What does a convolution compute, number by number?

# %%
import time

import numpy as np

import minimix as mx
import style

net = mx.load("mixnet-pocket", engine="reference")
x = net.preprocess(style.IMAGES / "panda.png")
with net.trace(x, keep="stem.conv") as trace:
    stem = trace["stem.conv"]
(weight,) = stem.params
print(f"picture {x.shape}, weights {weight.shape}, result {stem.output.shape}")

# %% [markdown]
# This is the first layer of a real network. Its weights are eight small colour pictures, 3 pixels
# by 3 by three colours: the *kernels*. Lay one on the photo, multiply what lies on top of each
# other, add up the 27 products. That sum is one pixel of the result. Then move two pixels on (the
# *stride*) and do it again.
#
# Around the photo lies a frame of zeros, so that the kernel can stand on the edge as well. Here is
# the whole definition, for one kernel:


# %%
def convolve(picture, kernel, stride):
    """(H, W, C), (K, K, C) -> (Ho, Wo)."""
    H, W, C = picture.shape
    K = kernel.shape[0]
    padded = np.pad(picture, ((K // 2, K // 2), (K // 2, K // 2), (0, 0)))
    Ho, Wo = -(-H // stride), -(-W // stride)  # rounded up
    y = np.zeros((Ho, Wo), np.float32)
    for i in range(Ho):
        for j in range(Wo):
            for di in range(K):
                for dj in range(K):
                    for c in range(C):
                        pixel = padded[i * stride + di, j * stride + dj, c]
                        y[i, j] += pixel * kernel[di, dj, c]
    return y


KERNEL = 4
start = time.perf_counter()
ours = convolve(x[0], weight[..., KERNEL], stride=2)
loops_ms = (time.perf_counter() - start) * 1e3

# %% [markdown]
# Is that really what the network computes? Compare with its own result for that kernel.

# %%
theirs = stem.output[0, ..., KERNEL]
print(f"largest difference: {np.abs(ours - theirs).max():.1e}, values reach {theirs.max():.1f}")
assert ours.shape == theirs.shape == (48, 48)
assert np.allclose(ours, theirs, atol=1e-5)

# %% [markdown]
# How much work is it? One multiplication and one addition in the innermost loop: a *multiply-add*,
# or MAC, the unit in which networks are priced. Count the loops' lengths.

# %%
macs = 48 * 48 * 3 * 3 * 3
print(
    f"{macs:,} MACs a kernel, {8 * macs:,} for the layer; {loops_ms:.0f} ms for the one in Python"
)
assert 8 * macs == net.graph.macs(96, 96)["stem.conv"]

# %% [markdown]
# Python's loops are slow; the definition is not to blame. `minimix.ops.conv2d` swaps the order: it
# loops over the nine places of the kernel only, and lets NumPy do all pixels at once. Same sums.

# %%
start = time.perf_counter()
all_eight = mx.ops.conv2d(x, weight, stride=2)
numpy_ms = (time.perf_counter() - start) * 1e3
print(f"NumPy: {numpy_ms:.1f} ms for all eight kernels, {8 * loops_ms / numpy_ms:.0f} times faster")
assert np.allclose(all_eight[0, ..., KERNEL], ours, atol=1e-5)
assert numpy_ms < loops_ms

# %% [markdown]
# ## The picture
#
# The pixel that answers this kernel most. On the left where it lies; on the right all there is to
# it: 27 numbers of the photo, 27 weights, 27 products, one sum. It equals what the network
# recorded. Light lies above dark there, and the kernel's weights are positive above and negative
# below: in this photo, that is what it looks for.

# %%
i, j = np.unravel_index(theirs.argmax(), theirs.shape)
top, left = 2 * i - 1, 2 * j - 1  # of the patch, in the photo
patch = x[0, top : top + 3, left : left + 3]
kernel = weight[..., KERNEL]
products = patch * kernel
total = products.sum()
print(f"pixel ({i}, {j}): {total:.4f}, recorded {theirs[i, j]:.4f}")
assert patch.shape == kernel.shape == (3, 3, 3)
assert np.isclose(total, theirs[i, j], atol=1e-5)
assert patch[0].mean() > patch[2].mean() and kernel[0].mean() > 0 > kernel[2].mean()

# %%
from matplotlib.patches import Rectangle

fig = style.figure(
    5.9,
    f"27 numbers × 27 weights, added up: one pixel, {total:.2f}",
    f"mixnet-pocket, stem.conv, kernel {KERNEL} of 0..7, stride 2, on panda.png at 96 px · values "
    "after normalisation, no unit",
)
maps, sums = fig.subfigures(1, 2, width_ratios=[1, 1.9])
seen, answer = maps.subplots(2, 1)
shown = x[0] * net.pipeline.std + net.pipeline.mean
style.show(seen, 255 * shown, f"photo, {x.shape[1]} × {x.shape[2]} px")
seen.add_patch(Rectangle((left - 0.5, top - 0.5), 3, 3, fill=False, ec=style.ACCENT, lw=2.5))
limit = float(np.abs(theirs).max())
style.heat(answer, theirs, "result, 48 × 48 px", signed=True, high=limit, label="value")
answer.add_patch(Rectangle((j - 1.5, i - 1.5), 3, 3, fill=False, ec=style.ACCENT, lw=2.5))

grid = sums.subplots(3, 3)
columns = (("photo", patch), ("weight", kernel), ("product", products))
for column, (what, numbers) in enumerate(columns):
    reach = float(np.abs(numbers).max())
    for c, colour in enumerate(("red", "green", "blue")):
        ax = grid[c, column]
        style.heat(ax, numbers[..., c], signed=True, high=reach)
        for di, dj in np.ndindex(3, 3):
            value = numbers[di, dj, c]
            dark = abs(value) > 0.62 * reach
            text = f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")
            ax.text(dj, di, text, ha="center", va="center", color="white" if dark else style.INK)
        if column < 2:
            sign = "×" if column == 0 else "="
            ax.text(1.09, 0.5, sign, transform=ax.transAxes, fontsize=14, ha="center", va="center")
        if column == 0:
            ax.set_ylabel(colour, fontsize=10)
    grid[0, column].set_title(f"{what} (±{reach:.2f})", fontsize=9.5)
parts = "  +  ".join(f"{value:.2f}".replace("-", "−") for value in products.sum(axis=(0, 1)))
sums.supxlabel(f"red + green + blue:   {parts}   =   {total:.2f}", fontsize=10.5, fontweight="bold")
style.save(
    fig,
    "03_convolution",
    alt="Left: the panda with a small square on it, and the 48 by 48 result, bright at edges, with "
    "the same place marked. Right: for red, green and blue the nine photo values, nine weights and "
    "nine products as numbers; below, their sum.",
)

# %% [markdown]
# ## Exercise
#
# A convolution need not look for anything. Find the 3 × 3 kernel (one channel) that moves a picture
# one pixel to the *left* and does nothing else. Stride 1.

# %% [markdown]
# ## Solution
#
# Every result pixel has to copy its right-hand neighbour: a single one, right of the middle. So a
# convolution is a weighted sum of shifted pictures, and that is how `minimix.ops.conv2d` works.

# %%
shift = np.zeros((3, 3, 1), np.float32)
shift[1, 2, 0] = 1
grey = x[0].mean(axis=-1, keepdims=True)
moved = convolve(grey, shift, stride=1)

assert np.array_equal(moved[:, :-1], grey[:, 1:, 0])
assert np.all(moved[:, -1] == 0)  # from beyond the edge come zeros
