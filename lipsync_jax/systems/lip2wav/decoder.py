"""What Lip2Wav says: Tacotron 2's decoder, two frames of a mel spectrogram a step."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lipsync_jax.systems.lip2wav.layers import (
    GLOROT,
    LSTMState,
    NormedConv,
    Row,
    ZoneoutLSTM,
    wide,
)


class Memory(NamedTuple):
    """What the decoder attends to.

    Attributes:
      values: (N, T, C), 0 beyond the length of each sequence.
      keys: (N, T, units), what queries are compared with.
      valid: (N, T) bool, True up to the length of each sequence; None if all are full.
    """

    values: jax.Array
    keys: jax.Array
    valid: jax.Array | None = None


class State(NamedTuple):
    """What the decoder carries from step to step.

    Attributes:
      lstm_1, lstm_2: states of its LSTMs.
      context: (N, C), what it attended to.
      attended: (N, T), the alignments added up, or the last one.
      frame: (N, n_mels), the last frame.
    """

    lstm_1: LSTMState
    lstm_2: LSTMState
    context: jax.Array
    attended: jax.Array
    frame: jax.Array


@dataclass(frozen=True)
class Attention:
    """What the attention is like.

    Attributes:
      units: width of keys and queries.
      filters, kernel: of the convolution over earlier alignments.
      cumulative: it sees the sum of earlier alignments, not the last alone.
      smoothing: a sigmoid instead of the softmax.
    """

    units: int = 128
    filters: int = 32
    kernel: int = 31
    cumulative: bool = True
    smoothing: bool = False


class Prenet(nn.Module):
    """Two dense layers whose dropout is on in inference, too: whenever it has a key.

    Attributes:
      units: width of the layers.
      dropout: rate.
      dtype: compute type.
    """

    units: tuple[int, ...]
    dropout: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(N, n_mels) -> (N, units)."""
        for index, units in enumerate(self.units, 1):
            dense = nn.Dense(
                units, dtype=self.dtype, kernel_init=GLOROT, name=f"dense_{index}"
            )
            drop = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))
            x = drop(nn.relu(dense(x)))
        return x


class LocationSensitiveAttention(nn.Module):
    """Attention that knows where it has been (Chorowski et al., 2015; section 4.1).

    Attributes:
      sizes: what it is like.
      dtype: compute type; alignments are float32.
    """

    sizes: Attention
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, query: jax.Array, memory: Memory, attended: jax.Array
    ) -> jax.Array:
        """Query (N, C), alignments so far (N, T) -> alignment (N, T)."""

        def dense(name: str) -> nn.Dense:
            return nn.Dense(
                self.sizes.units,
                use_bias=False,
                dtype=self.dtype,
                kernel_init=GLOROT,
                name=name,
            )

        convolve = nn.Conv(
            self.sizes.filters,
            (self.sizes.kernel,),
            dtype=self.dtype,
            kernel_init=GLOROT,
            name="location_features_convolution",
        )
        shape = (self.sizes.units,)
        limit = (3 / self.sizes.units) ** 0.5  # Glorot's of a vector
        v = self.param("attention_variable_projection", _uniform(limit), shape)
        zeros = nn.initializers.zeros_init()
        bias = self.param("attention_bias", zeros, shape, jnp.float32)
        location = dense("location_features_layer")(convolve(attended[..., None]))
        query = dense("query_layer")(query)[:, None]
        summed = (memory.keys + query + location).astype(wide(self.dtype)) + bias
        energy = (jnp.tanh(summed) * v).sum(-1)
        if memory.valid is not None:
            energy = jnp.where(memory.valid, energy, -jnp.inf)
        if self.sizes.smoothing:
            share = nn.sigmoid(energy)
            return share / share.sum(-1, keepdims=True)
        return nn.softmax(energy)


def _uniform(limit: float) -> nn.initializers.Initializer:
    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32):
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return init


class DecoderCell(nn.Module):
    """One step of the decoder (section 4.1).

    Attributes:
      n_mels: bins of a frame.
      reduction: frames of a step.
      prenet: widths of the prenet's layers.
      units: of each LSTM.
      attention: what it is like.
      dropout, zoneout: rates.
      dtype: compute type; states and results are float32.
    """

    n_mels: int
    reduction: int
    prenet: tuple[int, ...]
    units: int
    attention: Attention
    dropout: float
    zoneout: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        state: State,
        memory: Memory,
        teacher: tuple[jax.Array, jax.Array] | None = None,
        train: bool = False,
    ) -> tuple[State, tuple[jax.Array, jax.Array]]:
        """Says the next frames.

        Args:
          state: after the last step.
          memory: what is attended to.
          teacher: the frame (N, n_mels) that the next step takes for this one's last,
            and whether it does, () bool; None: it takes what was said.
          train: draw what zoneout holds back.

        Returns:
          The next state, the frames (N, reduction * n_mels) and the alignment (N, T).
        """
        frame = Prenet(self.prenet, self.dropout, self.dtype, name="decoder_prenet")(
            state.frame
        )
        x = jnp.concatenate([frame, state.context], axis=-1)
        lstm_1, lstm_2 = self._lstms()
        state_1, x = lstm_1(state.lstm_1, x, train)
        state_2, query = lstm_2(state.lstm_2, x, train)
        attend = LocationSensitiveAttention(
            self.attention, self.dtype, name="Location_Sensitive_Attention"
        )
        alignment = attend(query, memory, state.attended)
        context = jnp.einsum("nt,ntc->nc", alignment, memory.values)
        project = nn.Dense(
            self.reduction * self.n_mels,
            dtype=self.dtype,
            kernel_init=GLOROT,
            name="linear_transform_projection",
        )
        said = project(jnp.concatenate([query, context], axis=-1))
        said = said.astype(state.frame.dtype)
        last = said[:, -self.n_mels :]
        if teacher is not None:
            target, forced = teacher
            last = jnp.where(forced, target, last)
        attended = alignment
        if self.attention.cumulative:
            attended += state.attended
        return State(state_1, state_2, context, attended, last), (said, alignment)

    def _lstms(self) -> list[ZoneoutLSTM]:
        return [
            ZoneoutLSTM(self.units, self.zoneout, self.dtype, name=f"decoder_LSTM_{n}")
            for n in (1, 2)
        ]

    def zero_state(self, memory: Memory) -> State:
        """The state before the first step."""
        n, t, channels = memory.values.shape

        def zeros(size: int) -> jax.Array:
            return jnp.zeros((n, size), wide(self.dtype))

        lstm = zeros(self.units), zeros(self.units)
        return State(lstm, lstm, zeros(channels), zeros(t), zeros(self.n_mels))


def postnet_rows(features: int = 512) -> tuple[Row, ...]:
    """Five equal layers, the last without an activation."""
    row = Row(features, kernel=(5,), stride=(1,), activation=jnp.tanh)
    return (*[row] * 4, replace(row, activation=None))


class Postnet(nn.Module):
    """Convolutions over time that see what follows, too (section 4.2).

    Attributes:
      rows: its layers.
      width: multiplier of their channels.
      dropout: rate in training, after each layer.
      folded: inference form with batch norm inside the convolutions.
      dtype: compute type.
    """

    rows: tuple[Row, ...]
    width: float
    dropout: float
    folded: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, mel: jax.Array, train: bool = False) -> jax.Array:
        """(N, M, n_mels) -> (N, M, features)."""
        x = mel.astype(self.dtype)
        for index, row in enumerate(self.rows, 1):
            layer = NormedConv(
                row.scaled(self.width),
                self.folded,
                self.dtype,
                name=f"conv_layer_{index}",
            )
            x = nn.Dropout(self.dropout, deterministic=not train)(layer(x, train))
        return x
