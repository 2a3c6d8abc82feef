"""Blocks of DAVS's encoders: max feature maps, and pieces of face alignment nets."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lipsync_jax.nn.blocks import Conv, ConvBlock
from lipsync_jax.nn.norm import BatchNorm
from lipsync_jax.nn.resize import upsample


def halved(x: jax.Array) -> jax.Array:
    """Largest of every two by two pixels: (N, H, W, C) -> (N, H/2, W/2, C)."""
    return nn.max_pool(x, (2, 2), (2, 2))


class MaxFeatureMap(nn.Module):
    """The larger of two blocks' outputs, in place of an activation (section 3.1).

    Attributes:
      row: of both blocks.
      number: in their names, two digits.
      folded: inference form with batch norm inside the convolutions.
      dtype: compute type.
    """

    row: Conv
    number: int
    folded: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """(N, H, W, C) -> (N, H', W', features)."""

        def branch(side: str) -> jax.Array:
            name = f"conv{self.number:02}_{side}"
            return ConvBlock(self.row, self.folded, self.dtype, name=name)(
                x, train=train
            )

        return jnp.maximum(branch("a"), branch("b"))


class Residual(nn.Module):
    """Three convolutions, each after its norm, side by side (section 3.2).

    Bulat & Tzimiropoulos, "Binarized convolutional landmark localizers", 2017.

    Attributes:
      features: output channels, a multiple of 4.
      folded: inference form; these norms stay, for they come before convolutions.
      dtype: compute type.
    """

    features: int
    folded: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """(N, H, W, C) -> (N, H, W, features)."""

        def part(x: jax.Array, norm: str, conv: str, features: int, kernel: int):
            x = nn.relu(BatchNorm(name=norm)(x.astype(self.dtype), train))
            row = Conv(features, kernel, norm=False, activation=None, bias=False)
            return ConvBlock(row, self.folded, self.dtype, name=conv)(x, train=train)

        first = part(x, "bn1", "conv1", self.features // 2, 3)
        second = part(first, "bn2", "conv2", self.features // 4, 3)
        third = part(second, "bn3", "conv3", self.features // 4, 3)
        if x.shape[-1] != self.features:
            x = part(x, "downsample_0", "downsample_2", self.features, 1)
        return jnp.concatenate([first, second, third], axis=-1) + x


class Hourglass(nn.Module):
    """Looks at a map in several sizes (section 3.2).

    Newell et al., "Stacked hourglass networks for human pose estimation", 2016.

    Attributes:
      depth: halvings.
      features: channels throughout.
      dropout: share of the upper branches' values set to 0 in training.
      folded: see `Residual`.
      dtype: compute type.
    """

    depth: int
    features: int
    dropout: float = 0.5
    folded: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """(N, H, W, features) -> the same shape; H and W multiples of 2**depth."""

        def block(x: jax.Array, name: str) -> jax.Array:
            return Residual(self.features, self.folded, self.dtype, name=name)(x, train)

        def level(x: jax.Array, n: int) -> jax.Array:
            upper = block(x, f"b1_{n}")
            upper = nn.Dropout(self.dropout)(upper, deterministic=not train)
            lower = block(halved(x), f"b2_{n}")
            lower = level(lower, n - 1) if n > 1 else block(lower, "b2_plus_1")
            return upper + upsample(block(lower, f"b3_{n}"))

        return level(x, self.depth)
