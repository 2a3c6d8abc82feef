"""What Lip2Wav learns by (section 8), and how much it is told while it does."""

from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from lipsync_jax.systems.lip2wav.model import Speech

L2 = 1e-7


def reconstruction(said: Speech, target: jax.Array) -> dict[str, jax.Array]:
    """Errors of what is said, (N, M, n_mels); the loss is their sum.

    Returns:
      before, after: mean squared errors before and after the postnet.
      linear: mean absolute error before it.
    """
    error = said.before - target
    return {
        "before": jnp.square(error).mean(),
        "after": jnp.square(said.mel - target).mean(),
        "linear": jnp.abs(error).mean(),
    }


def is_regularised(path: tuple[str, ...]) -> bool:
    """Whether a weight is to stay small: not biases, LSTMs, projections.

    The original looks for "bias" in names, which norms call "beta": theirs are.
    """
    kept_free = any("LSTM" in name or "_projection" in name for name in path)
    return not kept_free and (path[-1] == "kernel" or "norm" in path)


def regularisation(params: Any) -> jax.Array:
    """Half the squares of the regularised weights, times 1e-7."""
    flat = flatten_dict(params)
    squares = [
        jnp.square(weight).sum()
        for path, weight in flat.items()
        if is_regularised(path)
    ]
    return L2 / 2 * sum(squares)


def teacher_forcing(step: jax.Array, start: int, length: int) -> jax.Array:
    """Probability that a step of the decoder is told the frame before.

    1 until `start`, then falls to 0 within `length` steps along a cosine; 1 for ever
    if `length` is 0.
    """
    if not length:
        return jnp.ones(())
    # In integers: float32 would round late steps.
    done = jnp.clip(step - start, 0, length) / length
    return (1 + jnp.cos(jnp.pi * done)) / 2
