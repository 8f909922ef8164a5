# %% [markdown]
# # 6. What melts away and what stays: batch norm and swish
#
# After nearly every convolution come two small steps, batch norm and an activation. One of them can
# be removed without changing a single answer; without the other there would be no network. Which is
# which, and why?

# %%
from dataclasses import replace
from pathlib import Path

import numpy as np

import minimix as mx
import style
from minimix.engine import make_engine
from minimix.operators import Activation
from minimix.passes import fold_batchnorm

net = mx.load("mixnet-pocket", engine="reference")
x = net.preprocess(style.IMAGES / "panda.png")
with net.trace(x) as trace:
    conv, norm, act = (trace[f"blocks.3.mixconv{end}"] for end in ("", "_bn", "_act"))
kinds = [node.kind for node in net.graph]
print(f"{len(kinds)} nodes: {kinds.count('batch_norm')} batch norms, "
      f"{kinds.count('activation')} activations")  # fmt: skip
assert kinds.count("batch_norm") > len(kinds) / 4

# %% [markdown]
# ## Batch norm melts away
#
# While the network trained, batch norm measured each channel's mean and variance. Now these are
# stored numbers, and all it does is: subtract the mean, divide by the spread, multiply by gamma,
# add beta. Four fixed numbers a channel, so one multiplication and one addition will do:
# y = x · scale + shift.

# %%
gamma, beta, mean, variance = norm.params
scale = gamma / np.sqrt(variance + norm.node.operator.eps)
shift = beta - mean * scale
assert np.allclose(conv.output * scale + shift, norm.output, atol=1e-4)

# %% [markdown]
# The step before is a convolution: a sum of pixels times weights. Multiplying the sum by `scale` is
# the same as multiplying every weight by it beforehand. So do that once, and the node is gone.

# %%
stops = np.cumsum([weight.shape[-1] for weight in conv.params])[:-1]
scales = np.split(scale, stops)  # one piece for each kernel size
folded = [weight * s for weight, s in zip(conv.params, scales, strict=True)]
in_one = mx.ops.mixconv(conv.inputs[0], folded, stride=2) + shift
print(f"folded or not: they differ by {np.abs(in_one - norm.output).max():.0e}")
assert np.allclose(in_one, norm.output, atol=1e-4)

# %% [markdown]
# `fold_batchnorm` does it everywhere. Same answers, a third fewer nodes; this is the first thing
# that minimix's compiled engine does with a network.

# %%
graph, params = fold_batchnorm(net.graph, net.file.params)
(logits,) = make_engine("reference", graph, params).run(x, None)
difference = np.abs(logits - trace.logits).max()
print(f"{len(kinds)} nodes become {len(graph.nodes)}; logits differ by {difference:.0e} at most")
assert len(graph.nodes) == len(kinds) - kinds.count("batch_norm")
assert difference < 1e-4

# %% [markdown]
# ## The activation stays
#
# The same argument would melt everything: a linear step after a linear step is one linear step. Two
# pointwise convolutions in a row are one matrix, the product of both. Only a bend in between keeps
# them apart. This network's bend is *swish*, x · sigmoid(x).

# %%
first = net.file.params["blocks.3.expand.0.weight"]
second = net.file.params["blocks.3.project.0.weight"]
pixels = x[0, :, :, :1] * np.ones(first.shape[0], np.float32)
two_steps = (pixels @ first) @ second
assert np.allclose(two_steps, pixels @ (first @ second), atol=1e-3)  # no bend: one matrix
bent = mx.ops.swish(pixels @ first) @ second
print(f"with swish in between, values move by up to {np.abs(bent - two_steps).max():.1f}")
assert np.abs(bent - two_steps).max() > 0.5

# %% [markdown]
# Why not the simpler bend, ReLU, that cuts negatives to zero? Look at what arrives: half of all
# values are negative. ReLU forgets how negative they were. Swish keeps a trace: it dips to −0.28
# and comes back to zero.

# %%
negative = float((norm.output < 0).mean())
lowest = float(act.output.min())
print(f"{negative:.0%} of the values are negative; after swish none is below {lowest:.3f}")
assert 0.4 < negative < 0.6
assert -0.2785 < lowest < -0.278

# %% [markdown]
# ## The picture
#
# The 96 channels of one layer on the panda, each a bar from its 5th to its 95th percentile. The
# first step is evened out by the second, which folds away. The third bends.

# %%
for name, step in (("MixConv", conv), ("batch norm", norm)):
    spread = step.output[0].std(axis=(0, 1))
    print(
        f"after {name}: the widest channel is {spread.max() / spread.min():.0f} times the narrowest"
    )
narrowed = [np.ptp(np.log(step.output[0].std(axis=(0, 1)))) for step in (conv, norm)]
assert narrowed[1] < narrowed[0]

# %%
groups = np.repeat(conv.kernel_sizes, [weight.shape[-1] for weight in conv.params])
fig = style.figure(
    5.2,
    "Batch norm evens out the channels and folds away; swish bends and stays",
    "mixnet-pocket, blocks.3.mixconv, 96 channels × 144 pixels of panda.png · values have no unit",
)
axes = fig.subplots(1, 3, width_ratios=[1, 1, 1.15])
spread = conv.output[0].std(axis=(0, 1))
order = np.lexsort((spread, groups))
for ax, step, title in zip(
    axes[:2], (conv, norm), ("after MixConv", "after batch norm"), strict=True
):
    values = step.output[0].reshape(-1, groups.size)[:, order]
    low, middle, high = np.percentile(values, (5, 50, 95), axis=0)
    for kernel_size in conv.kernel_sizes:
        (rows,) = np.nonzero(groups[order] == kernel_size)
        look = style.kernel_style(kernel_size) | {"linewidth": 0}
        ax.barh(rows, (high - low)[rows], left=low[rows], height=0.8, **look)
    ax.plot(middle, range(groups.size), ".", ms=2.5, color=style.INK)
    ax.axvline(0, color=style.GREY, lw=0.8)
    ax.set(xlim=(-11, 11), ylim=(-1.5, groups.size + 0.5), yticks=[], xlabel="value", title=title)
    ax.spines["left"].set_visible(False)
for kernel_size in conv.kernel_sizes:
    place = np.flatnonzero(groups[order] == kernel_size).mean()
    axes[0].text(-11, place, f"{kernel_size} × {kernel_size}", rotation=90, va="center", ha="right")

inputs = np.linspace(-6, 6, 241).astype(np.float32)
bend = axes[2]
counts, edges = np.histogram(norm.output, bins=np.arange(-6, 6.01, 0.25))
bend.bar(edges[:-1], counts / counts.max(), 0.25, align="edge", color=style.PALE)
bend.plot(inputs, mx.ops.relu(inputs), color=style.GREY, lw=1.6, ls="--")
bend.plot(inputs, mx.ops.swish(inputs), color=style.ACCENT, lw=2.4)
bend.text(1.35, 2.5, "ReLU", color=style.GREY, ha="right")
bend.text(2.3, 1.55, "swish", color=style.ACCENT, fontweight="bold")
bend.annotate(
    f"lowest: {lowest:.3f}".replace("-", "−"),
    (-1.28, lowest),
    (-5.8, -0.75),
    arrowprops={"arrowstyle": "-", "color": style.INK, "lw": 0.8},
)
bend.text(-5.8, 1.12, "values that arrive", color=style.GREY, fontsize=8.5)
bend.set(xlim=(-6, 4), ylim=(-1, 4), xlabel="value in", ylabel="value out", title="what swish does")
style.save(
    fig,
    "06_batch_norm_and_swish",
    alt="Left: bars of 96 channels, of very different widths and places. Middle: the same after "
    "batch norm, alike and around zero. Right: swish against ReLU; swish dips to -0.278 below "
    "zero, where half of the values arrive.",
)

# %% [markdown]
# ## Exercise
#
# Does that trace matter? Replace every swish by ReLU, without training again, and classify all
# pictures of the package. How many are still right, and how sure is the network?

# %% [markdown]
# ## Solution
#
# The order of the names survives; the certainty does not. Each layer's weights count on what swish
# lets through, and the small errors of 26 activations add up.

# %%
paths = sorted((Path(mx.__file__).parent / "data" / "pictures").glob("*/*.png"))
pictures = net.preprocess(paths)
swishes = [node for node in net.graph if node.operator == Activation("swish")]
nodes = [replace(n, operator=Activation("relu")) if n in swishes else n for n in net.graph]
relus = replace(net.graph, nodes=tuple(nodes))
found = {}
for name, graph in (("swish", net.graph), ("ReLU", relus)):
    (logits,) = make_engine("auto", graph, net.file.params).run(pictures, None)
    best = [prediction.top[0] for prediction in net.predictions(logits, top=1)]
    correct = np.mean([b.label == path.parent.name for b, path in zip(best, paths, strict=True)])
    found[name] = correct, np.mean([b.p for b in best])
    print(f"{name:5} {correct:.0%} right, {found[name][1]:.0%} sure on average")

assert len(swishes) == 26
assert found["ReLU"][0] > 0.9
assert found["ReLU"][1] < 0.6 < 0.9 < found["swish"][1]
