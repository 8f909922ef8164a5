# %% [markdown]
# # 1. A panda in three lines
#
# You show a network a picture and it answers "giant panda, 94.5 %". What has it computed, and
# 94.5 % of what?

# %%
import style  # how the pictures of these tutorials look, and where their photos lie

photo = style.IMAGES / "panda.png"

# %% [markdown]
# Three lines. The network comes with the package: no download, no framework.

# %%
import minimix as mx

net = mx.load("mixnet-pocket")
print(net.classify(photo))

# %% [markdown]
# `classify` is three steps in a row. Here they are one at a time. First the photo becomes an array
# of a fixed size: one picture, height, width, three colours.

# %%
x = net.preprocess(photo)
print(x.shape, x.dtype)
assert x.shape == (1, 96, 96, 3)

# %% [markdown]
# Then the network runs. It does not say "panda". It gives each of its class names a number, the
# *logit*. Higher means "more like this one", and a logit can be negative.

# %%
logits = net(x)[0]
order = logits.argsort()[::-1]
for i in order[:3]:
    print(f"{logits[i]:6.2f}  {net.labels[i]}")
assert logits.shape == (len(net.labels),) == (40,)
assert net.labels[order[0]] == "giant panda"

# %% [markdown]
# Last, *softmax* turns numbers into shares: raise e to each logit, divide by the sum. That is all
# the percentage is: **the panda's share among the forty names the network knows.**

# %%
import numpy as np

odds = np.exp(logits)
shares = odds / odds.sum()
print(f"{shares[order[0]]:.1%} {net.labels[order[0]]}")

assert np.isclose(shares.sum(), 1)
assert np.isclose(shares[order[0]], net.classify(photo).p, atol=1e-4)

# %% [markdown]
# Since only shares count, adding the same number to every logit changes nothing. What counts is the
# *lead*: a lead of 1 is a factor of e, a lead of 6 a factor of four hundred.

# %%
lead = logits[order[0]] - logits[order[1]]
print(f"lead over {net.labels[order[1]]}: {lead:.2f}, a factor of {np.exp(lead):.0f}")

shifted = np.exp(logits + 5)
assert np.allclose(shifted / shifted.sum(), shares)
assert np.isclose(shares[order[0]] / shares[order[1]], np.exp(lead), rtol=1e-4)

# %% [markdown]
# ## The picture
#
# Deal out a thousand cards in those shares. Most are pandas, and nearly every other name gets a
# card or two. The network was trained that way: told never to be quite certain ("label
# smoothing"), it spreads what is left over all names rather than keeping it for look-alikes such
# as the polar bear.

# %%
from pathlib import Path

from PIL import Image

ROWS, COLUMNS, SIDE = 25, 40, 48  # cards, cards, pixels


def deal(shares, cards):
    """Shares -> whole numbers of cards; the largest remainders get those that are left."""
    exact = shares * cards
    dealt = np.floor(exact).astype(int)
    dealt[np.argsort(dealt - exact)[: cards - dealt.sum()]] += 1
    return dealt


dealt = deal(shares, ROWS * COLUMNS)
pandas = dealt[order[0]]
print(f"{pandas} pandas, {(dealt > 0).sum() - 1} other names with {dealt[order[1:]].max()} at most")
assert dealt.sum() == 1000
assert pandas > 900 and dealt[order[1:]].max() <= 3

# %%
face = Image.open(photo).convert("RGB").crop((0, 50, 224, 190))
card = np.asarray(face.crop((42, 0, 182, 140)).resize((SIDE, SIDE)), float)
tints = np.asarray(face.resize((COLUMNS, ROWS)), float).reshape(-1, 1, 1, 3)
cards = list(0.4 * card + 0.6 * tints[:pandas])  # together the pandas show one large panda
for i in order[1:]:
    path = Path(mx.__file__).parent / "data" / "pictures" / net.labels[i] / "1.png"
    cards += [np.asarray(Image.open(path).resize((SIDE, SIDE)), float)] * dealt[i]
wall = np.array(cards).reshape(ROWS, COLUMNS, SIDE, SIDE, 3)
wall = wall.transpose(0, 2, 1, 3, 4).reshape(ROWS * SIDE, COLUMNS * SIDE, 3)

fig = style.figure(
    5.6,
    f"A thousand cards, {pandas} of them pandas: what “{100 * shares[order[0]]:.1f} %” means",
    f"mixnet-pocket on panda.png, 96 px · one card = 0.1 % · last rows: the cards of the other "
    f"{len(dealt) - 1} names, the likeliest first",
)
style.show(fig.subplots(), wall)
style.save(
    fig,
    "01_classify_a_panda",
    alt="A wall of a thousand small pictures, 25 rows of 40. All but the end are pandas, tinted so "
    "that they form one large panda; the last row and a half show the other classes, one or two "
    "cards each.",
)

# %% [markdown]
# ## Exercise
#
# A share among forty names is not the chance of being right. Show the network what is none of the
# forty: plain grey. Guess first: will all shares be about 1/40?

# %% [markdown]
# ## Solution
#
# No. It has no word for "none of these", so it must share out the whole hundred per cent among the
# names it has, and nothing in its training said how to do that on grey. Sure is not right.

# %%
grey = np.full((96, 96, 3), 128, np.uint8)
answer = net.classify(grey, top=40)
print(answer.top[0])

assert np.isclose(sum(score.p for score in answer.top), 1)
assert answer.p > 0.5
