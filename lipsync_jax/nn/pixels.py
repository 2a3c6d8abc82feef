"""Pictures as uint8 levels, how they are stored, and as floats, how networks see."""

import jax
import jax.numpy as jnp


def from_levels(pictures: jax.Array) -> jax.Array:
    """uint8 levels to float32 in [0, 1]; floats are such already."""
    if jnp.issubdtype(pictures.dtype, jnp.floating):
        return pictures
    return pictures.astype(jnp.float32) / 255


def to_levels(pictures: jax.Array) -> jax.Array:
    """Floats to uint8 levels, to look at; what lies outside [0, 1] is clipped."""
    return jnp.round(jnp.clip(pictures, 0, 1) * 255).astype(jnp.uint8)
