# %% [markdown]
# # 8. The whole network, step by step
#
# A photo goes in; some hundred and fifty steps later a name comes out. On the way, how much of the
# photo does one single number see, and what does it look at?

# %%
import numpy as np
from matplotlib.patches import Rectangle

import minimix as mx
import style
from minimix.receptive import receptive_fields

net = mx.load("mixnet-pocket")
photo = mx.images.open_image(style.IMAGES / "panda.png")
x = net.preprocess(photo)
steps = {step.name: step for step in net.steps(x)}
print(f"{len(steps)} steps")
assert 150 <= len(steps) < 170

# %% [markdown]
# ## Where becomes what
#
# Six places on the way. Pixels get fewer, channels get more: the network trades *where* for *what*.

# %%
PLACES = {
    "stem.conv_act": "stem",
    "blocks.2.add": "block 2",
    "blocks.3.mixconv": "block 3, MixConv",
    "blocks.6.add": "block 6",
    "blocks.12.add": "block 12",
    "head.conv_act": "head",
}
for name in ("image", *PLACES):
    _, height, width, channels = steps[name].output.shape
    print(f"{name:17} {height:2} x {width:2} pixels of {channels:3} numbers")

assert steps["image"].output.shape[1:] == (96, 96, 3)
assert steps["head.conv_act"].output.shape[1:] == (3, 3, 768)

# %% [markdown]
# ## One number's view
#
# A number after a 3 × 3 convolution sees three pixels a side. Stack another and it sees two more.
# After a stride of 2, neighbours are twice as far apart in the photo, so every later kernel adds
# twice as much. That is the whole rule of the **receptive field**:

# %%
sees, apart = 1, 1  # pixels of the photo, along one side
by_hand = {}
for node in net.graph:
    if node.kind in ("conv", "mixconv") and max(node.kernel_sizes) > 1:
        sees += (max(node.kernel_sizes) - 1) * apart
        apart *= node.operator.stride
    by_hand[node.name] = sees

fields = receptive_fields(net.graph, net.size)
for name, title in PLACES.items():
    print(f"{title:17} {by_hand[name]:5} px")
    assert by_hand[name] == max(field.size for field in fields[name])

# %% [markdown]
# The rule follows the largest kernels. In a MixConv each lane has its own field: in block 3 they
# are 27, 35 and 43 pixels wide. Is that true to the pixel? Take one number of the widest lane,
# change the photo just outside of its field, then just inside.

# %%
mixconv = "blocks.3.mixconv"
assert [field.size for field in fields[mixconv]] == [27, 35, 43]
AT = 4  # row and column of the number in its 12 x 12 map
first, last = fields[mixconv][-1].at(AT)


def with_changed_pixel(row):
    changed = x.copy()
    changed[0, row, (first + last) // 2] += 1
    with net.trace(changed, keep=(mixconv, "blocks.3.se")) as trace:
        return {step.name: step.output[0, AT, AT] for step in trace}


before = {name: steps[name].output[0, AT, AT] for name in (mixconv, "blocks.3.se")}
outside, inside = with_changed_pixel(last + 1), with_changed_pixel(last)
print(f"its field: rows {first} to {last}")
assert np.array_equal(outside[mixconv], before[mixconv])  # not one bit
assert not np.array_equal(inside[mixconv], before[mixconv])

# %% [markdown]
# One exception follows right behind. Squeeze-excite takes means over everything, so after it each
# number feels the whole photo a little. Receptive fields leave that out, here and in the papers.

# %%
assert not np.array_equal(outside["blocks.3.se"], before["blocks.3.se"])

# %% [markdown]
# ## A limit is not a fact
#
# At the end one number *may* see far more than the photo. What does it *look at*? Ask it: change
# each spot of 3 × 3 pixels a little, one at a time, and note how far the number's channels move.

# %%
SPOT, SPOTS = 3, net.size // 3
CENTRE = 32  # row and column in the photo; on every map there is a number right over it
reaction = {name: np.zeros((SPOTS, SPOTS)) for name in PLACES}


def numbers_over_centre(pictures):
    with net.trace(pictures, keep=PLACES) as trace:
        for step in trace:
            at = CENTRE * step.output.shape[1] // net.size
            yield step.name, step.output[:, at, at]


unchanged = dict(numbers_over_centre(x))
for i in range(SPOTS):
    row = np.repeat(x, SPOTS, axis=0)
    for j in range(SPOTS):
        row[j, SPOT * i : SPOT * (i + 1), SPOT * j : SPOT * (j + 1)] += 0.5
    for name, values in numbers_over_centre(row):
        reaction[name][i] = np.sqrt(((values - unchanged[name]) ** 2).mean(axis=-1))

for name, moved in reaction.items():
    largest_first = np.sort(moved, axis=None)[::-1].cumsum()
    spots = 1 + (largest_first < largest_first[-1] / 2).sum()
    print(f"{PLACES[name]:17} half of the reaction comes from {spots:4} of {moved.size} spots")

# %% [markdown]
# Up to block 3 the reaction ends exactly where the field does. At the head the field is more than
# ten photos wide, and yet half of the reaction comes from less than a fifth of the photo. From
# which fifth? The background is green and the panda is not, so they are easy to tell apart.

# %%
for name in ("stem.conv_act", "blocks.2.add", mixconv):
    field = fields[name][-1]
    low, high = (edge // SPOT for edge in field.at(CENTRE // field.step))
    outside = np.ones((SPOTS, SPOTS), bool)
    outside[low : high + 1, low : high + 1] = False
    nothing = 1e-5 * reaction[name].max()  # but for the last digit of a sum
    assert reaction[name][outside].max() < nothing < reaction[name][~outside].min()

assert by_hand["head.conv_act"] > 10 * net.size
assert spots < moved.size / 5

shown = np.asarray(photo.resize((109, 109)))[6:102, 6:102]  # the square that the network gets
is_panda = (np.ptp(shown[1::SPOT, 1::SPOT].astype(int), axis=-1)) < 12
times = moved[is_panda].mean() / moved[~is_panda].mean()
print(f"at the head a spot of the panda counts {times:.1f} times as much as one of the background")
assert times > 2

# %% [markdown]
# ## The picture
#
# Above, the photo as far as the number over the dot may see it; for block 3, the three lanes. In
# the middle, what it reacts to, on a logarithmic scale. Below, the map it belongs to: of all
# channels the one that varies most.

# %%
fig = style.figure(
    5.2,
    "One number's view: first a patch, then the photo, in the end the panda",
    "mixnet-pocket on panda.png, 96 px · reaction: root mean square over the channels above\n"
    "the dot when 3 × 3 pixels get brighter, as a share of the largest",
)
grid = fig.subplots(3, len(PLACES))
for column, (name, title) in zip(grid.T, PLACES.items(), strict=True):
    sees, reacts, holds = column
    style.show(sees, shown, title.replace(", ", "\n"))
    shade = np.zeros((net.size, net.size, 4))
    shade[..., 3] = 0.72
    for field, kernel_size in zip(fields[name], (3, 5, 7), strict=False):
        low, high = field.at(CENTRE // field.step)
        shade[max(low, 0) : high + 1, max(low, 0) : high + 1] = 0
        if name == mixconv:
            corner, side = (low - 0.5, low - 0.5), field.size
            colour = style.kernel_style(kernel_size)["facecolor"]
            sees.add_patch(Rectangle(corner, side, side, fill=False, color=colour, linewidth=2))
    sees.imshow(shade)
    sees.plot(CENTRE, CENTRE, "o", color="white", markersize=4, markeredgecolor=style.INK)
    sees.set_xlabel(" · ".join(f"{field.size:,}" for field in fields[name]) + " px")

    decades = np.log10(np.maximum(reaction[name] / reaction[name].max(), 1e-3))
    shares = style.heat(reacts, decades, low=-3, high=0)

    output = steps[name].output[0]
    channel = output[..., output.std(axis=(0, 1)).argmax()]
    values = style.heat(holds, (channel - channel.min()) / np.ptp(channel))
    height, width, channels = output.shape
    holds.set_xlabel(f"{height} × {width} × {channels}")
for ax, label in zip(grid[:, 0], ("may see", "reacts to", "belongs to"), strict=True):
    ax.set_ylabel(label, fontsize=11)
for row, mappable, ticks in (
    (grid[1], shares, {-3: "≤ 1/1000", -2: "1/100", -1: "1/10", 0: "1"}),
    (grid[2], values, {0: "lowest", 1: "highest"}),
):
    bar = fig.colorbar(mappable, ax=row, fraction=0.02, pad=0.01, aspect=10)
    bar.set_ticks(list(ticks), labels=list(ticks.values()))
    bar.outline.set_visible(False)
style.kernel_legend(fig, (3, 5, 7), loc="upper right", bbox_to_anchor=(1, 0.9))
style.save(
    fig,
    "08_the_whole_network",
    alt="Six columns from the stem to the head. Above, the photo of a panda, lit where one number "
    "can see it: a point, a patch, then all of it. In the middle, what the number reacts to: a "
    "patch that grows, and at the end the outline of the panda. Below, feature maps that get "
    "coarser, from 48 x 48 pixels to 3 x 3.",
)

# %% [markdown]
# ## Exercise
#
# Suppose that every kernel were 3 × 3. How wide would the field of the head be? And from which
# block on would a number at the left edge of the photo see its right edge?

# %% [markdown]
# ## Solution
#
# Less than a third as wide, and left would meet right three blocks later. Large kernels buy reach
# early, while there are still pixels to tell apart.


# %%
def field_sizes(largest):
    sees, apart, sizes = 1, 1, {}
    for node in net.graph:
        if node.kind in ("conv", "mixconv") and max(node.kernel_sizes) > 1:
            sees += (min(largest, max(node.kernel_sizes)) - 1) * apart
            apart *= node.operator.stride
        sizes[node.stage] = sees
    return sizes


blocks = []
for largest in (11, 3):
    sizes = field_sizes(largest)
    blocks.append(next(stage for stage, sees in sizes.items() if sees >= 2 * net.size - 1))
    print(f"kernels up to {largest:2}: {sizes['head']:5} px at the head; all of it: {blocks[-1]}")
assert field_sizes(3)["head"] < field_sizes(11)["head"] / 3
assert blocks == ["blocks.8", "blocks.11"]
