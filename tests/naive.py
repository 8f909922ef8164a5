"""The bottom of the tower of oracles: every operator as plain loops over Python floats.

Imports NumPy only, to unpack arguments and to pack results; all sums are float64.  Nothing here
is fast, clever or shared with minimix: the padding rules are derived again from their sources.
"""

from __future__ import annotations

import math

import numpy as np


def extent_of(kernel_size, dilation):
    """Pixels from the first tap of a dilated kernel to its last, both included."""
    return len(range(0, (kernel_size - 1) * dilation + 1))


def padding_of(size, kernel_size, stride, padding, dilation=1):
    """(zeros before, zeros after) along one side.

    ``same`` is TensorFlow's guide to convolutions, which tells two cases apart by the remainder
    of the size; ``symmetric`` puts the middle tap of the first window on the first pixel.
    """
    extent = extent_of(kernel_size, dilation)
    if padding == "symmetric":
        middle = (extent - 1) / 2
        assert middle == int(middle), "an even extent has no middle"
        return int(middle), int(middle)
    if size % stride == 0:
        total = max(extent - stride, 0)
    else:
        total = max(extent - size % stride, 0)
    return total // 2, total - total // 2


def window_starts(size, kernel_size, stride, padding, dilation=1):
    """Where each output's window begins, in input pixels; negative inside the padding."""
    before, after = padding_of(size, kernel_size, stride, padding, dilation)
    starts, start = [], -before
    while start + extent_of(kernel_size, dilation) <= size + after:
        starts.append(start)
        start += stride
    return starts


def pixel(image, i, j, c):
    """Channel c of pixel (i, j), and zero outside of the image."""
    inside = 0 <= i < len(image) and 0 <= j < len(image[0])
    return image[i][j][c] if inside else 0.0


def conv2d(x, weight, *, stride=1, padding="symmetric"):
    """(N, H, W, Cin), (K, K, Cin, Cout) -> (N, Ho, Wo, Cout)."""
    K, _, Cin, Cout = weight.shape
    rows = window_starts(x.shape[1], K, stride, padding)
    columns = window_starts(x.shape[2], K, stride, padding)
    y = np.zeros((len(x), len(rows), len(columns), Cout))
    w = weight.tolist()
    for n, image in enumerate(x.tolist()):
        for i, top in enumerate(rows):
            for j, left in enumerate(columns):
                for o in range(Cout):
                    total = 0.0
                    for di in range(K):
                        for dj in range(K):
                            for c in range(Cin):
                                total += pixel(image, top + di, left + dj, c) * w[di][dj][c][o]
                    y[n, i, j, o] = total
    return y


def depthwise(x, weight, *, stride=1, padding="symmetric", dilation=1):
    """(N, H, W, C), (K, K, C) -> (N, Ho, Wo, C)."""
    K, _, C = weight.shape
    rows = window_starts(x.shape[1], K, stride, padding, dilation)
    columns = window_starts(x.shape[2], K, stride, padding, dilation)
    y = np.zeros((len(x), len(rows), len(columns), C))
    w = weight.tolist()
    for n, image in enumerate(x.tolist()):
        for i, top in enumerate(rows):
            for j, left in enumerate(columns):
                for c in range(C):
                    total = 0.0
                    for di in range(K):
                        for dj in range(K):
                            row, column = top + di * dilation, left + dj * dilation
                            total += pixel(image, row, column, c) * w[di][dj][c]
                    y[n, i, j, c] = total
    return y


def mixconv(x, weights, *, stride=1, padding="symmetric", dilations=()):
    """(N, H, W, C), one (K, K, Cg) per group -> (N, Ho, Wo, C)."""
    parts, first = [], 0
    for g, weight in enumerate(weights):
        last = first + weight.shape[2]
        dilation = dilations[g] if dilations else 1
        parts.append(
            depthwise(
                x[:, :, :, first:last], weight, stride=stride, padding=padding, dilation=dilation
            )
        )
        first = last
    return np.concatenate(parts, axis=3)


def pointwise(x, weights):
    """(N, H, W, Cin), one (Cin_g, Cout_g) per group -> (N, H, W, Cout)."""
    N, H, W, _ = x.shape
    y = np.zeros((N, H, W, sum(weight.shape[1] for weight in weights)))
    pixels = x.tolist()
    for n in range(N):
        for i in range(H):
            for j in range(W):
                first_in = first_out = 0
                for weight in weights:
                    w = weight.tolist()
                    for o in range(len(w[0])):
                        total = 0.0
                        for c in range(len(w)):
                            total += pixels[n][i][j][first_in + c] * w[c][o]
                        y[n, i, j, first_out + o] = total
                    first_in, first_out = first_in + len(w), first_out + len(w[0])
    return y


def each(function, x):
    """Apply a function of one number to every number."""
    flat = [function(value) for value in x.ravel().tolist()]
    return np.array(flat, np.float64).reshape(x.shape)


def batch_norm(x, gamma, beta, mean, variance, *, eps):
    """(N, H, W, C), four times (C,) -> (N, H, W, C)."""
    y = np.zeros(x.shape)
    for n, i, j, c in np.ndindex(x.shape):
        normal = (float(x[n, i, j, c]) - float(mean[c])) / math.sqrt(float(variance[c]) + eps)
        y[n, i, j, c] = float(gamma[c]) * normal + float(beta[c])
    return y


def relu_of(value):
    """The larger of a number and zero."""
    return value if value > 0 else 0.0


def sigmoid_of(value):
    """1 / (1 + e^-x), for numbers that do not overflow it."""
    return 1.0 / (1.0 + math.exp(-value))


def swish_of(value):
    """x / (1 + e^-x)."""
    return value / (1.0 + math.exp(-value))


def relu(x):
    """(...) -> (...)."""
    return each(relu_of, x)


def sigmoid(x):
    """(...) -> (...)."""
    return each(sigmoid_of, x)


def swish(x):
    """(...) -> (...)."""
    return each(swish_of, x)


def global_average_pool(x):
    """(N, H, W, C) -> (N, C)."""
    N, H, W, C = x.shape
    y = np.zeros((N, C))
    for n, image in enumerate(x.tolist()):
        for c in range(C):
            y[n, c] = math.fsum(image[i][j][c] for i in range(H) for j in range(W)) / (H * W)
    return y


def linear(x, weight, bias):
    """(N, Cin), (Cin, Cout), (Cout,) -> (N, Cout)."""
    Cin, Cout = weight.shape
    y = np.zeros((len(x), Cout))
    w, b = weight.tolist(), bias.tolist()
    for n, row in enumerate(x.tolist()):
        for o in range(Cout):
            total = 0.0
            for c in range(Cin):
                total += row[c] * w[c][o]
            y[n, o] = total + b[o]
    return y


def squeeze_excite_gates(x, reduce_weight, reduce_bias, expand_weight, expand_bias, *, activation):
    """(N, H, W, C), (C, R), (R,), (R, C), (C,) -> (N, C); ``activation`` is one of the above."""
    squeezed = activation(linear(global_average_pool(x), reduce_weight, reduce_bias))
    return sigmoid(linear(squeezed, expand_weight, expand_bias))


def squeeze_excite(x, reduce_weight, reduce_bias, expand_weight, expand_bias, *, activation):
    """(N, H, W, C), (C, R), (R,), (R, C), (C,) -> (N, H, W, C)."""
    gates = squeeze_excite_gates(
        x, reduce_weight, reduce_bias, expand_weight, expand_bias, activation=activation
    )
    y = np.zeros(x.shape)
    for n, i, j, c in np.ndindex(x.shape):
        y[n, i, j, c] = float(x[n, i, j, c]) * float(gates[n, c])
    return y


def softmax(logits):
    """(N, classes) -> (N, classes)."""
    rows = []
    for row in logits.tolist():
        powers = [math.exp(value - max(row)) for value in row]
        rows.append([power / math.fsum(powers) for power in powers])
    return np.array(rows)
