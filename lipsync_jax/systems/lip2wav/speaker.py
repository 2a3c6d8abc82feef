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
        units = self.units
        uniform = nn.initializers.uniform(2 * units**-0.5)

        def init(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
            return uniform(key, shape, jnp.float32) - units**-0.5

        input_kernel = self.param("input_kernel", init, (x.shape[-1], 4 * units))
        hidden_kernel = self.param("hidden_kernel", init, (units, 4 * units))
        input_bias = self.param("input_bias", init, (4 * units,))
        hidden_bias = self.param("hidden_bias", init, (4 * units,))

        def step(
            state: tuple[jax.Array, jax.Array], heard: jax.Array
        ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
            cell, hidden = state
            gates = heard + hidden @ hidden_kernel + hidden_bias
            i, f, g, o = jnp.split(gates, 4, axis=-1)
            cell = nn.sigmoid(f) * cell + nn.sigmoid(i) * jnp.tanh(g)
            hidden = nn.sigmoid(o) * jnp.tanh(cell)
            return (cell, hidden), hidden

        heard = (x @ input_kernel + input_bias).swapaxes(0, 1)
        zeros = jnp.zeros((x.shape[0], units), heard.dtype)
        return jax.lax.scan(step, (zeros, zeros), heard)[1].swapaxes(0, 1)


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
