"""Positions and times as sines, which an MLP sees finer than numbers (section 3.1)."""

import jax
import jax.numpy as jnp
import numpy as np

OCTAVES = 10
TIME_SIZE = 20
_LONGEST = 10_000  # of the time code's wavelengths, over 2 pi


def position_code(x: jax.Array, octaves: int = OCTAVES) -> jax.Array:
    """Positions with the sines and cosines of their multiples by powers of two.

    Args:
      x: (..., d).
      octaves: how many multiples.

    Returns:
      (..., d * (1 + 2 * octaves)): x, sin x, cos x, sin 2x, cos 2x, sin 4x, ...
    """
    waves = (f(2**k * x) for k in range(octaves) for f in (jnp.sin, jnp.cos))
    return jnp.concatenate([x, *waves], axis=-1)


def time_code(frame: jax.Array, size: int = TIME_SIZE) -> jax.Array:
    """Sine and cosine in turn of a frame's number, wavelengths growing geometrically.

    Args:
      frame: (...) int or float.
      size: of the code, even.

    Returns:
      (..., size) float32.
    """
    exponents = np.arange(0, size, 2, dtype=np.float32)
    frequencies = np.exp(exponents * np.float32(-np.log(_LONGEST) / size))
    angles = frame[..., None].astype(jnp.float32) * frequencies
    pairs = jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1)
    return pairs.reshape(*pairs.shape[:-2], size)
