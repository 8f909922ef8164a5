# %% [markdown]
# # 5. MixConv: five kernel sizes, five sieves
#
# MixNet gives its name to one idea: split the channels of a layer into lanes, and give each lane
# kernels of another size. Do the lanes really learn to see different things?

# %%
import numpy as np

import minimix as mx
import style

net = mx.load("mixnet-pocket", engine="reference")
x = net.preprocess(style.IMAGES / "panda.png")
with net.trace(x, keep="blocks.13.mixconv") as trace:
    step = trace["blocks.13.mixconv"]
for kernel_size, weight in zip(step.kernel_sizes, step.params, strict=True):
    print(f"{kernel_size:2} x {kernel_size:<2} on {weight.shape[-1]} channels")
channels = sum(weight.shape[-1] for weight in step.params)
assert step.kernel_sizes == (3, 5, 7, 9, 11)
assert channels == step.inputs[0].shape[-1]

# %% [markdown]
# Split, filter, put together again: MixConv is no more than that. Lane by lane gives what the
# network computed.

# %%
stops = np.cumsum([weight.shape[-1] for weight in step.params])[:-1]
lanes = np.split(step.inputs[0], stops, axis=-1)
filtered = [mx.ops.depthwise(a, w, stride=2) for a, w in zip(lanes, step.params, strict=True)]
assert np.allclose(np.concatenate(filtered, axis=-1), step.output, atol=1e-4)

# %% [markdown]
# Look at trained kernels and you see mostly noise. Ask a better question: *which patterns does a
# kernel let through?* Coarse ones, that stay bright over many pixels, or fine ones, that change at
# every pixel? That is its spectrum: the Fourier transform of its weights, squared. We scale it so
# that a kernel without any preference has 1 everywhere.


# %%
def spectra(weight, size=48):
    """(K, K, C) -> (size, size, C): power at each frequency, 1 on average, coarse in the middle."""
    power = np.abs(np.fft.fft2(weight, s=(size, size), axes=(0, 1))) ** 2
    return np.fft.fftshift(power / power.mean(axis=(0, 1)), axes=(0, 1))


frequency = np.fft.fftshift(np.fft.fftfreq(48))  # cycles per pixel
radius = np.hypot(frequency[:, None], frequency)
coarse = radius < 0.1  # ten pixels and more from one bright stripe to the next

rng = np.random.default_rng(0)
for kernel_size in step.kernel_sizes:
    noise = spectra(rng.normal(size=(kernel_size, kernel_size, 4000)))
    assert abs(noise[coarse].mean() - 1) < 0.1  # random weights have no preference

# %% [markdown]
# Now the trained ones, averaged over each lane.

# %%
power = {k: spectra(w) for k, w in zip(step.kernel_sizes, step.params, strict=True)}
low = {k: float(p[coarse].mean()) for k, p in power.items()}
for kernel_size, value in low.items():
    print(
        f"{kernel_size:2} x {kernel_size:<2} passes {value:.2f} of the coarse, where noise passes 1"
    )

assert 1 < low[3] < low[5] < low[7] < low[9]
assert low[9] > 2 * low[3]

# %% [markdown]
# Nobody told them to, but from 3 × 3 to 9 × 9 the lanes get choosier: **a small kernel lets nearly
# everything pass, a large one sieves out coarse shapes.** A small kernel has no choice, for coarse
# shapes do not fit into three pixels. A large one could stay unchoosy, and uses its size instead.
#
# Is it a law? No. In the next block the lanes hardly differ. What a lane learns, training decides;
# the kernel size only says what it could.

# %%
nodes = [node for node in net.graph if node.kind == "mixconv" and len(node.kernel_sizes) > 3]
for node in nodes:
    weights = [net.file.params[name] for name in net.graph.param_names[node.name]]
    shares = [spectra(weight)[coarse].mean() for weight in weights]
    row = "   ".join(f"{k}: {v:.2f}" for k, v in zip(node.kernel_sizes, shares, strict=True))
    print(f"{node.stage:10} {row}")
    if node.stage == "blocks.14":
        assert max(shares) - min(shares) < 0.2

# %% [markdown]
# ## The picture

# %%
fig = style.figure(
    5.2,
    "The larger the kernel, the choosier the sieve, up to 9 × 9",
    "mixnet-pocket, blocks.13.mixconv, 384 kernels · six of each lane, those with the sharpest "
    "spectra; colours ± the largest weight of each kernel",
)
left, right = fig.subfigures(1, 2, width_ratios=[1.5, 1])
top = max(float(p.mean(axis=-1).max()) for p in power.values())
grid = left.subplots(5, 7, width_ratios=[1] * 6 + [1.5])
for row, (kernel_size, weight) in zip(grid, zip(power, step.params, strict=True), strict=True):
    sharpest = power[kernel_size].max(axis=(0, 1)).argsort()[::-1]
    for ax, kernel in zip(row[:-1], sharpest, strict=False):
        style.heat(ax, weight[..., kernel], signed=True)
    row[0].set_ylabel(f"{kernel_size} × {kernel_size}", fontsize=10, fontweight="bold")
    mean = power[kernel_size].mean(axis=-1)
    image = style.heat(row[-1], mean, low=0, high=top)
    row[-1].spines[:].set(visible=True, color=style.kernel_style(kernel_size)["facecolor"], lw=3)
grid[0, 0].set_title("kernels")
grid[0, -1].set_title("spectrum")
style.scale(grid[:, -1], image, "power, noise = 1", location="bottom", fraction=0.03, pad=0.02)

curves = right.subplots()
bins = np.arange(0, 0.51, 0.05)
middles = (bins[:-1] + bins[1:]) / 2
rings = [(radius >= a) & (radius < b) for a, b in zip(bins, bins[1:], strict=False)]
for kernel_size, p in power.items():
    line = [p.mean(axis=-1)[ring].mean() for ring in rings]
    colour = style.kernel_style(kernel_size)["facecolor"]
    curves.plot(middles, line, color=colour, lw=2.2)
    curves.plot(middles[0], line[0], "o", color=colour, ms=5)
    label = f"{kernel_size} × {kernel_size} "
    curves.text(0.01, line[0], label, ha="right", va="center", fontweight="bold", fontsize=9)
curves.axhline(1, color=style.GREY, lw=1, ls="--")
curves.text(0.5, 1.04, "noise", ha="right", color=style.GREY, fontsize=8.5)
curves.set(xlim=(0, 0.5), ylim=(0, 3.6), xlabel="frequency, cycles per pixel")
curves.set_title("mean power")
curves.spines["left"].set_visible(False)
curves.tick_params(axis="y", length=0, labelleft=False, labelright=True)
curves.grid(axis="y")
style.save(
    fig,
    "05_mixconv_spectra",
    alt="Five rows, one for each kernel size from 3 by 3 to 11 by 11: six kernels as blue and red "
    "tiles, and the lane's mean spectrum, a spot in the middle that gets narrower and brighter up "
    "to 9 by 9. Right: the same spectra as curves, falling from coarse to fine.",
)

# %% [markdown]
# ## Exercise
#
# 11 × 11 breaks the row. One reason lies in the sizes: at 96 px this layer's input has 6 × 6
# pixels, and it strides by 2. Which of the 121 weights never meet a pixel?

# %% [markdown]
# ## Solution
#
# The kernel stands on rows 0, 2 and 4, so its first row lies on rows −5, −3 and −1: always outside,
# and the first column likewise. Those 21 weights could be anything. They never learned either: what
# is in them is the noise of their first day, and it blurs the spectrum.

# %%
changed = step.params[-1].copy()
changed[0, :], changed[:, 0] = 1000, 1000
idle = int((changed == 1000).all(axis=-1).sum())
print(f"{idle} of {changed[..., 0].size} weights of a kernel never meet a pixel")

assert step.inputs[0].shape[1:3] == (6, 6)
assert idle == 21
assert np.array_equal(mx.ops.depthwise(lanes[-1], changed, stride=2), filtered[-1])
without = step.params[-1][1:, 1:]
assert spectra(without)[coarse].mean() > low[11]
