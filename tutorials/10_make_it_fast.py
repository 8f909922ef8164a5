# %% [markdown]
# # 10. Make it fast: loops, NumPy, Numba, vectors
#
# Here is one MixConv of the network: some four hundred thousand multiply-adds, always the same
# ones. How many times faster can one and the same core do them?
#
# The numbers below are measured while this page runs, so yours will differ. What the page asserts
# holds everywhere.

# %%
import time

import numpy as np

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


def by(kernel):
    """Compute each lane with a kernel like ``loops``, put the lanes together."""
    results = []
    for lane, weight in zip(lanes, weights, strict=True):
        y = np.zeros((*expected.shape[1:3], weight.shape[-1]), np.float32)
        kernel(lane, weight, y, stride)
        results.append(y)
    return np.concatenate(results, axis=-1)


np.testing.assert_allclose(by(loops), expected[0], atol=1e-4)

# %% [markdown]
# Nearly all of that time goes into asking: what type is this, where does it lie, who frees it? The
# arithmetic hardly counts.
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


np.testing.assert_allclose(by(shifted), expected[0], atol=1e-4)

# %% [markdown]
# ## Rung 3: Numba
#
# NumPy walks through memory once for every place of the kernel. A compiler can keep the loops *and*
# lose the questions: Numba turns the very function of rung 1 into machine code.

# %%
rungs = {"Python loops": lambda: by(loops), "NumPy": lambda: by(shifted)}

if has_numba():
    import numba

    compiled_loops = numba.njit(loops)
    np.testing.assert_allclose(by(compiled_loops), expected[0], atol=1e-4)
    rungs["Numba, same loops"] = lambda: by(compiled_loops)

    @numba.njit
    def channels_inside(padded, weight, y, stride):
        for i in range(y.shape[0]):
            for j in range(y.shape[1]):
                for di in range(weight.shape[0]):
                    for dj in range(weight.shape[1]):
                        for c in range(y.shape[2]):
                            pixel = padded[i * stride + di, j * stride + dj, c]
                            y[i, j, c] += pixel * weight[di, dj, c]

    np.testing.assert_allclose(by(channels_inside), expected[0], atol=1e-4)
    rungs["Numba, channels inside"] = lambda: by(channels_inside)
else:
    print("Numba is not installed: rungs 3 and 4 are left out")
for n,f in rungs.items():
    best=9
    for _ in range(3):
        t=time.perf_counter(); f(); best=min(best,time.perf_counter()-t)
    print(n,best*1e6)
