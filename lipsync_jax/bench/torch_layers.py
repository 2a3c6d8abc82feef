"""The rows of the networks' tables as layers of plain PyTorch, a speed baseline only.

Batch norm is a layer of its own, the way the published programs run it. Needs the
`test` extra.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from lipsync_jax.nn.blocks import Conv, Pair
from lipsync_jax.nn.norm import EPSILON, KERAS_EPSILON, MOMENTUM

Norm = Callable[[int], nn.Module]  # features -> layer
Side = tuple[int, int]  # zeros before and after


def batch_norm(
    features: int, epsilon: float = EPSILON, momentum: float = MOMENTUM
) -> nn.Module:
    """Batch norm over the channels."""
    return nn.BatchNorm2d(features, epsilon, momentum)


class InstanceNorm(nn.Module):
    """keras-contrib's, see `lipsync_jax.nn.norm.InstanceNorm`."""

    def __init__(self, features: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> the same shape, each example normalised as a whole."""
        variance, mean = torch.var_mean(x, (1, 2, 3), correction=0, keepdim=True)
        scale = self.weight / (variance.sqrt() + KERAS_EPSILON)
        return (x - mean) * scale + self.bias


class Block(nn.Module):
    """One table row, for inputs of one size."""

    def __init__(self, row: Conv, channels: int, inputs: Side, norm: Norm, size: Side):
        """Plans the layers.

        Args:
          row: the table row.
          channels: of the input.
          inputs: its height and width.
          norm: makes the row's normalisation.
          size: height and width of the output, of transposed convolutions.
        """
        super().__init__()
        self.row, self.size = row, size
        self.pad: nn.Module = nn.Identity()
        if row.transposed:
            self.conv = _transposed(row, channels, inputs, size)
        else:
            padding = _padding(row, inputs)
            if any(before != after for before, after in padding):
                (top, bottom), (left, right) = padding
                self.pad = nn.ZeroPad2d((left, right, top, bottom))
                padding = ((0, 0), (0, 0))
            self.conv = nn.Conv2d(
                channels,
                row.features,
                row.kernel,
                row.stride,
                tuple(before for before, _ in padding),
                bias=row.bias,
            )
        self.norm = norm(row.features) if row.norm else nn.Identity()
        self.slope = nn.PReLU() if row.activation == "prelu" else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, features, H', W')."""
        y = self.conv(self.pad(x))
        if self.row.transposed:  # PyTorch cuts as much on every side, TensorFlow less
            y = y[..., : self.size[0], : self.size[1]]
        y = self.norm(y)
        if self.row.residual:
            y = y + x
        match self.row.activation:
            case None:
                return y
            case "relu":
                return torch.relu(y)
            case "prelu":
                return self.slope(y)
            case "leaky":
                return functional.leaky_relu(y, 0.2)
            case "leaky01":
                return functional.leaky_relu(y, 0.01)


class Network(nn.Module):
    """A network whose layers are made when it is first called, as Flax makes its own.

    A system's network says in `forward` what its Flax module says in `__call__`, with
    the module's rows; blocks have the names that they have there.

    Attributes:
      module: of Flax.
      norm: makes the normalisations.
    """

    norm: Norm = staticmethod(batch_norm)

    def __init__(self, module: Any):
        super().__init__()
        self.module = module
        self.blocks = nn.ModuleDict()

    def block(
        self, x: torch.Tensor, row: Conv, name: str, size: Sequence[int] = ()
    ) -> torch.Tensor:
        """The block of a row; `size` is what a transposed one puts out."""
        if name not in self.blocks:
            shape = tuple(x.shape[2:])
            made = Block(row, x.shape[1], shape, self.norm, tuple(size))
            self.blocks[name] = made.to(x.device, x.dtype).train(self.training)
        return self.blocks[name](x)

    def rows(
        self, x: torch.Tensor, rows: Sequence[Conv], name: str, size: Sequence[int] = ()
    ) -> torch.Tensor:
        """The blocks of rows, in the module's width, one after the other."""
        for index, row in enumerate(rows):
            x = self.block(x, row.scaled(self.module.width), f"{name}_{index}", size)
        return x


def _transposed(row: Conv, channels: int, inputs: Side, size: Side) -> nn.Module:
    """It puts out at least `size`."""
    missing = [
        wanted - (given - 1) * row.stride + 2 * row.padding - row.kernel
        for wanted, given in zip(size, inputs, strict=True)
    ]
    return nn.ConvTranspose2d(
        channels,
        row.features,
        row.kernel,
        row.stride,
        row.padding,
        output_padding=tuple(max(0, rest) for rest in missing),
        bias=row.bias,
    )


def _padding(row: Conv, inputs: Side) -> tuple[Side, Side]:
    """Zeros around rows and columns, see `lipsync_jax.nn.blocks.Padding`."""
    if isinstance(row.padding, tuple):
        return row.padding
    kernel, stride = _pair(row.kernel), _pair(row.stride)
    if row.padding == "SAME":
        return tuple(map(_same, inputs, kernel, stride))
    sides = kernel[0] // 2 if row.padding is None else row.padding
    return ((sides, sides),) * 2


def _same(size: int, kernel: int, stride: int) -> Side:
    """TensorFlow's rule along one axis."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
