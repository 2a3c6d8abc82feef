"""At which positions the lips' colours are asked for, and how answers are averaged.

In training every pixel is the average of four answers around it, which are shifted by
chance together, so that the network learns colours between pixels, too (section 3.4).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_SIGNS = np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)], np.float32)  # (x, y)


class Taps(NamedTuple):
    """Where to ask for P pixels, and how much answers count.

    Attributes:
      positions: (4, P, 2), (x, y) in [0, 1].
      weights: (4, P), of sum 1.
    """

    positions: jax.Array
    weights: jax.Array


def pixel_grid(height: int, width: int) -> np.ndarray:
    """Positions of the pixels of a picture, (height * width, 2): (x, y) in [0, 1]."""
    x = np.linspace(0, 1, width, dtype=np.float32)
    y = np.linspace(0, 1, height, dtype=np.float32)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def taps(height: int, width: int, shift: jax.Array) -> Taps:
    """Four positions around each pixel, half a pixel away on both axes.

    Args:
      height, width: of the picture.
      shift: () in [0, 1), how far all of them are moved, in quarters of a row's height.

    Returns:
      Positions, kept inside the picture; each counts as much as the area between the
      pixel and the position opposite.
    """
    grid = jnp.asarray(pixel_grid(height, width))
    half = np.array([0.5 / width, 0.5 / height], np.float32)
    moved = grid + _SIGNS[:, None] * half + half[1] * shift / 2
    positions = jnp.clip(moved, 0, 1)
    areas = jnp.abs((positions - grid).prod(axis=-1)) + 1e-9
    return Taps(positions, areas[::-1] / areas.sum(axis=0))
