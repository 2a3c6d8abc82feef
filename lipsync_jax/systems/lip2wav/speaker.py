"""The speaker encoder (GE2E; Wan et al., 2018): speech -> who speaks."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lipsync_jax.audio.speaker import SPEC, WINDOW, utterance_windows
from lipsync_jax.nn.norm import unit_length


class LSTM(nn.Module):
    """PyTorch's LSTM, one layer: gates i, f, g, o, and a bias for each product."""

    units: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Hidden states (N, T, units) of sequences (N, T, C)."""

        def dense(name: str) -> nn.Dense:
            init = _uniform(self.units**-0.5)
            return nn.Dense(4 * self.units, kernel_init=init, bias_init=init, name=name)

        def step(
            dense: nn.Dense, state: tuple[jax.Array, jax.Array], heard: jax.Array
        ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
            cell, hidden = state
            i, f, g, o = jnp.split(heard + dense(hidden), 4, axis=-1)
            cell = nn.sigmoid(f) * cell + nn.sigmoid(i) * jnp.tanh(g)
            hidden = nn.sigmoid(o) * jnp.tanh(cell)
            return (cell, hidden), hidden

        scan = nn.scan(
            step,
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=1,
            out_axes=1,
        )
        heard = dense("input")(x)
        zeros = jnp.zeros((x.shape[0], self.units), heard.dtype)
        return scan(dense("hidden"), (zeros, zeros), heard)[1]


def _uniform(bound: float) -> nn.initializers.Initializer:
    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class SpeakerEncoder(nn.Module):
    """Embeds windows of speech (section 11).

    Attributes:
      layers: LSTMs, one upon the other.
      units: of each, and of the embedding.
    """

    layers: int = 3
    units: int = 256

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the inputs of a call, without the batch."""
        return ((WINDOW, SPEC.n_mels),)

    @nn.compact
    def __call__(self, mel: jax.Array) -> jax.Array:
        """(N, frames, 40) of `audio.speaker` -> (N, units) of unit length, >= 0."""
        x = mel
        for layer in range(self.layers):
            x = LSTM(self.units, name=f"lstm_{layer}")(x)
        return unit_length(nn.relu(nn.Dense(self.units, name="linear")(x[:, -1])))


def embed_utterance(module: SpeakerEncoder, variables: Any, wave: Any) -> np.ndarray:
    """Who speaks: the mean embedding of the windows of an utterance.

    Args:
      module, variables: the encoder.
      wave: (S,) float, mono at 16 kHz in [-1, 1], of `audio.speaker.raise_level`.

    Returns:
      (units,) float32, of unit length.
    """
    embeddings = jax.jit(module.apply)(variables, utterance_windows(wave))
    return np.asarray(unit_length(embeddings.mean(0)))
