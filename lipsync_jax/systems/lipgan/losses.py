"""Losses on the distance between the codes of a face and of speech."""

import jax
import jax.numpy as jnp

SYNCED, UNSYNCED = 0, 1  # labels; what the generator draws is of the second kind


def contrastive(distance: jax.Array, label: jax.Array, margin: float) -> jax.Array:
    """Contrastive loss: pairs that belong together move together, others apart.

    LipGAN, section 7; Hadsell et al., 2006, without the factor of a half.

    Args:
      distance: (B,) in [0, 2].
      label: (B,) or scalar, `SYNCED` or `UNSYNCED`.
      margin: distance from which on a pair is apart enough; no gradient there.

    Returns:
      Mean loss.
    """
    apart = jnp.maximum(margin - distance, 0)
    loss = (1 - label) * jnp.square(distance) + label * jnp.square(apart)
    return loss.mean()
