# %% [markdown]
# # 4. Depthwise, then pointwise: where the MACs go
#
# A full convolution lets every result pixel look at every neighbour in every channel. MixNet has
# exactly one of those, its first layer. What does it do instead, and what does that save?

# %%
from math import prod

import numpy as np

import minimix as mx
import style
from minimix.dialect import DIALECTS
from minimix.zoo import architecture, build

net = mx.load("mixnet-pocket", engine="reference")
kinds = [node.kind for node in net.graph]
for kind in ("conv", "mixconv", "pointwise"):
    print(f"{kinds.count(kind):3} {kind}")
assert kinds.count("conv") == 1

# %% [markdown]
# It splits the question in two. A *depthwise* convolution looks around, one kernel a channel, and
# mixes no channels. A *pointwise* (1 × 1) convolution mixes channels, pixel by pixel, and does not
# look around. Both in a row are a full convolution of a special kind: the kernel of input channel c
# and output channel o is the depthwise kernel of c, times the number w[c, o].

# %%
rng = np.random.default_rng(0)
x = rng.normal(size=(1, 12, 12, 8)).astype(np.float32)
around = rng.normal(size=(5, 5, 8)).astype(np.float32)
across = rng.normal(size=(8, 16)).astype(np.float32)

in_two = mx.ops.pointwise(mx.ops.depthwise(x, around), [across])
in_one = mx.ops.conv2d(x, around[..., None] * across)
print(
    f"one full convolution, or two small ones: they differ by {np.abs(in_one - in_two).max():.0e}"
)
assert np.allclose(in_one, in_two, atol=1e-3)

# %% [markdown]
# Same result, other price. With kernels of K × K, C channels in and D out, a pixel costs
#
# - in one: K · K · C · D multiply-adds
# - in two: K · K · C + C · D
#
# so the saving is nearly K · K, as long as D is large.

# %%
K, _, C = around.shape
D = across.shape[1]
print(f"a pixel here: {K * K * C * D:,} MACs in one, {K * K * C + C * D:,} in two")
assert (K * K * C * D) / (K * K * C + C * D) > 9

# %% [markdown]
# Now the real network. This is mixnet-s as it runs on ImageNet, at 224 px. Costs follow from shapes
# alone, so no weights are needed: `graph.macs` only multiplies sizes.

# %%
graph = build(architecture("mixnet-s"), DIALECTS["timm"])
macs, shapes = graph.macs(224, 224), graph.infer(1, 224, 224)
total = sum(macs.values())


def lanes(node):
    """A MixConv node -> the MACs of each kernel size."""
    *_, Ho, Wo, channels = shapes[node.name].shape
    groups = node.operator.group_channels(channels)
    return {k: Ho * Wo * k * k * c for k, c in zip(node.kernel_sizes, groups, strict=True)}


by_kind = {kind: sum(macs[n.name] for n in graph if n.kind == kind) for kind in set(kinds)}
for kind in ("pointwise", "mixconv", "conv", "squeeze_excite", "linear"):
    print(f"{by_kind[kind] / 1e6:6.1f} M  {by_kind[kind] / total:6.1%}  {kind}")
print(f"{total / 1e6:6.1f} M  all")
assert total == 239_173_360
assert by_kind["pointwise"] > 3 * by_kind["mixconv"]

# %% [markdown]
# Looking around is cheap, even with kernels up to 11 × 11. Mixing channels is where the
# multiply-adds go. And had each depthwise convolution been a full one, on the same channels?

# %%
full = {}
for node in graph:
    if node.kind == "mixconv":
        # Every channel of the result would read all channels, not its own alone.
        full[node.stage] = sum(lanes(node).values()) * shapes[node.name].shape[-1]
ratio = (total - by_kind["mixconv"] + sum(full.values())) / total
print(f"with full convolutions: {ratio * total / 1e9:.1f} G, {ratio:.0f} times as much")
assert all(sum(lanes(n).values()) == macs[n.name] for n in graph if n.kind == "mixconv")
assert ratio > 40

# %% [markdown]
# ## The picture
#
# All of mixnet-s, block by block, with MixConv's share split by kernel size.

# %%
from matplotlib.patches import Patch

share = 100 * by_kind["mixconv"] / total
fig = style.figure(
    5.9,
    f"Looking around costs {share:.0f} % of mixnet-s; mixing channels, nearly all the rest",
    f"mixnet-s, 224 px: {total / 1e6:.1f} M multiply-adds (MACs) in all; batch norm and "
    "activations not counted",
)
ax = fig.subplots()
order = ["stem", *(f"blocks.{n}" for n in range(16)), "head", "classifier"]
for row, stage in enumerate(order):
    nodes = [node for node in graph if node.stage == stage]
    bars = [
        (macs[node.name], {"color": style.GREY if node.kind == "pointwise" else style.INK})
        for node in nodes
        if node.kind != "mixconv"
    ]
    for node in nodes:
        if node.kind == "mixconv":
            bars += [(cost, style.kernel_style(k)) for k, cost in lanes(node).items()]
    start = 0.0
    for cost, look in bars:
        ax.barh(row, cost / 1e6, left=start, height=0.74, **look)
        start += cost / 1e6
    ax.text(start + 0.2, row, f"{start:.1f} M", va="center", fontsize=8.5)
    if stage in full:
        text = f"{full[stage] / 1e6:,.0f} M"
        ax.text(34, row, text, va="center", ha="right", fontsize=8.5, color=style.GREY)
assert np.isclose(sum(macs[node.name] for node in graph if node.stage in order), total)

ax.text(
    34, -1, "MixConv, had it been full", ha="right", va="center", fontsize=8.5, color=style.GREY
)
names = [stage.replace("blocks.", "block ") for stage in order]
ax.set_yticks(range(len(order)), labels=names)
ax.set(ylim=(len(order) - 0.4, -1.6), xlim=(0, 34), xlabel="million multiply-adds")
ax.set_xticks(range(0, 26, 5))
ax.tick_params(left=False)
ax.spines["left"].set_visible(False)
ax.spines["bottom"].set_bounds(0, 25)
kernels = [Patch(**style.kernel_style(k), label=f"MixConv {k} × {k}") for k in (3, 5, 7, 9, 11)]
others = [
    Patch(color=style.GREY, label="pointwise (1 × 1)"),
    Patch(color=style.INK, label="stem, squeeze-excite, classifier"),
]
ax.legend(handles=[*others, *kernels], loc="upper left", bbox_to_anchor=(0.5, 0.7))
style.save(
    fig,
    "04_depthwise_and_pointwise",
    alt="Horizontal bars, one a block of mixnet-s, in millions of multiply-adds. Most of each bar "
    "is grey, pointwise convolutions; the end of each is coloured by MixConv's kernel sizes, small "
    "even with kernels up to 11 by 11. At the right, what full convolutions would cost: hundreds "
    "to thousands of millions.",
)

# %% [markdown]
# ## Exercise
#
# Block 13 has the largest kernels of all, 3 × 3 up to 11 × 11. Had every MixConv of the network
# only 3 × 3 kernels, what would be saved? Guess first, then count.

# %% [markdown]
# ## Solution
#
# Less than a tenth. Once channels are mixed elsewhere, a large kernel is a cheap way to look far;
# that is what makes MixConv possible.

# %%
only_three = sum(9 * prod(shapes[node.name].shape[1:]) for node in graph if node.kind == "mixconv")
saved = by_kind["mixconv"] - only_three
print(f"{saved / 1e6:.1f} M saved of {total / 1e6:.1f} M: {saved / total:.1%}")
assert 0.05 < saved / total < 0.1
