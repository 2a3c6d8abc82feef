"""What Lip2Wav sees: 3-D convolutions over a window of faces."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lipsync_jax.systems.lip2wav.layers import NormedConv, Row

# Name of a layer, after "conv_layer_", and its row.
Rows = tuple[tuple[str, Row], ...]


def _row(features: int, kernel: int = 3, stride: int = 1, residual: bool = False):
    """A convolution over time and space whose stride is spatial."""
    return Row(features, (kernel,) * 3, (1, stride, stride), residual)


def encoder_rows(first: int, blocks: int, last_stride: int = 3) -> Rows:
    """Halvings that double the channels, each with two residual layers, and a last one.

    Args:
      first: channels of the first block.
      blocks: number of halvings.
      last_stride: of the last layer, which leaves one pixel.
    """
    rows = []
    for block in range(1, blocks + 1):
        features = first * 2 ** (block - 1)
        rows += [
            (f"{block}", _row(features, kernel=5 if block == 1 else 3, stride=2)),
            (f"{block}_1", _row(features, residual=True)),
            (f"{block}_2", _row(features, residual=True)),
        ]
    return (*rows, (f"{blocks}_last", _row(features, stride=last_stride)))


class FaceEncoder(nn.Module):
    """Faces to one code per frame; section 3.1.

    Attributes:
      rows: its layers.
      width: multiplier of all channel counts.
      folded: inference form with batch norm inside the convolutions.
      dtype: compute type.
    """

    rows: Rows
    width: float = 1.0
    folded: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, faces: jax.Array, train: bool = False) -> jax.Array:
        """(N, T, S, S, 3) RGB in [0, 1] -> (N, T, features)."""
        x = faces.astype(self.dtype)
        for name, row in self.rows:
            layer = NormedConv(
                row.scaled(self.width),
                self.folded,
                self.dtype,
                name=f"conv_layer_{name}",
            )
            x = layer(x, train)
        return x.reshape(*x.shape[:2], -1)
