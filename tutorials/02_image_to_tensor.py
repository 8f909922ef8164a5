# %% [markdown]
# # 2. One photo, four tensors
#
# Four systems publish weights for the same MixNet: timm, TensorFlow, MindCV and Open Model Zoo
# (OMZ). Each cuts, scales and normalises a photo in its own way. Does it matter whose recipe you
# follow?

# %%
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import minimix as mx
import style
from minimix.dialect import PIPELINES
from minimix.images import crop_and_resize, preprocess

photo = Image.open(style.IMAGES / "panda.png").convert("RGB").crop((0, 30, 224, 198))
net = mx.load("mixnet-pocket")

# %% [markdown]
# A recipe, here called a *pipeline*, is five decisions. They leave no trace in the weights, which
# is why minimix stores the pipeline with them.

# %%
pipelines = {name: pipeline.with_size(96) for name, pipeline in PIPELINES.items()}
for name, p in pipelines.items():
    print(f"{name:10}  {p.crop:16}  {p.resize:19}  {p.channels}  0..{p.range:<3g}  mean {p.mean}")

# %% [markdown]
# *Cut*: a square from the middle, or (OMZ) the same share of both sides, squashed into a square.
# *Interpolation*: three libraries, three formulas. *Channel order*: red first, or blue first.
# *Range* and *normalisation*: minus mean, divided by standard deviation, or left at 0 to 255.
#
# The pocket model was trained with timm's. Give it the other three.

# %%
tensors = {name: preprocess(photo, p) for name, p in pipelines.items()}
logits = {name: net(tensor)[0] for name, tensor in tensors.items()}
answers = {name: net.predictions(row[None], top=3)[0] for name, row in logits.items()}

panda = net.labels.index("giant panda")
for name, answer in answers.items():
    print(
        f"{name:10}  {answer.label:12} {answer.p:6.1%}   panda's logit {logits[name][panda]:5.2f}"
    )

# %% [markdown]
# Three agree closely. They cut and interpolate differently enough to move single pixels by a lot,
# but the panda's score hardly notices: it was trained on pandas of every size, in every place.

# %%
first = crop_and_resize(photo, pipelines["timm"]).astype(float)
second = crop_and_resize(photo, pipelines["tensorflow"]).astype(float)
moved = np.abs(first - second)
print(f"timm and TensorFlow: {moved.mean():.0f} grey levels apart, {moved.max():.0f} at most")

assert moved.max() > 20
for name in ("tensorflow", "mindcv"):
    assert abs(logits[name][panda] - logits["timm"][panda]) < 0.1
    assert abs(answers[name].p - answers["timm"].p) < 0.01

# %% [markdown]
# The fourth sees a mushroom. Nothing crashed, no warning came, and the network is *surer* of the
# mushroom than it ever was of the panda. **A wrong pipeline is not an error message. It is a
# confident wrong answer.**

# %%
assert answers["omz"].label == "mushroom"
assert answers["omz"].p > answers["timm"].p

# %% [markdown]
# ## The picture
#
# Top: what the network is given, drawn by someone who takes the first channel for red. Middle: the
# values it receives. Bottom: what it makes of them.

# %%
fig = style.figure(
    5.3,
    f"The wrong recipe turns a panda into a mushroom, {100 * answers['omz'].p:.0f} % sure",
    "mixnet-pocket, trained with timm's pipeline, 96 px · values: all 27,648 numbers of the tensor "
    "· full bar: 100 %",
)
axes = fig.subplots(3, 4, height_ratios=[2.05, 0.6, 1], sharey="row")
titles = {"timm": "timm", "tensorflow": "TensorFlow", "mindcv": "MindCV", "omz": "Open Model Zoo"}
for column, (name, pipeline) in enumerate(pipelines.items()):
    top, middle, bottom = axes[:, column]
    colour = style.INK if answers[name].label == "giant panda" else style.ACCENT
    pixels = crop_and_resize(photo, pipeline)
    seen = pixels[..., ::-1] if pipeline.channels == "BGR" else pixels
    style.show(top, seen)
    top.set_title(titles[name], fontweight="bold", fontsize=10.5)

    values = tensors[name].ravel()
    assert values.size == 27_648
    counts, edges = np.histogram(values, bins=24)
    middle.bar(edges[:-1], counts / counts.max(), np.diff(edges), align="edge", color=colour)
    middle.set_axis_off()
    middle.set_xlim(values.min(), values.max())
    ends = f"values {values.min():.3g} to {values.max():.3g}".replace("-", "−")
    middle.set_title(ends, fontsize=8.5, fontweight="bold" if values.max() > 3 else "normal")

    scores = answers[name].top
    bottom.barh(range(3), [score.p for score in scores], height=0.34, color=colour)
    for row, score in enumerate(scores):
        text = f"{score.label}  {100 * score.p:.1f} %"
        bold = "bold" if row == 0 else "normal"
        bottom.text(0, row - 0.27, text, va="bottom", fontsize=8.5, fontweight=bold)
    bottom.set(xlim=(0, 1), ylim=(2.3, -0.9))
    bottom.set_axis_off()
style.save(
    fig,
    "02_image_to_tensor",
    alt="Four columns, one for each pipeline. timm, TensorFlow and MindCV give the same centred "
    "panda, values around -2 to 2.6, and the answer giant panda at 95 %. Open Model Zoo's is "
    "squashed and has red and blue swapped, values 0 to 255, and the answer mushroom at 99 %.",
)

# %% [markdown]
# ## Exercise
#
# OMZ differs from timm in three ways at once: the squashed cut, the channel order, and the missing
# normalisation. Change one at a time and count, over all pictures in the package, how often the
# answer stays right. Which one hurts most, and which not at all?

# %% [markdown]
# ## Solution
#
# The cut is harmless here: these pictures are square, so there is nothing to squash. Swapped
# colours cost more than half of the answers: shape alone is not enough. Without normalisation
# nothing is left.

# %%
paths = sorted((Path(mx.__file__).parent / "data" / "pictures").glob("*/*.png"))
pictures = [Image.open(path).convert("RGB") for path in paths]
timm = pipelines["timm"]
variants = {
    "timm's own": timm,
    "OMZ's cut": replace(timm, crop="center-fraction"),
    "blue first": replace(timm, channels="BGR"),
    "no normalisation": replace(timm, range=255.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
}
right = {}
for name, variant in variants.items():
    found = net.predictions(net(preprocess(pictures, variant)), top=1)
    right[name] = np.mean(
        [f.label == path.parent.name for f, path in zip(found, paths, strict=True)]
    )
    print(f"{name:17} {right[name]:6.1%} of {len(paths)} right")

assert right["timm's own"] == right["OMZ's cut"] == 1
assert right["no normalisation"] < 0.1 < right["blue first"] < 0.5
