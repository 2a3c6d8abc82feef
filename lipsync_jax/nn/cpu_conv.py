"""Faster float32 convolutions for CPUs, used by the folded inference form.

XLA's CPU convolution runs near the cores' peak, so only fewer multiplications
help: Winograd's F(4x4, 3x3) (Lavin & Gray, "Fast algorithms for convolutional
neural networks", 2016) needs a quarter of them, with rounding errors around 1e-5
of the largest output. A transposed convolution is cut into its four phases.
Both run over a few images at a time, so that intermediates stay in the cache.
Accelerators have such kernels in their own libraries and keep XLA's.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

_CACHE = 2**21  # floats of one intermediate that the last-level cache holds well

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
    g = _KERNEL_TRANSFORM.astype(np.float32)
    transformed = jnp.einsum("ai,bj,ijco->abco", g, g, kernel, precision="highest")
    transformed = transformed.reshape(36, *kernel.shape[2:])
    floats = 9 * x[0].size // 4  # of the transformed input, per image
    return _over_chunks(lambda part: _winograd(part, transformed), x, floats)


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


def suits_phases(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> bool:
    """Whether `transpose_by_phases` takes these shapes and is the faster way."""
    return (
        kernel.shape[:2] == (3, 3) and (stride, padding) == (2, 1) and x.shape[1] >= 24
    )


def transpose_by_phases(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """3x3 transposed convolution, stride 2, padding 1, output padding 1.

    Args:
      x: (N, H, W, C).
      kernel: (3, 3, C, features), flipped as in `lipsync_jax.nn.blocks`.

    Returns:
      (N, 2H, 2W, features).
    """
    floats = 4 * x.shape[1] * x.shape[2] * kernel.shape[-1]
    return _over_chunks(lambda part: _phases(part, kernel), x, floats)


def _phases(x: jax.Array, kernel: jax.Array) -> jax.Array:
    n, h, w, _ = x.shape
    padded = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))

    def phase(row: int, column: int) -> jax.Array:
        """Output rows of one parity see the middle kernel row, the others two."""
        taps = [kernel[1:2], kernel[0::2]][row]
        taps = [taps[:, 1:2], taps[:, 0::2]][column]
        return jax.lax.conv_general_dilated(
            padded[:, : h + row, : w + column],
            taps,
            (1, 1),
            "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    grid = [jnp.stack([phase(row, 0), phase(row, 1)], axis=3) for row in (0, 1)]
    return jnp.stack(grid, axis=2).reshape(n, 2 * h, 2 * w, -1)


def _over_chunks(
    function: Callable[[jax.Array], jax.Array], x: jax.Array, floats: int
) -> jax.Array:
    """Applies `function` to as many images at a time as fit the cache."""
    n = x.shape[0]
    chunk = max(
        k for k in range(1, n + 1) if (n % k == 0 and k * floats <= _CACHE) or k == 1
    )
    if chunk == n:
        return function(x)
    y = jax.lax.map(function, x.reshape(n // chunk, chunk, *x.shape[1:]))
    return y.reshape(n, *y.shape[2:])
