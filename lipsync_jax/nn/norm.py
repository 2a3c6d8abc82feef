"""Normalisations: of batches with PyTorch's bookkeeping, and of vectors."""

import flax.linen as nn
import jax
import jax.numpy as jnp

EPSILON = 1e-5
MOMENTUM = 0.1


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
    """

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Normalises `x` (..., C); `train` uses and updates batch statistics."""
        features = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (features,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (features,), jnp.float32)
        mean = self.variable("batch_stats", "mean", jnp.zeros, (features,))
        var = self.variable("batch_stats", "var", jnp.ones, (features,))
        if not train:
            inverse = scale * jax.lax.rsqrt(var.value + EPSILON)
            return x * inverse.astype(x.dtype) + (bias - mean.value * inverse).astype(
                x.dtype
            )

        y, batch_mean, batch_var = _normalise(x, scale, bias)
        if not self.is_initializing():
            count = x.size // features
            unbiased = batch_var * (count / max(count - 1, 1))
            mean.value = (1 - MOMENTUM) * mean.value + MOMENTUM * batch_mean
            var.value = (1 - MOMENTUM) * var.value + MOMENTUM * unbiased
        return y


@jax.custom_vjp
def _normalise(
    x: jax.Array, scale: jax.Array, bias: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`x` normalised, and its mean and variance, which have no gradient.

    The gradient is the textbook's, of two sums: it reads `x` and the gradient twice,
    where the derivative of these lines reads and keeps more.
    """
    return _normalise_forward(x, scale, bias)[0]


def _normalise_forward(x, scale, bias):
    # `promote` keeps float64 runs (parity in double precision) in float64.
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    axes = tuple(range(x.ndim - 1))
    mean = wide.mean(axes)
    var = jnp.square(wide - mean).mean(axes)
    inverse = jax.lax.rsqrt(var + EPSILON)
    y = ((wide - mean) * (inverse * scale) + bias).astype(x.dtype)
    return (y, mean, var), (x, scale, mean, inverse)


def _normalise_backward(residuals, gradients):
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
