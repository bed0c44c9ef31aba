"""Functions of numbers in Triton, which emitted kernels call."""

import triton
import triton.language as tl


@triton.jit
def sigmoid(a):
    """1/(1 + exp(-a)), which does not overflow."""
    e = tl.exp(-tl.abs(a))
    return tl.where(a < 0, e, 1.0) / (1 + e)


@triton.jit
def tanh(a):
    """(1 - exp(-2a))/(1 + exp(-2a)), near zero by its series."""
    e = tl.exp(-2 * tl.abs(a))
    far = tl.where(a < 0, e - 1, 1 - e) / (1 + e)
    s = a * a
    near = 17 / 315 - s * (62 / 2835 - s * 1382 / 155925)
    near = a * (1 - s * (1 / 3 - s * (2 / 15 - s * near)))
    return tl.where(tl.abs(a) < 0.05, near, far)


@triton.jit
def softplus(a):
    """log(1 + exp(a)), which does not overflow."""
    e = tl.exp(-tl.abs(a))
    u = 1 + e  # what is lost here is known, and so is what the logarithm loses by it
    return tl.where(a > 0, a, 0.0) + tl.where(u == 1, e, tl.log(u) * e / tl.where(u == 1, 1, u - 1))


@triton.jit
def sign(a):
    """-1, 0 or 1."""
    return tl.where(a > 0, 1.0, tl.where(a < 0, -1.0, 0.0))


@triton.jit
def maximum(a, b):
    """The larger of two, or what is no number."""
    return tl.where((a > b) | (a != a), a, b)


@triton.jit
def minimum(a, b):
    """The smaller of two, or what is no number."""
    return tl.where((a < b) | (a != a), a, b)


@triton.jit
def mod(a, b):
    """The remainder with the sign of b."""
    rest = a - b * tl.floor(a / b)
    rest = tl.where(rest * b < 0, rest + b, rest)
    return tl.where(tl.abs(rest) >= tl.abs(b), rest - b, rest)


@triton.jit
def power(a, b):
    """a raised to b, of a negative a to whole b alone."""
    size = tl.exp2(b * tl.log2(tl.abs(a)))
    whole = tl.floor(b) == b
    odd = tl.floor(b / 2) * 2 != b
    size = tl.where(a < 0, tl.where(whole, tl.where(odd, -size, size), float("nan")), size)
    return tl.where((b == 0) | (a == 1), 1.0, size)


@triton.jit
def chosen(a, b, first: tl.constexpr):
    """One of two values."""
    if first:
        return a
    else:
        return b


@triton.jit
def drop_mask(u, p, training: tl.constexpr):
    """A mask that drops with probability p by numbers from [0, 1), or its mean."""
    if training:
        return tl.where(u >= p, 1.0, 0.0).to(u.dtype)
    else:
        return 1 - p


@triton.jit
def total(a, inside):
    """The sum of the places inside, for each row."""
    return tl.sum(tl.where(inside, a, 0.0), 1, keep_dims=True)


@triton.jit
def softmax(a, inside):
    """Exponentials that sum to one, for each row."""
    top = tl.max(tl.where(inside, a, float("-inf")), 1, keep_dims=True)
    e = tl.exp(a - top)
    return e / total(e, inside)


@triton.jit
def standardize(a, inside, count):
    """Zero mean and unit variance, for each row."""
    centred = a - total(a, inside) / count
    return centred / tl.sqrt(total(centred * centred, inside) / count + 1e-5)


@triton.jit
def standardize_slope(g, a, mean, deviation, inside, count):
    """The cotangent of a from that of standardize(a)."""
    y = (a - mean) / deviation
    rest = g - total(g, inside) / count - y * (total(g * y, inside) / count)
    return rest / deviation
