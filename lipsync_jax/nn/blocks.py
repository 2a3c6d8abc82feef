"""The convolution blocks of all networks, described by table rows.

A network is a table: one `Conv` row per block, as in the papers' appendices.
Sizes of a family (96, 192, 288, 384 pixels) differ in their rows alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.lax import platform_dependent

from lipsync_jax.nn import cpu_conv
from lipsync_jax.nn.norm import BatchNorm

Pair = int | tuple[int, int]
# Zeros on each side; TensorFlow's rule, which at stride 2 may put one more after than
# before; or (before, after) of the rows and of the columns.
Padding = int | Literal["SAME"] | tuple[tuple[int, int], tuple[int, int]]
Activation = Literal["relu", "leaky", "prelu", "leaky01"] | None


@dataclass(frozen=True)
class Conv:
    """One block: convolution, batch norm, optional residual sum, activation.

    Attributes:
      features: output channels.
      kernel: kernel side, or (rows, columns).
      stride: stride, or (rows, columns).
      padding: see `Padding`; None keeps the size at stride 1.
      residual: add the block's input before the activation.
      transposed: transposed convolution; its output size is given at the call.
      activation: "relu", "leaky" (slope 0.2), "leaky01" (slope 0.01) or "prelu"
        (one learnt slope for all channels); None for none.
      norm: whether a normalisation follows the convolution.
      bias: whether the convolution has one; before a normalisation it has no effect.
    """

    features: int
    kernel: Pair = 3
    stride: Pair = 1
    padding: Padding | None = None
    residual: bool = False
    transposed: bool = False
    activation: Activation = "relu"
    norm: bool = True
    bias: bool = True

    def scaled(self, width: float) -> "Conv":
        """The same row with `width` times the channels."""
        return replace(self, features=scaled(self.features, width))


Rows = tuple[Conv, ...]


def scaled(features: int, width: float) -> int:
    """`width` times as many channels, as a multiple of 8."""
    return features if width == 1 else max(8, round(features * width / 8) * 8)


def stage(features: int, residuals: int, **first: Any) -> Rows:
    """A block that changes size (stride 2 unless told) and residual blocks."""
    head = Conv(features, **{"stride": 2, **first})
    body = Conv(features, residual=True, activation=head.activation)
    return (head, *[body] * residuals)


def up(features: int, residuals: int, *, stride: int = 2, padding: int = 1) -> Rows:
    """A transposed block followed by residual blocks."""
    head = Conv(features, stride=stride, padding=padding, transposed=True)
    return (head, *[Conv(features, residual=True)] * residuals)


def with_activation(rows: Rows, activation: Activation) -> Rows:
    """The same rows with another activation."""
    return tuple(replace(row, activation=activation) for row in rows)


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def uniform_fan_in(fan_in: int) -> nn.initializers.Initializer:
    """PyTorch's default for convolutions: uniform in +-1/sqrt(fan_in)."""
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def conv(
    x: jax.Array, kernel: jax.Array, stride: tuple[int, int], padding: Padding
) -> jax.Array:
    """Correlation of `x` (N, H, W, C) with `kernel` (h, w, C, features)."""
    if isinstance(padding, int):
        padding = ((padding, padding),) * 2
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=stride,
        padding=padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _conv3x3(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return conv(x, kernel, (1, 1), 1)


@jax.custom_vjp
def fast_conv3x3(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`conv` with stride 1 and padding 1, on CPUs by Winograd's algorithm.

    Shapes must be such as `cpu_conv.suits_winograd` accepts.
    """
    return platform_dependent(x, kernel, cpu=cpu_conv.winograd, default=_conv3x3)


def _fast_conv3x3_forward(x, kernel):
    return fast_conv3x3(x, kernel), (x, kernel)


def _fast_conv3x3_backward(residuals, gradient):
    # By hand, because a derivative of `platform_dependent` keeps what each of its
    # branches needs; this keeps inputs only and transforms them again.
    def pull_back(function):
        return lambda x, kernel, gradient: jax.vjp(function, x, kernel)[1](gradient)

    return platform_dependent(
        *residuals,
        gradient,
        cpu=pull_back(cpu_conv.winograd),
        default=pull_back(_conv3x3),
    )


fast_conv3x3.defvjp(_fast_conv3x3_forward, _fast_conv3x3_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def conv_transpose(
    x: jax.Array, kernel: jax.Array, stride: int, padding: int, size: tuple[int, int]
) -> jax.Array:
    """Transposed convolution with PyTorch's arithmetic.

    Its gradients are those of the strided convolution it is the adjoint of. Left to
    itself, XLA differentiates the dilated form below, for which CPUs have no fast
    kernel gradient (30 times slower in the Wav2Lip decoder).

    Args:
      x: (N, H, W, C).
      kernel: (k, k, C, features), already flipped in space (see the converter).
      stride: distance between input samples in the output.
      padding: PyTorch's `padding`, removed on each side.
      size: output (rows, columns); decides the output padding.
    """
    before = kernel.shape[0] - 1 - padding
    pads = [
        (before, size[axis] - 1 - (x.shape[axis + 1] - 1) * stride + padding)
        for axis in range(2)
    ]
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=pads,
        lhs_dilation=(stride, stride),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _conv_transpose_forward(x, kernel, stride, padding, size):
    return conv_transpose(x, kernel, stride, padding, size), (x, kernel)


def _conv_transpose_backward(stride, padding, size, residuals, gradient):
    x, kernel = residuals
    side = kernel.shape[0]
    pads = [
        (padding, (x.shape[axis + 1] - 1) * stride + side - size[axis] - padding)
        for axis in range(2)
    ]

    def adjoint(gradient: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(
            gradient,
            kernel[::-1, ::-1].swapaxes(2, 3),
            window_strides=(stride, stride),
            padding=pads,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    def by_convolution(x: jax.Array, gradient: jax.Array) -> jax.Array:
        return jax.vjp(partial(adjoint, gradient), kernel)[1](x)[0]

    def by_product(x: jax.Array, gradient: jax.Array) -> jax.Array:
        flipped = cpu_conv.kernel_gradient(gradient, x, side, stride, pads)
        return flipped[:, ::-1, ::-1].transpose(1, 2, 0, 3)

    kernel_gradient = platform_dependent(
        x, gradient, cpu=by_product, default=by_convolution
    )
    return adjoint(gradient, kernel), kernel_gradient


conv_transpose.defvjp(_conv_transpose_forward, _conv_transpose_backward)


class ConvBlock(nn.Module):
    """The block of one `Conv` row.

    Attributes:
      row: the table row.
      folded: inference form; batch norm is already inside the convolution
        (`lipsync_jax.nn.fold`).
      dtype: compute type; parameters stay float32.
      norm: makes the normalisation of rows that have one.
      glorot: start with Glorot's uniform kernels and without biases, as Keras does,
        instead of PyTorch's way.
    """

    row: Conv
    folded: bool = False
    dtype: Any = jnp.float32
    norm: Callable[..., nn.Module] = BatchNorm
    glorot: bool = False

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        *,
        train: bool = False,
        size: tuple[int, int] | None = None,
    ) -> jax.Array:
        """(N, H, W, C) -> (N, H', W', features); `size` is (H', W') if transposed."""
        row = self.row
        # The converter tells the two kernel layouts apart by this name.
        name = "conv_transpose" if row.transposed else "conv"
        convolution = _Convolution(row, self.folded, self.dtype, self.glorot, name=name)
        y = convolution(x, size, train)
        if row.norm and not self.folded:
            y = self.norm(name="norm")(y, train)
        if row.residual:
            y = y + x.astype(y.dtype)
        if row.activation is None:
            return y
        if row.activation == "prelu":
            slope = self.param("slope", nn.initializers.constant(0.25), (1,))
            return jnp.where(y >= 0, y, slope.astype(y.dtype) * y)
        if row.activation == "relu":
            return nn.relu(y)
        return nn.leaky_relu(y, {"leaky": 0.2, "leaky01": 0.01}[row.activation])


class _Convolution(nn.Module):
    row: Conv
    folded: bool
    dtype: Any
    glorot: bool

    @nn.compact
    def __call__(
        self, x: jax.Array, size: tuple[int, int] | None, train: bool
    ) -> jax.Array:
        row, channels = self.row, x.shape[-1]
        height, width = _pair(row.kernel)
        if self.glorot:
            init, bias_init = nn.initializers.glorot_uniform(), nn.initializers.zeros
        else:
            # PyTorch takes the fan-in of a transposed kernel from its output side.
            fan = row.features if row.transposed else channels
            init = bias_init = uniform_fan_in(fan * height * width)
        shape = (height, width, channels, row.features)
        kernel = self.param("kernel", init, shape).astype(self.dtype)
        bias = jnp.zeros((), self.dtype)
        if row.bias or (self.folded and row.norm):
            bias = self.param("bias", bias_init, (row.features,)).astype(self.dtype)
        x = x.astype(self.dtype)
        padding = height // 2 if row.padding is None else row.padding
        if row.transposed:
            return conv_transpose(x, kernel, row.stride, padding, size) + bias
        stride = _pair(row.stride)

        if (stride, padding) == ((1, 1), 1) and cpu_conv.suits_winograd(x, kernel):
            if self.folded:
                parts = cpu_conv.winograd_in_parts
                y = platform_dependent(x, kernel, cpu=parts, default=_conv3x3)
                return y + bias
            if train:
                return fast_conv3x3(x, kernel) + bias
        return conv(x, kernel, stride, padding) + bias
