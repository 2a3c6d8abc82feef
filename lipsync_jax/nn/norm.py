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
        # `promote` keeps float64 runs (parity in double precision) in float64.
        dtype = jnp.promote_types(x.dtype, jnp.float32)
        scale = self.param("scale", nn.initializers.ones, (features,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (features,), jnp.float32)
        mean = self.variable("batch_stats", "mean", jnp.zeros, (features,))
        var = self.variable("batch_stats", "var", jnp.ones, (features,))
        if not train:
            inverse = scale * jax.lax.rsqrt(var.value + EPSILON)
            return x * inverse.astype(x.dtype) + (bias - mean.value * inverse).astype(
                x.dtype
            )

        axes = tuple(range(x.ndim - 1))
        wide = x.astype(dtype)
        batch_mean = wide.mean(axes)
        batch_var = jnp.square(wide - batch_mean).mean(axes)
        if not self.is_initializing():
            count = x.size // features
            unbiased = batch_var * (count / max(count - 1, 1))
            mean.value = (1 - MOMENTUM) * mean.value + MOMENTUM * batch_mean
            var.value = (1 - MOMENTUM) * var.value + MOMENTUM * unbiased
        normalised = (wide - batch_mean) * jax.lax.rsqrt(batch_var + EPSILON)
        return (normalised * scale + bias).astype(x.dtype)
