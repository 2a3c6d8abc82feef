"""Pairs out of sync: whose sound goes with an example's face.

In a batch the sound of one example is taken for the face of another.
"""

import jax
import jax.numpy as jnp

from lipsync_jax.errors import ConfigError
from lipsync_jax.systems.lipgan.examples import MIN_DISTANCE
from lipsync_jax.training.task import Batch

MODES = "random", "original"
_ROLL = 10


def check(mode: str, batch_size: int) -> None:
    """Refuses what would pair a face with its own sound.

    Raises:
      ConfigError: no such mode, or a batch that is too small for it.
    """
    if mode not in MODES:
        raise ConfigError(
            f"config.method.unsynced is {mode!r}; it can be: {', '.join(MODES)}"
        )
    if batch_size < 2:
        raise ConfigError(
            f"config.batch_size={batch_size}: pairs out of sync are made of two "
            "examples; use at least 2"
        )
    if mode == "original" and _ROLL % batch_size == 0:
        raise ConfigError(
            f"config.batch_size={batch_size} divides {_ROLL}, by which the original "
            "rolls a batch, so each face would keep its own sound; use "
            "--config.method.unsynced=random or another size"
        )


def unsynced(batch: Batch, key: jax.Array, mode: str) -> jax.Array:
    """The sounds of other examples, shaped like `batch["mel"]`.

    Args:
      batch: examples, B of them.
      key: decides whose.
      mode: "random": of any example that is not of about the same moment of the same
        clip; "original": example i hears what i - 10 does, whatever that is.
    """
    heard = batch["mel"]
    if mode == "original":
        return jnp.roll(heard, _ROLL, axis=0)
    return heard[_others(batch["clip"], batch["frame"], key)]


def _others(clip: jax.Array, frame: jax.Array, key: jax.Array) -> jax.Array:
    """For each example another, (B,) int32; if all are of one moment, any."""
    same_clip = clip[:, None] == clip
    near = jnp.abs(frame[:, None] - frame) < MIN_DISTANCE
    return jax.random.categorical(key, jnp.where(same_clip & near, -1e9, 0.0))
