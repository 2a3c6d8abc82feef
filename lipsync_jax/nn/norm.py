"""Normalisations: of batches, of examples, and of vectors."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

EPSILON = 1e-5
MOMENTUM = 0.1
KERAS_EPSILON = 1e-3


def unit_length(x: jax.Array) -> jax.Array:
    """`x` / max(|x|, 1e-12) along the last axis; has a gradient at 0, too."""
    squared = jnp.square(x).sum(-1, keepdims=True)
    return x / jnp.sqrt(jnp.maximum(squared, 1e-24))


class BatchNorm(nn.Module):
    """Normalises the last axis over all others.

    As in PyTorch, a training batch is normalised with its biased variance while
    the running average stores the unbiased one (Flax stores the biased one).
    Under `jit` over a sharded batch the mean is already the global mean, so no
    axis name is needed. Statistics are float32 whatever the compute dtype.

    Attributes:
      epsilon: added to the variance.
      momentum: weight of the batch at hand in the running averages.
      keras_average: average as Keras 2.2.4 on TensorFlow 1.8 does: without the values
        the averages began with, so that the first batch replaces them, and with a
        second correction of the variance. Takes one more variable, `steps`.
    """

    epsilon: float = EPSILON
    momentum: float = MOMENTUM
    keras_average: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Normalises `x` (..., C); `train` uses and updates batch statistics."""
        features = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (features,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (features,), jnp.float32)
        mean = self.variable("batch_stats", "mean", jnp.zeros, (features,))
        var = self.variable("batch_stats", "var", jnp.ones, (features,))
        counts = self.keras_average and (train or self.is_initializing())
        steps = self.variable("batch_stats", "steps", jnp.zeros, ()) if counts else None
        if not train:
            inverse = scale * jax.lax.rsqrt(var.value + self.epsilon)
            return x * inverse.astype(x.dtype) + (bias - mean.value * inverse).astype(
                x.dtype
            )

        y, batch_mean, batch_var = _normalise(x, scale, bias, self.epsilon)
        if not self.is_initializing():
            count = x.size // features
            unbiased = batch_var * (count / max(count - 1, 1))
            weight = self.momentum
            if self.keras_average:
                unbiased *= count / (count - 1 - self.epsilon)
                steps.value += 1
                # Adam's correction of an average that began with zero.
                known = 1 - (1 - self.momentum) ** steps.value
                weight = jnp.minimum(weight / known, 1)
            mean.value = (1 - weight) * mean.value + weight * batch_mean
            var.value = (1 - weight) * var.value + weight * unbiased
        return y


class InstanceNorm(nn.Module):
    """Normalises each example over all its axes, with one scale and one bias.

    keras-contrib's layer as LipGAN calls it (section 2); `epsilon` is added to the
    standard deviation. Statistics are float32 whatever the compute dtype.
    """

    epsilon: float = KERAS_EPSILON

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Normalises `x` (N, ...); training makes no difference."""
        scale = self.param("scale", nn.initializers.ones, (1,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (1,), jnp.float32)
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        axes = tuple(range(1, x.ndim))
        centred = wide - wide.mean(axes, keepdims=True)
        variance = jnp.square(centred).mean(axes, keepdims=True)
        # A constant example has a gradient, too.
        deviation = jnp.sqrt(jnp.maximum(variance, 1e-24))
        return (centred * (scale / (deviation + self.epsilon)) + bias).astype(x.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normalise(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`x` normalised, and its mean and variance, which have no gradient.

    The gradient is the textbook's, of two sums: it reads `x` and the gradient twice,
    where the derivative of these lines reads and keeps more.
    """
    return _normalise_forward(x, scale, bias, epsilon)[0]


def _normalise_forward(x, scale, bias, epsilon):
    # `promote` keeps float64 runs (parity in double precision) in float64.
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    axes = tuple(range(x.ndim - 1))
    mean = wide.mean(axes)
    var = jnp.square(wide - mean).mean(axes)
    inverse = jax.lax.rsqrt(var + epsilon)
    y = ((wide - mean) * (inverse * scale) + bias).astype(x.dtype)
    return (y, mean, var), (x, scale, mean, inverse)


def _normalise_backward(epsilon, residuals, gradients):
    x, scale, mean, inverse = residuals
    gradient = gradients[0].astype(mean.dtype)
    axes = tuple(range(x.ndim - 1))
    count = x.size // x.shape[-1]
    normal = (x.astype(mean.dtype) - mean) * inverse
    bias_gradient = gradient.sum(axes)
    scale_gradient = (gradient * normal).sum(axes)
    x_gradient = (scale * inverse) * (
        gradient - bias_gradient / count - normal * (scale_gradient / count)
    )
    # Written out once: the convolution before reads it several times, and on CPUs XLA
    # would compute it each time.
    x_gradient = jax.lax.optimization_barrier(x_gradient.astype(x.dtype))
    return (
        x_gradient,
        scale_gradient.astype(scale.dtype),
        bias_gradient.astype(scale.dtype),
    )


_normalise.defvjp(_normalise_forward, _normalise_backward)
