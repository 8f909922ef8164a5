# %% [markdown]
# # 11. Teach it new classes
#
# The network knows forty names, and "robot" is not among them. Must we train it again to teach it
# five new things, or are ten pictures of each and a fraction of a second enough?

# %%
import time

import numpy as np
from matplotlib.patches import Rectangle
from PIL import Image, ImageDraw

import minimix as mx
import style

net = mx.load("mixnet-pocket")
NEW = ("ladybird", "fried egg", "traffic light", "robot", "fish")
assert not set(NEW) & set(net.labels)

# %% [markdown]
# ## Five things that it never saw
#
# Drawn here, with ellipses and boxes, then put on backgrounds of every kind: other place, size,
# angle, light and noise each time. Ten of each to learn from, forty others of each as an exam.


# %%
INK, WHITE = "#1F1B1B", "#FBFBF4"
BLOBS = ((16, 38, 110, 130), (50, 20, 140, 110), (46, 60, 150, 144), (30, 24, 90, 90))
SPOTS = ((55, 70), (105, 70), (48, 102), (112, 102), (66, 124), (94, 124))


def disc(canvas, x, y, radius, colour):
    canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def ladybird(canvas):
    canvas.ellipse((30, 34, 130, 138), fill="#D62718")
    canvas.ellipse((52, 14, 108, 56), fill=INK)
    canvas.line((80, 40, 80, 138), fill=INK, width=5)
    for x, y in SPOTS:
        disc(canvas, x, y, 9, INK)


def fried_egg(canvas):
    for box in BLOBS:
        canvas.ellipse(box, fill=WHITE)
    disc(canvas, 82, 78, 26, "#F6B221")
    disc(canvas, 73, 66, 7, "#FDE08A")


def traffic_light(canvas):
    canvas.rounded_rectangle((50, 8, 110, 152), 14, fill="#2B2F36")
    for y, colour in ((34, "#E23B30"), (80, "#F2C230"), (126, "#2FB457")):
        disc(canvas, 80, y, 18, colour)


def robot(canvas):
    canvas.line((80, 10, 80, 40), fill="#6B7A89", width=6)
    disc(canvas, 80, 12, 10, "#E2574C")
    canvas.rounded_rectangle((24, 38, 136, 140), 16, fill="#A9B7C4")
    for x in (56, 104):
        disc(canvas, x, 77, 15, WHITE)
        disc(canvas, x, 77, 7, "#1E6FB8")
    for x in range(50, 110, 12):
        canvas.rectangle((x, 108, x + 9, 124), fill="#4A5663")


def fish(canvas):
    canvas.polygon(((120, 80), (156, 46), (156, 114)), fill="#2E7FC2")
    canvas.polygon(((60, 44), (90, 12), (100, 48)), fill="#2E7FC2")
    canvas.ellipse((8, 38, 130, 122), fill="#49A6E9")
    disc(canvas, 39, 73, 11, WHITE)
    disc(canvas, 39, 73, 5, INK)


def background(rng, side):
    """(side, side, 3): two colours, as a gradient, stripes, a chequerboard or dots."""
    y, x = np.mgrid[:side, :side] / side
    angle, waves = rng.uniform(0, np.pi), rng.uniform(4, 12)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    a, b = (np.sin(2 * np.pi * waves * u) for u in (along, across))
    patterns = (along - along.min(), a > 0, (a > 0) ^ (b > 0), a * b > 0.5)
    mix = np.clip(patterns[rng.integers(4)], 0, 1)[..., None]
    first, second = rng.integers(0, 256, (2, 3))
    return first * (1 - mix) + second * mix


def picture_of(draw, rng, side=112):
    """(side, side, 3) uint8: the thing somewhere, somehow, on some background."""
    thing = Image.new("RGBA", (160, 160))
    draw(ImageDraw.Draw(thing))
    thing = thing.resize((320, 320)).rotate(rng.uniform(-30, 30), Image.Resampling.BICUBIC, True)
    width = int(thing.width / 320 * rng.uniform(0.5, 0.75) * side)
    thing = thing.resize((width, width), Image.Resampling.LANCZOS)
    room = max(side - width, 0)
    place = np.clip(room / 2 + rng.uniform(-0.12, 0.12, 2) * side, 0, room).astype(int)
    whole = Image.fromarray(background(rng, side).astype(np.uint8)).convert("RGBA")
    whole.alpha_composite(thing, tuple(place.tolist()))
    pixels = np.asarray(whole.convert("RGB")) * rng.uniform(0.65, 1.1)
    pixels += rng.normal(0, rng.uniform(0, 12), pixels.shape)
    return np.clip(pixels, 0, 255).astype(np.uint8)


THINGS = (ladybird, fried_egg, traffic_light, robot, fish)
rng = np.random.default_rng(11)
lesson = [picture_of(draw, rng) for draw in THINGS for _ in range(10)]
exam = [picture_of(draw, rng) for draw in THINGS for _ in range(40)]
lesson_classes, exam_classes = np.repeat(range(5), 10), np.repeat(range(5), 40)
print(f"the network as it is calls a robot: {net.classify(lesson[30]).label}")

# %% [markdown]
# ## Leave the network, replace its last step
#
# The last step is a matrix product, from 768 numbers to forty logits. The 768, the *features*, are
# what the network has to say about a picture before names come into it. Keep all that as it is,
# take the features, and learn only a new matrix.


# %%
def features_of(pictures):
    with net.trace(net.preprocess(pictures), keep="pool") as trace:
        return trace["pool"].output


lesson_features, exam_features = features_of(lesson), features_of(exam)
assert exam_features.shape == (200, 768)

# %% [markdown]
# Learning it is one line of linear algebra, **ridge regression**: find the matrix whose output is
# nearest to 1 for the right class and 0 for the others, and whose entries are small. The second
# wish matters, since 768 weights could fit fifty pictures in any number of ways.


# %%
def learn(features, classes, ridge=0.1):
    """Return a function from features to a score for each class."""
    centre = features.mean(axis=0)
    scale = np.sqrt(((features - centre) ** 2).sum(axis=1).mean())
    a = (features - centre) / scale
    targets = np.eye(5)[classes]
    mean = targets.mean(axis=0)
    weight = np.linalg.solve(a.T @ a + ridge * np.eye(a.shape[1]), a.T @ (targets - mean))
    return lambda x: (x - centre) / scale @ weight + mean


started = time.perf_counter()
scores_of = learn(lesson_features, lesson_classes)
print(f"learned in {time.perf_counter() - started:.2f} s")
scores = scores_of(exam_features)
answers = scores.argmax(axis=1)

# %% [markdown]
# ## How good is it, and how sure is that?
#
# 200 pictures are a sample. Wilson's interval, at 95 %, says which accuracies would fit what was
# seen. Beside it two simpler students: the nearest class mean of the same features, and the very
# same ridge regression on pixels instead of features.


# %%
def wilson(right, total, z=1.96):
    middle = (right + z**2 / 2) / (total + z**2)
    half = z / (total + z**2) * np.sqrt(right * (total - right) / total + z**2 / 4)
    return middle - half, middle + half


def pixels_of(pictures):
    small = [Image.fromarray(picture).resize((24, 24)) for picture in pictures]
    return np.array(small, np.float64).reshape(len(pictures), -1)


means = np.array([lesson_features[lesson_classes == k].mean(axis=0) for k in range(5)])
by_mean = ((exam_features[:, None] - means) ** 2).sum(axis=-1).argmin(axis=1)
by_pixels = learn(pixels_of(lesson), lesson_classes)(pixels_of(exam)).argmax(axis=1)

students = {"ridge on features": answers, "nearest mean": by_mean, "ridge on pixels": by_pixels}
accuracy = {}
for name, found in students.items():
    count = int((found == exam_classes).sum())
    low, high = wilson(count, len(exam))
    accuracy[name] = count / len(exam)
    print(f"{name:18} {count:3} of {len(exam)}: {accuracy[name]:.1%}  ({low:.1%} to {high:.1%})")

assert accuracy["ridge on features"] > 0.9
assert accuracy["ridge on features"] > accuracy["nearest mean"] > accuracy["ridge on pixels"]

# %% [markdown]
# The difference between the first and the last line is what the network brought along. It learned
# to see on animals, buses and strawberries, and uses it on robots.
#
# ## The picture
#
# The whole exam, sorted by answer: the surest first in each column, the mistakes in frames.

# %%
PER_ROW, GAP, SIDE = 4, 0.45, 1.0
confidence = np.sort(scores, axis=1)
margin = confidence[:, -1] - confidence[:, -2]
is_right = answers == exam_classes
wrong = int((~is_right).sum())
assert margin[~is_right].mean() < margin[is_right].mean() / 2  # it is least sure where it is wrong
rows = max(-(-int((answers == k).sum()) // PER_ROW) for k in range(5))
fig = style.figure(
    0.38 * rows + 1.15,
    f"{len(exam) - wrong} of {len(exam)} right, after ten pictures of each",
    f"mixnet-pocket as shipped, ridge regression on its 768 features · columns: the answer, the "
    f"surest first · framed: the {wrong} mistakes",
)
ax = fig.subplots()
for k, name in enumerate(NEW):
    column = np.flatnonzero(answers == k)
    column = column[np.argsort(-margin[column])]
    x = k * (PER_ROW + GAP)
    mistakes = int((exam_classes[column] != k).sum())
    ax.text(x, -0.75, name, fontsize=11, fontweight="bold", va="center")
    ax.text(x, -0.25, f"{len(column)} answers, {mistakes} wrong", fontsize=8.5, va="center")
    for place, n in enumerate(column):
        i, j = divmod(place, PER_ROW)
        ax.imshow(exam[n], extent=(x + j, x + j + SIDE, i + SIDE, i))
        if exam_classes[n] != k:
            ax.add_patch(
                Rectangle((x + j + 0.04, i + 0.04), 0.92, 0.92, fill=False, color="white", lw=4)
            )
            ax.add_patch(
                Rectangle((x + j + 0.04, i + 0.04), 0.92, 0.92, fill=False, color=style.INK, lw=2)
            )
ax.set(xlim=(0, 5 * PER_ROW + 4 * GAP), ylim=(rows, -1.1), xticks=[], yticks=[])
ax.spines[:].set_visible(False)
style.save(
    fig,
    "11_teach_it_new_classes",
    alt="Five blocks of small pictures: ladybirds, fried eggs, traffic lights, robots and fish on "
    "all kinds of backgrounds, sorted by the answer that was given. The few wrong ones are framed; "
    "most of them stand at the end of their column, where answers are least sure.",
)

# %% [markdown]
# ## Exercise
#
# Ten pictures of each are a luxury. How good is it after one?

# %% [markdown]
# ## Solution
#
# Far better than guessing, which would be right one time in five.

# %%
first_of_each = np.arange(0, len(lesson), 10)
after_one = learn(lesson_features[first_of_each], lesson_classes[first_of_each])
count = int((after_one(exam_features).argmax(axis=1) == exam_classes).sum())
low, high = wilson(count, len(exam))
print(f"after one picture of each: {count / len(exam):.1%}  ({low:.1%} to {high:.1%})")
assert low > 0.5
