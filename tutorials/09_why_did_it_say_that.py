# %% [markdown]
# # 9. Why did it say that?
#
# The network says "giant panda". Because of the panda, or because of the green behind it?

# %%
from pathlib import Path

import numpy as np
from PIL import Image

import minimix as mx
import style

net = mx.load("mixnet-pocket")
photo = np.array(mx.images.open_image(style.IMAGES / "panda.png"))
before = net.classify(photo)
print(before.label, f"{before.p:.1%}")

# %% [markdown]
# This once, just try. The background is green and the panda is not, so it takes one line to paint
# the background magenta. And one to paint the panda over instead.

# %%
is_green = np.ptp(photo.astype(int), axis=-1) >= 12
magenta, no_panda = photo.copy(), photo.copy()
magenta[is_green] = (255, 0, 255)
no_panda[~is_green] = photo[is_green].mean(axis=0)

for picture in (magenta, no_panda):
    answer = net.classify(picture)
    print(answer.label, f"{answer.p:.1%}")
assert net.classify(magenta).label == "giant panda"
assert abs(net.classify(magenta).p - before.p) < 0.01
assert net.classify(no_panda).label != "giant panda"

# %% [markdown]
# It was the panda. (What is left without it are thin grey outlines on green, and guess what in the
# training pictures is made of thin lines.) But few photos come apart so neatly. Two methods work on
# every photo: one takes the answer apart, the other covers the photo bit by bit.
#
# ## Take the answer apart
#
# The last two steps are a mean over all cells of the last map, and a matrix product. Both are sums,
# and the order of a sum is free: multiply every cell first, then add up. So the logit is a sum with
# **one term for each place**, plus a bias. This is the *class-activation map*, and it is exact.

# %%
x = net.preprocess(photo)
with net.trace(x, keep="head.conv_act") as trace:
    cells = trace["head.conv_act"].output[0]  # what goes into the mean
panda = net.labels.index("giant panda")
weight = net.file.params["classifier.weight"][:, panda]
bias = net.file.params["classifier.bias"][panda]

terms = cells @ weight / (cells.shape[0] * cells.shape[1])
print(terms.round(2))
print(f"{terms.sum():.3f} + bias {bias:.3f} = {terms.sum() + bias:.3f}")
print(f"logit: {trace.logits[0, panda]:.3f}")
assert np.isclose(terms.sum() + bias, trace.logits[0, panda], atol=1e-4)
assert terms.argmax() == 4  # the cell in the middle

cam = net.cam(x, "giant panda")  # the same
np.testing.assert_allclose(cam.cells, terms, atol=1e-5)

# %% [markdown]
# ## Cover it
#
# The map says where the sum came from. It does not say what the network *needs*. For that, cover a
# square with the photo's mean colour, see how far the logit falls, and move on.

# %%
covered = {side: net.occlusion(x, "giant panda", patch=side, stride=4) for side in (16, 32)}
for side, found in covered.items():
    print(f"{side} px: the logit of {found.logit:.2f} falls by {found.drops.max():.2f} at most")
assert covered[16].drops.max() < 1
assert covered[32].drops.max() > covered[32].logit

# %% [markdown]
# No single part is needed: 16 px cover an eye or the nose, and it is still a panda. Cover 32 px,
# the middle of the face with all of them, and the panda is gone. A map of "importance" depends on
# what was done to the photo; say it along with the map.
#
# ## Nine questions to one picture
#
# Nine cells are few. But convolutions take pictures of any size: give the network nine pictures in
# a square of 384 px, and its last map has 12 × 12 cells, 4 × 4 for each. Now ask for nine classes,
# one after the other, which cell speaks for it most.

# %%
PICTURES = Path(mx.__file__).parent / "data" / "pictures"
ASKED = ["bus", "giant panda", "sunflower", "strawberry", "cat", "umbrella", "penguin"]
ASKED += ["soccer ball", "frog"]
SIZE, EACH, MARGIN = 384, 128, 27  # the network's pipeline cuts off a margin
square = Image.new("RGB", (SIZE + 2 * MARGIN, SIZE + 2 * MARGIN))
for n, label in enumerate(ASKED):
    place = MARGIN + n % 3 * EACH, MARGIN + n // 3 * EACH
    square.paste(Image.open(PICTURES / label / "1.png").resize((EACH, EACH)), place)

wide = mx.load("mixnet-pocket", size=SIZE)
nine = wide.preprocess(square)
maps = {label: wide.cam(nine, label) for label in ASKED}
for n, (label, found) in enumerate(maps.items()):
    i, j = divmod(int(found.cells.argmax()), 12)
    assert (i // 4, j // 4) == divmod(n, 3), label  # the strongest cell lies in the right picture
    assert np.isclose(found.cells.sum() + found.bias, found.logit, atol=1e-4)
print(f"{len(maps)} of {len(ASKED)} found")

# %% [markdown]
# Nobody ever told the network *where* anything was. It learned from names alone, one picture at a
# time; that the answer is a sum over places gives the places for free. But read a map's numbers
# before its colours: a penguin is hardly seen here at all, and its map is spots.

# %%
weakest = min(maps, key=lambda label: maps[label].cells.max())
print(f"{weakest}: {maps[weakest].cells.max():.3f}; panda: {maps['giant panda'].cells.max():.3f}")
assert weakest == "penguin"
assert maps["giant panda"].cells.max() > 5 * maps["penguin"].cells.max()

# %% [markdown]
# ## The picture

# %%
fig = style.figure(
    7.1,
    "Nine questions to one picture: the sum knows where",
    "mixnet-pocket · red speaks for the class, blue against it · above 384 px, 12 × 12 cells, each "
    "map as a share of its\nlargest cell; below panda.png, 96 px, what cells add to the logit, and "
    "how far it falls when a square is covered",
)
above, below = fig.subfigures(2, 1, height_ratios=[2.6, 1])
left, right = above.subfigures(1, 2, width_ratios=[1, 1.45])
pixels = np.asarray(square)[MARGIN:-MARGIN, MARGIN:-MARGIN]
style.show(left.subplots(), pixels, "The picture")


def signed_map(ax, values, picture, title, high, edge=0.0):
    """A signed map, darkened where the picture is dark; ``edge``: the share that it leaves free."""
    image = style.heat(ax, values, title, signed=True, high=high)
    image.set_extent((edge, 1 - edge, 1 - edge, edge))
    shade = np.zeros((*picture.shape[:2], 4))
    shade[..., 3] = 0.3 * (1 - picture.mean(axis=-1) / 255)
    ax.imshow(shade, extent=(0, 1, 1, 0), interpolation="bilinear")
    ax.set(xlim=(0, 1), ylim=(1, 0))
    return image


grid = right.subplots(3, 3).ravel().tolist()
for ax, (label, found) in zip(grid, maps.items(), strict=True):
    highest = found.cells.max()
    image = signed_map(ax, found.cells / highest, pixels, f"{label}?", high=1.0)
    ax.set_xlabel(f"largest +{highest:.3f}", labelpad=2)
style.scale(grid, image, "share of the largest")

crop = np.asarray(Image.fromarray(photo).resize((109, 109)))[6:102, 6:102]
panels = below.subplots(1, 4).tolist()
style.show(panels[0], crop, "Giant panda?")
image = signed_map(panels[1], cam.cells, crop, "The sum, cell by cell", high=1.5)
style.scale(panels[1], image, "logit")
for ax, (side, found) in zip(panels[2:], covered.items(), strict=True):
    edge = (side - found.stride) / 2 / net.size
    image = signed_map(ax, found.drops, crop, f"{side} px covered", high=8.0, edge=edge)
style.scale(panels[2:], image, "fall of the logit")
style.save(
    fig,
    "09_why_did_it_say_that",
    alt="A square of nine pictures, from a bus to a frog, and beside it nine maps, one for each "
    "question. In every map the reddest cell lies in the picture that was asked for; the maps of "
    "sunflower and penguin are spotty. Below, a panda: the cells of its sum, strongest in the "
    "middle; nothing happens when 16 pixels are covered; with 32 pixels covered, the middle of the "
    "face decides.",
)

# %% [markdown]
# ## Exercise
#
# Do both methods agree on the nine? Cover one picture of the square after the other. Is it for each
# class the covering of its own picture that costs most?

# %% [markdown]
# ## Solution
#
# For most of them. Both methods are right about what they measure: the sum says where the evidence
# is; covering a picture also changes what the network makes of all others, not least through the
# gates of squeeze-excite, which are computed from the whole picture.

# %%
agree = []
for n, label in enumerate(ASKED):
    found = wide.occlusion(nine, label, patch=EACH, stride=EACH)
    assert found.drops.shape == (3, 3)
    agree.append(found.drops.argmax() == n)
    note = "" if agree[-1] else "(another costs more)"
    print(f"{label:12} {found.drops.ravel()[n]:5.2f} {note}")
assert 5 <= sum(agree) < 9
