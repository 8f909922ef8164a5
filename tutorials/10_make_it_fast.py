# %% [markdown]
# # 10. Make it fast: loops, NumPy, Numba, vectors
#
# Here is one MixConv of the network: some four hundred thousand multiply-adds, always the same
# ones. How much faster can one and the same core do them?
#
# Times are measured while this page runs, so yours will differ. What the page asserts holds
# everywhere.

# %%
import time

import numpy as np
from matplotlib.patches import Rectangle

import minimix as mx
import style
from minimix.engine import has_numba, make_engine
from minimix.graph import Graph, Node
from minimix.operators import Conv, Input

net = mx.load("mixnet-pocket")
NAME = "blocks.3.mixconv"
with net.trace(net.preprocess(style.IMAGES / "panda.png"), keep=NAME) as trace:
    step = trace[NAME]
x, weights, expected = step.inputs[0], step.params, step.output
stride = step.node.operator.stride
macs = step.node.operator.macs(x.shape)
print(f"{x.shape} -> {expected.shape}, kernels {step.kernel_sizes}: {macs:,} multiply-adds")
assert 350_000 < macs < 450_000

# %% [markdown]
# ## Rung 1: loops
#
# As one would write it on paper: for every pixel, every channel and every place in the kernel, one
# multiplication and one addition.


# %%
def loops(padded, weight, y, stride):
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            for c in range(y.shape[2]):
                for di in range(weight.shape[0]):
                    for dj in range(weight.shape[1]):
                        pixel = padded[i * stride + di, j * stride + dj, c]
                        y[i, j, c] += pixel * weight[di, dj, c]


stops = np.cumsum([weight.shape[-1] for weight in weights])[:-1]
lanes = [
    np.ascontiguousarray(mx.ops.pad2d(lane, len(weight), stride)[0])
    for lane, weight in zip(np.split(x, stops, axis=-1), weights, strict=True)
]
results = [np.ascontiguousarray(lane[0]) for lane in np.split(expected, stops, axis=-1)]


def run(kernel):
    """Compute each lane of the MixConv with a function like ``loops``, into ``results``."""
    for lane, weight, y in zip(lanes, weights, results, strict=True):
        y[:] = 0
        kernel(lane, weight, y, stride)


def check(kernel):
    run(kernel)
    np.testing.assert_allclose(np.concatenate(results, axis=-1), expected[0], atol=1e-4)


check(loops)

# %% [markdown]
# Nearly all of its time Python spends asking: what type is this, where does it lie, who frees it?
#
# ## Rung 2: NumPy
#
# Ask once for a whole array. Only the loops over the kernel stay in Python; for each of its places
# the shifted picture is multiplied and added in one go.


# %%
def shifted(padded, weight, y, stride):
    height, width, _ = y.shape
    for di in range(weight.shape[0]):
        for dj in range(weight.shape[1]):
            rows = slice(di, di + stride * (height - 1) + 1, stride)
            columns = slice(dj, dj + stride * (width - 1) + 1, stride)
            y += padded[rows, columns] * weight[di, dj]


check(shifted)

# %% [markdown]
# ## Rung 3: Numba
#
# Numba turns the very function of rung 1 into machine code: same loops, no questions. But it still
# does one channel at a time. With the channels in the innermost loop, neighbours in the loop are
# neighbours in memory, too, and the compiler may take several at once.

# %%
rungs = {"Python loops": lambda: run(loops), "NumPy, whole arrays": lambda: run(shifted)}

if has_numba():
    import numba

    compiled_loops = numba.njit(loops)

    @numba.njit
    def channels_inside(padded, weight, y, stride):
        for i in range(y.shape[0]):
            for j in range(y.shape[1]):
                for di in range(weight.shape[0]):
                    for dj in range(weight.shape[1]):
                        for c in range(y.shape[2]):
                            pixel = padded[i * stride + di, j * stride + dj, c]
                            y[i, j, c] += pixel * weight[di, dj, c]

    check(compiled_loops)  # compiles, too
    check(channels_inside)
    rungs["Numba, same loops"] = lambda: run(compiled_loops)
    rungs["Numba, channels inside"] = lambda: run(channels_inside)
else:
    print("Numba is not installed: rungs 3 and 4 are left out")

# %% [markdown]
# ## Rung 4: explicit vectors
#
# Rung 3 still fetches and stores `y[i, j, c]` for every multiply-add. The compiled engine does
# not. Its kernels are written in vectors, for the width of this machine: output pixels stay in
# registers while the whole kernel passes over them, and one instruction multiplies and adds as many
# numbers as a register holds.
#
# The engine runs graphs, and a graph begins with a convolution; so ours copies its input with a
# 1 × 1 convolution first. `profile_phases` times the MixConv alone.

# %%
if has_numba():
    from minimix.engine.profile import profile_phases

    nodes = (
        Node("image", Input(channels=x.shape[-1])),
        Node("copy", Conv(x.shape[-1], kernel_size=1), ("image",)),
        Node(NAME, step.node.operator, ("copy",)),
    )
    graph = Graph("one MixConv", nodes, outputs=(NAME,))
    params = {name: net.file.params[name] for name in net.graph.param_names[NAME]}
    params["copy.weight"] = np.eye(x.shape[-1], dtype=np.float32)[None, None]
    engine = make_engine("compiled", graph, params, threads=1)
    np.testing.assert_allclose(engine.run(x)[0], expected, atol=1e-4)
    print(f"one register of this machine holds {engine.machine.width} numbers")


def engine_ms():
    """Milliseconds that the engine's kernel takes: the median of 20 calls."""
    return {phase.node: phase.elapsed_ms for phase in profile_phases(engine, x[0], runs=20)}[NAME]


# %% [markdown]
# ## Measure
#
# In turns, so that a throttled moment hits all alike; the median of the rounds. `thread_time`
# counts only while this thread has a core, whatever else the machine does.

# %%
ROUNDS = 5


def seconds(rung, calls):
    started = time.thread_time()
    for _ in range(calls):
        rung()
    return (time.thread_time() - started) / calls


calls = {name: max(1, round(0.1 / max(seconds(rung, 2), 1e-5))) for name, rung in rungs.items()}
times_ms = {name: [] for name in rungs}
if has_numba():
    times_ms["minimix, explicit vectors"] = []
for _ in range(ROUNDS):
    for name, rung in rungs.items():
        times_ms[name].append(1000 * seconds(rung, calls[name]))
    if has_numba():
        times_ms["minimix, explicit vectors"].append(engine_ms())
median_ms = {name: float(np.median(found)) for name, found in times_ms.items()}

slowest = median_ms["Python loops"]
for name, elapsed_ms in median_ms.items():
    print(f"{name:25} {1000 * elapsed_ms:11,.1f} µs  {slowest / elapsed_ms:9,.0f} times as fast")
assert slowest > 10 * median_ms["NumPy, whole arrays"]
if has_numba():
    assert slowest > 10 * median_ms["Numba, same loops"]
    assert slowest > 100 * median_ms["minimix, explicit vectors"]
    assert median_ms["NumPy, whole arrays"] > 2 * median_ms["minimix, explicit vectors"]

# %% [markdown]
# Not one multiplication was saved. What went, rung by rung: questions, walks through memory, idle
# lanes.
#
# ## The picture

# %%
SIDE = 100.0  # of the square for Python's loops; a square's area is its time
sides = {name: SIDE * (elapsed / slowest) ** 0.5 for name, elapsed in median_ms.items()}
small = [name for name in sides if name != "Python loops"]
shades = dict(zip(small, ("#B4BDC9", "#8C97A6", "#626D7C", style.ACCENT), strict=False))
NAMES_WIDTH, GAP, FLOOR = 17, 4, 42


def in_words(elapsed_ms):
    return f"{elapsed_ms:.0f} ms" if elapsed_ms >= 1 else f"{1000 * elapsed_ms:.3g} µs"


fig = style.figure(
    8.5,
    "The same arithmetic on the same core: area is time",
    f"mixnet-pocket, {NAME}, {macs:,} multiply-adds · one thread · medians of {ROUNDS} rounds, as "
    "measured\nwhen this page was built",
)
ax = fig.subplots()
ax.add_patch(Rectangle((0, 0), SIDE, SIDE, facecolor=style.PALE))
ax.text(3, 97, f"Python loops: {in_words(slowest)}", va="top", fontsize=15, fontweight="bold")
ax.text(3, 91.5, f"{1e6 * slowest / macs:,.0f} ns for one multiply-add", va="top", fontsize=10)

# Names need room, so a small square may stand on a wider place.
zoom = min(50, 40 / max(sides[name] for name in small))
while True:
    places = [max(zoom * sides[name], NAMES_WIDTH) for name in small]
    width = sum(places) + GAP * (len(small) - 1)
    if width <= SIDE - 12:
        break
    zoom *= 0.98
highest = zoom * max(sides[name] for name in small)
lens = Rectangle((3, FLOOR - 15), SIDE - 6, highest + 18, facecolor="white")
ax.add_patch(lens)

left, left_in_lens = 5.0, 6.0
for name, place in zip(small, places, strict=True):
    side = sides[name]
    ax.add_patch(Rectangle((left, 5), side, side, facecolor=shades[name]))
    left += side + 1.2
    ax.add_patch(Rectangle((left_in_lens, FLOOR), zoom * side, zoom * side, facecolor=shades[name]))
    speed = f"{slowest / median_ms[name]:,.0f} × as fast"
    for line, words in enumerate((*name.split(", "), in_words(median_ms[name]), speed)):
        ax.text(left_in_lens, FLOOR - 3.2 - 2.6 * line, words, fontsize=10)
    left_in_lens += place + GAP
tallest = max(sides[name] for name in small)
frame = Rectangle((3, 3.5), left - 3, tallest + 3, fill=False, edgecolor=style.GREY)
ax.add_patch(frame)
for at, corner in ((3, 3), (left, SIDE - 3)):
    ax.plot([at, corner], [tallest + 6.5, FLOOR - 15], color=style.GREY, linewidth=1)
ax.text(left + 2, 5, f"to the same scale; above, {zoom:.1f} times as wide", fontsize=10)
ax.set(xlim=(0, SIDE), ylim=(0, SIDE), aspect="equal", xticks=[], yticks=[])
ax.spines[:].set_visible(False)
times = ", ".join(f"{name}: {in_words(median_ms[name])}" for name in median_ms)
style.save(
    fig,
    "10_make_it_fast",
    alt="Squares whose areas are times. The one for loops in Python fills the page; the others are "
    f"small squares in its corner, shown enlarged above. {times}.",
)

# %% [markdown]
# ## Exercise
#
# In NumPy it can be done without any loop: `sliding_window_view` shows all patches of a picture
# without copying, and `einsum` multiplies and adds. Is fewer lines also less time?

# %% [markdown]
# ## Solution
#
# It gives the same numbers. Whether it is faster depends on how `einsum` walks through memory, and
# that is why one measures.


# %%
def patches(padded, weight, y, stride):
    views = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[:2], axis=(0, 1))
    np.einsum("ijckl,klc->ijc", views[::stride, ::stride], weight, out=y)


run(patches)
assert np.allclose(np.concatenate(results, axis=-1), expected[0], atol=1e-4)
for kernel in (shifted, patches):
    found = [1e6 * seconds(lambda kernel=kernel: run(kernel), 50) for _ in range(ROUNDS)]
    print(f"{kernel.__name__}: {np.median(found):,.0f} µs")
