"""The perceptual metric of version 0.1, on AlexNet (Speech2Lip, section 3.6)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lipsync_jax.nn.blocks import Conv, ConvBlock

SMALLEST = 31  # pixels of a side; smaller pictures are gone before the last layer

# Layers of AlexNet by their numbers in torchvision, where a pooling is one, too.
TRUNK: dict[int, Conv] = {
    0: Conv(64, kernel=11, stride=4, padding=2, norm=False),
    3: Conv(192, kernel=5, norm=False),
    6: Conv(384, norm=False),
    8: Conv(256, norm=False),
    10: Conv(256, norm=False),
}
_POOLED = (3, 6)  # layers that see halved maps

# Mean and deviation of pictures in [-1, 1], RGB.
_SHIFT = np.array([-0.030, -0.088, -0.188], np.float32)
_SCALE = np.array([0.458, 0.448, 0.450], np.float32)


class LPIPS(nn.Module):
    """Weighted squared differences of a trained network's features.

    Attributes:
      dtype: compute type of the features; distances are float32.
    """

    dtype: Any = jnp.float32

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the inputs of a call, without the batch."""
        return ((64, 64, 3),) * 2

    @nn.compact
    def __call__(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """The distance of each pair, 0 for equal pictures.

        Args:
          a, b: (B, H, W, 3) RGB in [0, 1], sides of at least `SMALLEST` pixels.

        Returns:
          (B,) float32.
        """
        total = jnp.zeros(len(a))
        x = jnp.concatenate([a, b])
        x = (2 * x - 1 - _SHIFT) / _SCALE
        for head, (layer, row) in enumerate(TRUNK.items()):
            if layer in _POOLED:
                x = nn.max_pool(x, (3, 3), (2, 2))
            x = ConvBlock(row, dtype=self.dtype, name=f"features_{layer}")(x)
            weights = self.param(f"lin{head}", nn.initializers.ones, (row.features,))
            first, second = jnp.split(_normalised(x), 2)
            distances = jnp.square(first - second) @ weights
            total += distances.mean(axis=(1, 2))
        return total


def _normalised(x: jax.Array) -> jax.Array:
    """Features of each pixel with length 1; has a gradient where all are 0, too."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    squared = jnp.square(x).sum(axis=-1, keepdims=True)
    return x / (jnp.sqrt(jnp.maximum(squared, 1e-24)) + 1e-10)
