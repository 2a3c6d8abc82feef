"""The arithmetic of a run, by name."""

import jax.numpy as jnp
import numpy as np

from lipsync_jax.errors import ConfigError

NAMES = ("float32", "bfloat16", "float64")


def compute_dtype(name: str) -> np.dtype:
    """The compute type of `config.dtype`; float64 needs JAX's x64 mode.

    Raises:
      ConfigError: unknown name.
    """
    if name not in NAMES:
        raise ConfigError(f"config.dtype is {name!r}; it can be: {', '.join(NAMES)}")
    return jnp.dtype(name)
