# %% [markdown]
# # Opening a TensorFlow checkpoint without TensorFlow
#
# Google released MixNet as TensorFlow checkpoints. Must one install TensorFlow to get a few million
# numbers out of a file? What is in these files, and how little code does it take to read them, and
# to be sure that what was read is right?
#
# Two files lie beside this page, written by TensorFlow itself: the first layer of a MixNet-S.

# %%
import struct

import numpy as np
from matplotlib.patches import Patch, Rectangle

import style

HERE = style.HERE
index = (HERE / "checkpoints" / "stem.ckpt.index").read_bytes()
shard = (HERE / "checkpoints" / "stem.ckpt.data-00000-of-00001").read_bytes()
print(f"stem.ckpt.index: {len(index)} bytes, stem.ckpt.data-00000-of-00001: {len(shard):,} bytes")

# %% [markdown]
# The large file is nothing but numbers, one tensor after the other. All knowledge is in the small
# one: which tensor lies where, of which type and shape. Its format is LevelDB's sorted table, read
# from the end: the last 48 bytes are a footer that ends in a magic number.

# %%
MAGIC = bytes.fromhex("57fb808b247547db")
assert index[-8:] == MAGIC

spans = []  # (first byte, end, what it is): we colour them in at the end


def mark(begin, end, what):
    spans.append((begin, end, what))
    return end


mark(len(index) - 48, len(index) - 8, "footer: where the index of blocks is")
mark(len(index) - 8, len(index), "magic number")


def varint(data, at):
    """Seven bits a byte, the lowest first; the eighth bit says that more follow."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


assert varint(b"\x96\x01", 0) == (150, 2)

at = len(index) - 48
meta_at, at = varint(index, at)  # a table of meta-information, empty here
meta_size, at = varint(index, at)
mark(meta_at, meta_at + meta_size + 5, "empty table of meta-information")
blocks_at, at = varint(index, at)
blocks_size, at = varint(index, at)
print(f"the index of blocks: {blocks_size} bytes at {blocks_at}")

# %% [markdown]
# ## Blocks: names that share their beginnings
#
# A block is a list of keys and values in order. Neighbouring keys begin alike, so each says how
# many bytes it shares with the one before, and then only what is new. `mixnet-s/stem/...` is
# spelled out once. A trailer of five bytes follows each block: whether it is compressed (TensorFlow
# leaves its index as it is) and a checksum.


# %%
def entries(data, begin, size):
    """The keys and values of one block, each value with its place."""
    (count,) = struct.unpack_from("<I", data, begin + size - 4)
    end = begin + size - 4 - 4 * count
    mark(end, begin + size, "restarts: where keys are whole")
    mark(begin + size, begin + size + 5, "block trailer: type, checksum")
    key, at = b"", begin
    while at < end:
        start = at
        shared, at = varint(data, at)
        fresh, at = varint(data, at)
        length, at = varint(data, at)
        mark(start, at, "lengths of key and value")
        key = key[:shared] + data[at : at + fresh]
        at = mark(at, at + fresh, "key: what differs from the one before")
        yield key, at, at + length
        at += length


table = {}
for _, begin, end in entries(index, blocks_at, blocks_size):
    mark(begin, end, "place of a block")
    block_at, at = varint(index, begin)
    block_size, _ = varint(index, at)
    for key, value_begin, value_end in entries(index, block_at, block_size):
        table[key.decode()] = (value_begin, value_end)

for name in table:
    print(name or "(the empty key: how many shards there are)")
assert list(table) == sorted(table)
assert "mixnet-s/mixnet_model/stem/conv2d_78/kernel" in table

# %% [markdown]
# ## Values: five numbers and a shape
#
# Each value is a protocol buffer: fields, each a number for its meaning and its kind, then its
# content. Six fields matter here.

# %%
FIELDS = {1: "type", 2: "shape", 3: "shard", 4: "offset", 5: "size", 6: "checksum"}


def fields(data, at, end, marked=False):
    while at < end:
        start = at
        tag, at = varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:  # a varint
            value, at = varint(data, at)
        elif kind == 2:  # bytes, their number first
            length, at = varint(data, at)
            value, at = data[at : at + length], at + length
        else:  # four bytes
            assert kind == 5
            (value,), at = struct.unpack_from("<I", data, at), at + 4
        if marked:
            mark(start, at, f"value: {FIELDS[number]}")
        yield number, value


def entry(name):
    found = {"shape": (), "shard": 0, "offset": 0}
    for number, value in fields(index, *table[name], marked=True):
        if number == 2:  # a message of its own: one field 2 for each axis, its size in field 1
            axes = [dict(fields(axis, 0, len(axis))) for _, axis in fields(value, 0, len(value))]
            value = tuple(axis.get(1, 0) for axis in axes)
        found[FIELDS[number]] = value
    return found


mark(*table[""], "header: number of shards")
kernel = entry("mixnet-s/mixnet_model/stem/conv2d_78/kernel")
print(kernel)
assert kernel["shape"] == (3, 3, 3, 16) and kernel["size"] == 4 * 3 * 3 * 3 * 16

# %% [markdown]
# ## Is it the right bytes?
#
# The checksum is CRC-32C of the tensor's bytes, then "masked": rotated by 15 bits, plus a constant,
# because a checksum of data that contains checksums is a poor one. Plain Python is enough to check
# it. If one bit of the file had flipped on its way to us, this is where we would know.


# %%
def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(crc):
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283  # the value that RFC 3720 gives


def tensor(name):
    where = entry(name)
    data = shard[where["offset"] : where["offset"] + where["size"]]
    assert masked(crc32c(data)) == where["checksum"], f"{name}: the bytes are not those written"
    dtype = {1: "<f4", 9: "<i8"}[where["type"]]
    return np.frombuffer(data, dtype).reshape(where["shape"])


tensors = {name: tensor(name) for name in table if name}
print(f"{len(tensors)} tensors, every checksum right")

# %% [markdown]
# ## Which of the two?
#
# Every variable is there twice: as training left it, and as a moving average over the last steps
# (`/ExponentialMovingAverage`). Evaluation uses the averages. Take the others and the network still
# runs, and gives other probabilities; no checksum tells you. That is why minimix takes the averages
# unless told otherwise, and refuses a file that has them for some variables only.

# %%
AVERAGE = "/ExponentialMovingAverage"
name = "mixnet-s/mixnet_model/stem/conv2d_78/kernel"
raw, average = tensors[name], tensors[name + AVERAGE]
difference = np.abs(raw - average).max()
print(f"the two kernels differ by up to {difference:.3f}, where weights reach {abs(raw).max():.3f}")
assert 0 < difference < abs(raw).max()

# %% [markdown]
# ## The same with minimix
#
# `weights_tools` does what this page did, and what a page leaves out: compressed blocks, several
# shards, tar archives, bounds on everything before memory is taken, one clear error for every way
# in which a file can be damaged.

# %%
from weights_tools import readers  # noqa: E402

checkpoint = readers.read(HERE / "checkpoints" / "stem.ckpt")
assert list(checkpoint.tensors) == list(tensors)
for name, array in checkpoint.tensors.items():
    np.testing.assert_array_equal(array, tensors[name])
print(f"weights_tools reads the same {len(tensors)} tensors")

# %% [markdown]
# ## The bytes, all of them

# %%
COLOURS = {
    "lengths of key and value": "#CBD5E1",
    "key: what differs from the one before": "#56B4E9",
    "header: number of shards": "#E5E7EB",
    "value: type": "#F0E442",
    "value: shape": "#E69F00",
    "value: shard": "#FDE68A",
    "value: offset": "#009E73",
    "value: size": "#7FCFB5",
    "value: checksum": "#D55E00",
    "restarts: where keys are whole": "#CC79A7",
    "block trailer: type, checksum": "#E8A58A",
    "place of a block": "#9CA3AF",
    "empty table of meta-information": "#F3F4F6",
    "footer: where the index of blocks is": "#B7A6E0",
    "magic number": "#7C3AED",
}
DARK = {"magic number", "value: checksum", "value: offset"}
meaning = [""] * len(index)
for begin, end, what in spans:
    meaning[begin:end] = [what] * (end - begin)
assert set(meaning) <= set(COLOURS)  # every byte of the file has been explained
PER_ROW = 32
rows = -(-len(index) // PER_ROW)
figure = style.figure(
    0.21 * rows + 1.9,
    f"{len(index)} bytes that say where {len(tensors)} tensors lie",
)
axes = figure.add_subplot()
for place, byte in enumerate(index):
    i, j = divmod(place, PER_ROW)
    what = meaning[place]
    is_letter = what.startswith("key") and 32 <= byte < 127
    axes.add_patch(Rectangle((j, i), 1, 1, facecolor=COLOURS[what], edgecolor="white"))
    axes.text(
        j + 0.5,
        i + 0.54,
        chr(byte) if is_letter else f"{byte:02x}",
        ha="center",
        va="center",
        family="monospace",
        fontsize=8.5 if is_letter else 6.5,
        fontweight="bold" if is_letter else "normal",
        color="white" if what in DARK else style.INK,
    )
axes.set(xlim=(0, PER_ROW), ylim=(rows, 0), xticks=[], ylabel="first byte of the row")
axes.set_title("stem.ckpt.index, as TensorFlow wrote it; keys as letters, the rest in hexadecimal")
axes.set_yticks([i + 0.5 for i in range(rows)], [str(PER_ROW * i) for i in range(rows)])
axes.tick_params(length=0)
axes.spines[:].set_visible(False)
handles = [Patch(facecolor=COLOURS[what], label=what) for what in COLOURS if what in meaning]
figure.legend(handles=handles, ncols=3, loc="outside lower left", fontsize=8)
style.save(
    figure,
    "opening_a_tensorflow_checkpoint",
    alt="A grid of all bytes of a checkpoint's index, coloured by meaning: keys that share their "
    "beginnings, and for each the type, shape, offset, size and checksum of a tensor.",
)

# %% [markdown]
# ## Exercise
#
# Change one byte of a tensor and read it again. What happens? Then change one byte of the index
# instead: does this page notice, and what would have to be checked for it to notice?

# %% [markdown]
# ## Solution
#
# The tensor's checksum no longer fits. A changed index can go unnoticed here, because the page does
# not compare the checksums in the block trailers; they cover the block and its type byte.

# %%
damaged = bytearray(shard)
damaged[entry(name)["offset"]] ^= 1
shard, whole = bytes(damaged), shard
try:
    tensor(name)
    raise SystemExit("the damage was not noticed")
except AssertionError as error:
    print("noticed:", error)
shard = whole

(_, first_block, _), *_ = entries(index, blocks_at, blocks_size)
block_at, at = varint(index, first_block)
block_size, _ = varint(index, at)
(stored,) = struct.unpack_from("<I", index, block_at + block_size + 1)
assert masked(crc32c(index[block_at : block_at + block_size + 1])) == stored
print("the block's own checksum is right, too")
