"""Faster float32 convolutions for CPUs, used in training and by the inference form.

XLA's CPU convolution runs near the cores' peak, so only fewer multiplications
help: Winograd's F(4x4, 3x3) (Lavin & Gray, "Fast algorithms for convolutional
neural networks", 2016) needs a quarter of them, with rounding errors around 1e-5
of the largest output. Differentiated, it saves the same in both gradients.
Accelerators have such kernels in their own libraries.
"""

import jax
import jax.numpy as jnp
import numpy as np

_CHUNK = 2**23  # floats of the transformed input at a time (measured)

# Interpolation points 0, 1, -1, 2, -2 and infinity.
_KERNEL_TRANSFORM = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)


def kernel_gradient(
    x: jax.Array,
    gradient: jax.Array,
    side: int,
    stride: int,
    pads: list[tuple[int, int]],
) -> jax.Array:
    """Kernel gradient of a strided correlation, as one matrix product.

    XLA computes it as a convolution with batch and channels exchanged, which on CPUs
    spends its time on transposing both pictures.

    Args:
      x: (N, H, W, C), what was convolved.
      gradient: (N, H', W', features), of the result.
      side: of the kernel.
      stride: of the convolution.
      pads: (before, after) of rows and of columns.

    Returns:
      (features, side, side, C).
    """
    zero = jnp.zeros((), x.dtype)
    x = jax.lax.pad(x, zero, [(0, 0, 0), *((*pad, 0) for pad in pads), (0, 0, 0)])
    _, h, w, features = gradient.shape
    # Every tap of the kernel has seen its own grid of pixels.
    grids = [
        x[
            :,
            i : i + stride * (h - 1) + 1 : stride,
            j : j + stride * (w - 1) + 1 : stride,
        ]
        for i in range(side)
        for j in range(side)
    ]
    pixels = jnp.concatenate(grids, axis=-1)
    product = jax.lax.dot_general(
        gradient.reshape(-1, features),
        pixels.reshape(-1, pixels.shape[-1]),
        (((0,), (0,)), ((), ())),
    )
    return product.reshape(features, side, side, -1)


def suits_winograd(x: jax.Array, kernel: jax.Array) -> bool:
    """Whether `winograd` takes these shapes and is the faster way (measured)."""
    _, h, w, channels = x.shape
    return (
        kernel.shape[:2] == (3, 3)
        and x.dtype == jnp.float32
        and h % 4 == w % 4 == 0
        and h >= 24
        and channels >= 32
    )


def winograd(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """3x3 correlation with stride 1 and padding 1.

    Args:
      x: (N, H, W, C) float32, H and W multiples of 4.
      kernel: (3, 3, C, features).
    """
    return _winograd(x, _transform_kernel(kernel))


def winograd_in_parts(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`winograd` of a few images at a time, so that intermediates stay in the cache.

    Not for a batch that is spread over devices: the loop over it would gather it.
    """
    transformed = _transform_kernel(kernel)
    n = x.shape[0]
    floats = 9 * x[0].size // 4  # of the transformed input, per image
    chunk = max(1, min(n, _CHUNK // floats))
    while n % chunk:
        chunk -= 1
    parts = x.reshape(n // chunk, chunk, *x.shape[1:])
    y = jax.lax.map(lambda part: _winograd(part, transformed), parts)
    return y.reshape(n, *y.shape[2:])


def _transform_kernel(kernel: jax.Array) -> jax.Array:
    """(3, 3, C, features) -> (36, C, features)."""
    g = _KERNEL_TRANSFORM.astype(np.float32)
    transformed = jnp.einsum("ai,bj,ijco->abco", g, g, kernel, precision="highest")
    return transformed.reshape(36, *kernel.shape[2:])


def _winograd(x: jax.Array, kernel: jax.Array) -> jax.Array:
    n, h, w, c = x.shape
    rows, columns = h // 4, w // 4
    padded = jnp.pad(x, ((0, 0), (1, 3), (1, 3), (0, 0)))
    # Tiles overlap by two: line i of a tile is line i % 4 of this or the next four.
    strips = padded.reshape(n, rows + 1, 4, w + 4, c)
    lines = [strips[:, i // 4 : i // 4 + rows, i % 4] for i in range(6)]
    tall = _settle(jnp.stack(_transform_input(lines)))
    strips = tall.reshape(6, n, rows, columns + 1, 4, c)
    lines = [strips[:, :, :, i // 4 : i // 4 + columns, i % 4] for i in range(6)]
    tiles = _settle(jnp.stack(_transform_input(lines), axis=1))
    product = jax.lax.dot_general(
        tiles.reshape(36, n * rows * columns, c), kernel, (((2,), (1,)), ((0,), (0,)))
    )
    product = _settle(product.reshape(6, 6, n, rows, columns, -1))
    tall = _settle(jnp.stack(_transform_output(list(product))))
    y = jnp.stack(_transform_output([tall[:, i] for i in range(6)]), axis=1)
    return y.transpose(2, 3, 0, 4, 1, 5).reshape(n, h, w, -1)


def _settle(x: jax.Array) -> jax.Array:
    """Writes `x` out: fused into its reader it would be computed several times."""
    return jax.lax.optimization_barrier(x)


def _transform_input(d: list[jax.Array]) -> list[jax.Array]:
    even, odd = d[4] - 4 * d[2], d[3] - 4 * d[1]
    even2, odd2 = d[4] - d[2], 2 * (d[3] - d[1])
    return [
        4 * d[0] - 5 * d[2] + d[4],
        even + odd,
        even - odd,
        even2 + odd2,
        even2 - odd2,
        4 * d[1] - 5 * d[3] + d[5],
    ]


def _transform_output(m: list[jax.Array]) -> list[jax.Array]:
    sum1, difference1 = m[1] + m[2], m[1] - m[2]
    sum2, difference2 = m[3] + m[4], m[3] - m[4]
    return [
        m[0] + sum1 + sum2,
        difference1 + 2 * difference2,
        sum1 + 4 * sum2,
        difference1 + 8 * difference2 + m[5],
    ]
