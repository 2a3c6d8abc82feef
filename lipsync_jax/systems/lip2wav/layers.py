"""Layers of Tacotron 2 as Lip2Wav has them: normed convolutions, LSTMs with zoneout."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lipsync_jax.nn.blocks import scaled
from lipsync_jax.nn.conv3d import conv_general_dilated

EPSILON = 1e-3  # of the batch norms
GLOROT = nn.initializers.glorot_uniform()

# TensorFlow's: the running average takes the biased variance.
batch_norm = partial(
    nn.BatchNorm, momentum=0.99, epsilon=EPSILON, use_fast_variance=False
)

LSTMState = tuple[jax.Array, jax.Array]  # cell and hidden state, (N, units) each


@dataclass(frozen=True)
class Row:
    """A table row: convolution, batch norm, optional residual sum, activation.

    Attributes:
      features: output channels.
      kernel: its sides, one for each axis of the signal.
      stride: strides, as many; padding is TensorFlow's "SAME".
      residual: add the input before the activation.
      activation: None for none.
    """

    features: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    residual: bool = False
    activation: Callable[[jax.Array], jax.Array] | None = nn.relu

    def scaled(self, width: float) -> "Row":
        """The same row with `width` times the channels."""
        return replace(self, features=scaled(self.features, width))


class NormedConv(nn.Module):
    """The block of one row.

    Attributes:
      row: the table row.
      folded: inference form; batch norm is already inside the convolution
        (`lipsync_jax.nn.fold`).
      dtype: compute type.
    """

    row: Row
    folded: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """(N, *signal, C) -> (N, *signal', features)."""
        row = self.row
        y = nn.Conv(
            row.features,
            row.kernel,
            row.stride,
            dtype=self.dtype,
            kernel_init=GLOROT,
            conv_general_dilated=conv_general_dilated if x.ndim == 5 else None,
            name="conv",
        )(x)
        if not self.folded:
            norm = batch_norm(dtype=self.dtype, name="norm")
            y = norm(y, use_running_average=not train)
        if row.residual:
            y = y + x
        return y if row.activation is None else row.activation(y)


def zoneout(new: jax.Array, old: jax.Array, keep: jax.Array | float) -> jax.Array:
    """A state of which only the part `keep` moves on (Krueger et al., 2017).

    Args:
      new, old: (N, units).
      keep: in training 1 where a unit moves and 0 where it stays, (N, units); in
        inference the probability that it moves.
    """
    return keep * (new - old) + old


def lstm_step(z: jax.Array, cell: jax.Array) -> LSTMState:
    """TensorFlow's LSTM cell: gates i, j, f, o, and 1 on the forget gate.

    Args:
      z: (N, 4 * units), what the gates add up: input, hidden state and bias.
      cell: (N, units), the cell state.

    Returns:
      The new cell and hidden state.
    """
    i, j, f, o = jnp.split(z, 4, axis=-1)
    cell = nn.sigmoid(f + 1) * cell + nn.sigmoid(i) * jnp.tanh(j)
    return cell, nn.sigmoid(o) * jnp.tanh(cell)


class ZoneoutLSTM(nn.Module):
    """An LSTM with zoneout, one step (section 3.2).

    Zoneout holds states back, not outputs: what other layers see is the plain hidden
    state.

    Attributes:
      units: width of the states.
      rate: probability that a unit of a state stays as it was.
      dtype: type of the matrix product; the states are float32.
    """

    units: int
    rate: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, state: LSTMState, x: jax.Array, train: bool = False
    ) -> tuple[LSTMState, jax.Array]:
        """State, (N, C) -> next state, output (N, units)."""
        cell, hidden = state
        inputs = jnp.concatenate([x, hidden], axis=-1)
        gates = nn.Dense(
            4 * self.units, dtype=self.dtype, kernel_init=GLOROT, name="gates"
        )
        new_cell, new_hidden = lstm_step(gates(inputs).astype(cell.dtype), cell)
        state = (
            zoneout(new_cell, cell, self._keep(cell, train)),
            zoneout(new_hidden, hidden, self._keep(hidden, train)),
        )
        return state, new_hidden

    def _keep(self, state: jax.Array, train: bool) -> jax.Array | float:
        if not train or self.rate == 0:
            return 1 - self.rate
        key = self.make_rng("dropout")
        keep = jax.random.bernoulli(key, 1 - self.rate, state.shape)
        return keep.astype(state.dtype)

    def zero_state(self, batch: int) -> LSTMState:
        """The state before the first step."""
        zeros = jnp.zeros((batch, self.units), wide(self.dtype))
        return zeros, zeros


class BiLSTM(nn.Module):
    """One LSTM along time and one against it; see `ZoneoutLSTM`."""

    units: int
    rate: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, valid: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Reads sequences.

        Args:
          x: (N, T, C).
          valid: (N, T, 1) bool, True up to the length of each sequence. Beyond it
            the output is 0, and no state is carried back from there.
          train: draw what zoneout holds back.

        Returns:
          (N, T, 2 * units), forward and backward.
        """

        def step(lstm, state, inputs):
            x, valid = inputs
            new, y = lstm(state, x, train)
            if valid is not None:
                new = jax.tree.map(partial(jnp.where, valid), new, state)
                y = jnp.where(valid, y, 0)
            return new, y

        def read(name: str, reverse: bool) -> jax.Array:
            lstm = ZoneoutLSTM(self.units, self.rate, self.dtype, name=name)
            scan = nn.scan(
                step,
                variable_broadcast="params",
                split_rngs={"params": False, "dropout": True},
                in_axes=1,
                out_axes=1,
                reverse=reverse,
            )
            return scan(lstm, lstm.zero_state(x.shape[0]), (x, valid))[1]

        return jnp.concatenate([read("fw", False), read("bw", True)], axis=-1)


def wide(dtype: Any) -> Any:
    """The type of states and sums: at least float32."""
    return jnp.promote_types(dtype, jnp.float32)
