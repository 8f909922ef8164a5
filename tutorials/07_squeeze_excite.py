# %% [markdown]
# # 7. Squeeze-excite: the gates of a panda and of a bus
#
# The weights of a convolution are the same for every picture. Could a network turn its own
# channels up or down, depending on what it has just seen?
#
# Squeeze-excite does. It looks at the whole picture, gives each channel one number between 0 and 1,
# its *gate*, and multiplies. Thirteen of the sixteen blocks have one.

# %%
from pathlib import Path

import numpy as np

import minimix as mx
import style

net = mx.load("mixnet-pocket")
PICTURES = Path(mx.__file__).parent / "data" / "pictures"
panda = net.preprocess(style.IMAGES / "panda.png")
with net.trace(panda, keep="blocks.*.se") as trace:
    step = trace["blocks.13.se"]
print(step.name, step.inputs[0].shape, "->", step.output.shape)
assert len(trace) == 13

# %% [markdown]
# ## Three lines of arithmetic
#
# **Squeeze**: a channel becomes its mean, and where things are is forgotten. **Excite**: two small
# matrices, first down to fewer numbers, then up again, and a sigmoid. **Scale**: each channel times
# its gate.

# %%
features = step.inputs[0]
reduce, reduce_bias, expand, expand_bias = step.params

means = features.mean(axis=(1, 2))
hidden = mx.ops.swish(means @ reduce + reduce_bias)
gates = mx.ops.sigmoid(hidden @ expand + expand_bias)
print(f"{features.size:,} values -> {means.size} means -> {hidden.size} -> {gates.size} gates")

np.testing.assert_allclose(gates, step.gates, atol=1e-6)
np.testing.assert_allclose(features * gates[:, None, None, :], step.output, atol=1e-5)

# %% [markdown]
# It is nearly free, since the matrices meet one vector instead of a picture full of them.

# %%
macs = net.graph.macs(net.size, net.size)
share = sum(macs[name] for name in trace.steps) / sum(macs.values())
print(f"all gates of the network: {share:.1%} of its multiply-adds")
assert share < 0.02

# %% [markdown]
# ## What do the gates know?
#
# Here is a strict test. Forget the pictures and keep the gates of one block. For each picture, find
# the other one with the most similar gates. Do both show the same thing? Twenty of the animals come
# in two pictures, with other colours, sizes and backgrounds, so there are forty questions to ask,
# each with 59 pictures to choose from.

# %%
files = sorted(PICTURES.glob("*/*.png"))
labels = np.array([file.parent.name for file in files])
in_pairs = np.array([(labels == label).sum() == 2 for label in labels])
assert len(files) == 60 and in_pairs.sum() == 40

with net.trace(net.preprocess(files), keep="blocks.*.se") as everything:
    all_gates = {step.name: step.gates for step in everything}


def found_again(gates):
    """(pictures, channels) -> how many pictures of a pair have their twin's gates nearest."""
    distances = np.abs(gates[:, None] - gates[None]).mean(axis=-1)
    np.fill_diagonal(distances, np.inf)
    return int((labels[distances.argmin(axis=1)] == labels)[in_pairs].sum())


found = {name: found_again(gates) for name, gates in all_gates.items()}
for name, count in found.items():
    print(f"{name:13} {count:2} of 40  {'#' * count}")
assert found["blocks.3.se"] < 10
assert found["blocks.13.se"] >= 38

# %% [markdown]
# **Early gates know the light, late gates know the thing.** In block 3 the twin, in other colours
# on another background, is hardly ever nearest. In block 13 the gates alone recognise the animal:
# they are a barcode of it. Nobody asked for that; training found it useful.
#
# ## The picture
#
# Each gate is compared with its average over the sixty pictures: red where this picture opens it
# further, blue where it shuts it. Every row is a picture, every column a channel. The channels are
# put in order once: by what the first panda opens more than the first bus. No other row had a say.

# %%
BLOCKS = ("blocks.3.se", "blocks.13.se")
bus = mx.images.open_image(PICTURES / "bus" / "1.png")
shown = [style.IMAGES / "panda.png"]
shown += [PICTURES / "giant panda" / f"{n}.png" for n in (1, 2)]
shown += [np.asarray(bus), np.asarray(bus)[:, ::-1], (np.asarray(bus) * 0.5).astype(np.uint8)]
for label in ("polar bear", "fox", "tiger", "frog"):
    shown += [PICTURES / label / f"{n}.png" for n in (1, 2)]
PANDA, BUS = 0, 3

x = net.preprocess(shown)
with net.trace(x, keep=BLOCKS) as trace:
    rows = {}
    for name in BLOCKS:
        gates = trace[name].gates
        order = np.argsort(gates[BUS] - gates[PANDA])
        rows[name] = (gates - all_gates[name].mean(axis=0))[:, order]
assert [net.labels[k] for k in trace.logits[[PANDA, BUS]].argmax(axis=1)] == ["giant panda", "bus"]

for name, gates in rows.items():
    print(f"{name}: panda and bus differ by {np.abs(gates[PANDA] - gates[BUS]).mean():.3f} a gate")

MIRRORED, DARKENED = 4, 5
gates = rows["blocks.3.se"]
by_mirror, by_light = (np.abs(gates[BUS] - gates[n]).mean() for n in (MIRRORED, DARKENED))
print(f"block 3, the bus: {by_mirror:.3f} a gate when mirrored, {by_light:.3f} when darkened")
assert by_light > 3 * by_mirror

early, late = (np.abs(gates[PANDA] - gates[BUS]).mean() for gates in rows.values())
assert late > 2 * early

# %%
SHOWN = 96  # all channels of block 3, every fourth of block 13
fig = style.figure(
    6.4,
    "Block 13 writes the same barcode for the same thing",
    "mixnet-pocket, 96 px · a row is a picture, a column a channel · the second and the third bus "
    "are the first one, mirrored and darkened",
)
thumbnails, *maps = fig.subplots(1, 3, width_ratios=[0.42, 3.4, 3.4], sharey=True)
for row, picture in enumerate(shown):
    pixels = np.asarray(mx.images.open_image(picture).resize((112, 112)))
    thumbnails.imshow(pixels, extent=(0, 1, row + 1, row))
thumbnails.set(xlim=(0, 1), ylim=(len(shown), 0), aspect="auto", xticks=[], yticks=[])
thumbnails.spines[:].set_visible(False)
groups = [0, 3, 6, 8, 10, 12]
for ax, name in zip(maps, BLOCKS, strict=True):
    values = rows[name][:, :: rows[name].shape[1] // SHOWN]
    assert values.shape == (len(shown), SHOWN)
    image = ax.imshow(values, extent=(0, SHOWN, len(shown), 0), aspect="auto", cmap=style.DIVERGING)
    image.set_clim(-0.4, 0.4)
    ax.set_xticks([])
    ax.tick_params(length=0, labelleft=False)
    ax.spines[:].set_visible(False)
    ax.set_title(f"Block {name.split('.')[1]}: the twin is found for {found[name]} of 40")
for ax in (thumbnails, *maps):
    ax.hlines(groups[1:], *ax.get_xlim(), color="white", linewidth=5)
bar = fig.colorbar(image, ax=maps, location="bottom", fraction=0.03, pad=0.02, aspect=60)
bar.set_ticks(
    [-0.4, 0, 0.4],
    labels=["−0.4 or less: more shut", "0: as on average", "+0.4 or more: more open"],
)
for text, side in zip(bar.ax.get_xticklabels(), ("left", "center", "right"), strict=True):
    text.set_horizontalalignment(side)
bar.outline.set_visible(False)
bar.ax.tick_params(length=0)
style.save(
    fig,
    "07_squeeze_excite",
    alt="Fourteen small pictures in rows, three pandas, three buses, two each of four animals, and "
    "beside each its gates as a strip of colours. In block 3 strips of "
    "the same animal differ. In block 13 they agree, and those of different animals do not.",
)

# %% [markdown]
# ## Exercise
#
# The gates *know* the class. Do they also *decide* it? Give the bus the gates of the panda in block
# 13 and ask the network again. `net.patch(name, change)` is the network with one node's output
# changed.

# %% [markdown]
# ## Solution
#
# It stays a bus, by a wide margin. What can be read from a part of a network need not be what its
# answer hangs on; only changing that part tells.

# %%
bus_input = x[BUS : BUS + 1]
with net.trace(x, keep="blocks.13.se") as trace:
    seen = trace["blocks.13.se"].inputs[0][BUS : BUS + 1]
    of_panda = trace["blocks.13.se"].gates[PANDA]
transplanted = net.patch("blocks.13.se", lambda _: seen * of_panda)

for title, logits in (("own gates", net(bus_input)[0]), ("panda's", transplanted(bus_input)[0])):
    of_bus, of_the_panda = (logits[net.labels.index(label)] for label in ("bus", "giant panda"))
    print(f"{title:10} bus {of_bus:5.2f}   giant panda {of_the_panda:5.2f}")
    assert net.labels[logits.argmax()] == "bus"
    assert of_bus > of_the_panda + 5
