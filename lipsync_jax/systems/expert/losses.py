"""Losses on the cosine of two embeddings: how probable is it that they belong together?

The original takes the cosine for a probability and its binary cross entropy. Two
embeddings without a common active feature have the cosine 0: for a pair in sync that
is a loss of 100 with a slope of -1e12, which ends many trainings. `safe_bce` is the
same loss with a logarithm that cannot do this; `bce` is the original's, for parity.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from lipsync_jax.errors import ConfigError

SAFE = 0.01  # probability below which `safe_bce` goes on as a straight line

Loss = Callable[[jax.Array, jax.Array], jax.Array]


def cosine(a: jax.Array, b: jax.Array) -> jax.Array:
    """Cosine of embeddings of unit length, (B, D) and (B, D) -> (B,)."""
    return (a * b).sum(-1)


@jax.custom_vjp
def _bce(probability: jax.Array, label: jax.Array) -> jax.Array:
    yes = jnp.maximum(jnp.log(probability), -100)
    no = jnp.maximum(jnp.log1p(-probability), -100)
    return -(label * yes + (1 - label) * no)


def _bce_forward(probability, label):
    return _bce(probability, label), (probability, label)


def _bce_backward(residuals, gradient):
    # PyTorch's rule, which is not the derivative of the clamped value.
    p, label = residuals
    slope = (p - label) / jnp.maximum(p * (1 - p), 1e-12)
    return gradient * slope, jnp.zeros_like(label)


_bce.defvjp(_bce_forward, _bce_backward)


def bce(probability: jax.Array, label: jax.Array) -> jax.Array:
    """Binary cross entropy with PyTorch's numbers, forward and backward.

    Rounding may push a probability out of [0, 1], where PyTorch stops with an error;
    here it is clipped, and keeps the gradient it has at the edge.

    Args:
      probability: (B,) float.
      label: (B,) or scalar, 1 or 0.

    Returns:
      Mean loss, each at most 100.
    """
    clipped = probability + jax.lax.stop_gradient(
        jnp.clip(probability, 0, 1) - probability
    )
    return _bce(
        clipped, jnp.broadcast_to(label, clipped.shape).astype(clipped.dtype)
    ).mean()


def safe_bce(probability: jax.Array, label: jax.Array) -> jax.Array:
    """Binary cross entropy whose slope never exceeds 1 / SAFE.

    Where the given label has a probability below SAFE the logarithm goes on along its
    tangent; elsewhere this is `bce`. Probabilities may be any number, so that it also
    serves experts whose cosine can be negative.

    Args:
      probability: (B,) float.
      label: (B,) or scalar, 1 or 0.
    """
    yes, no = _tangent_log(probability), _tangent_log(1 - probability)
    return -(label * yes + (1 - label) * no).mean()


def _tangent_log(p: jax.Array) -> jax.Array:
    """log(p), straight below SAFE and 0 above 1."""
    tangent = jnp.log(SAFE) + p / SAFE - 1
    return jnp.where(p > SAFE, jnp.log(jnp.clip(p, SAFE, 1)), tangent)


LOSSES: dict[str, Loss] = {"safe": safe_bce, "original": bce}


def sync_loss(name: str) -> Loss:
    """The loss of `config.method.loss`.

    Raises:
      ConfigError: unknown name.
    """
    if name not in LOSSES:
        raise ConfigError(f"method.loss is {name!r}; it can be: {', '.join(LOSSES)}")
    return LOSSES[name]
