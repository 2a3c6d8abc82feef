"""What the trainer needs of a system, and nothing else.

A task is a small object of pure functions. The trainer owns jit, sharding, data,
checkpoints and logging; losses, alternation of adversaries and scheduled weights
belong to the task and live in its state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jax

from lipsync_jax.data.examples import Examples

State = Any  # a pytree of arrays
Batch = Mapping[str, jax.Array]
Metrics = Mapping[str, jax.Array]  # name -> scalar


@dataclass(frozen=True)
class Export:
    """A trained network as a model folder holds it (`models_io.save`).

    Attributes:
      network: key of `models_io.NETWORKS`.
      arguments: sizes that differ from the published ones.
      variables: {"params": ..., "batch_stats": ...}.
    """

    network: str
    arguments: dict[str, Any]
    variables: Any


class Task(Protocol):
    """A training method.

    All but `init` and `export` are jitted by the trainer. Batches hold what
    `examples.example` gives, stacked on a new first axis, and may be sharded on it;
    a task never mentions devices.

    Attributes:
      examples: how its examples are made.
      best: (name of an evaluation metric, "min" or "max"): which checkpoint is best.
    """

    examples: Examples
    best: tuple[str, str]

    def init(self, key: jax.Array) -> State:
        """The state before the first step: weights, statistics, optimizers."""

    def train_step(
        self, state: State, batch: Batch, key: jax.Array
    ) -> tuple[State, Metrics]:
        """One update of everything that learns. `key` is this step's own."""

    def eval_step(self, state: State, batch: Batch, key: jax.Array) -> Metrics:
        """Metrics of one held-out batch; the trainer averages over batches."""

    def after_eval(self, state: State, metrics: Metrics) -> State:
        """The state after an evaluation, e.g. with a loss switched on."""

    def preview(self, state: State, batch: Batch) -> jax.Array | None:
        """Pictures to look at: (N, H, W, 3) uint8, or None if there is nothing."""

    def export(self, state: State) -> dict[str, Export]:
        """Name -> trained network; "model" is the one that inference uses."""

    def init_from(self, state: State, variables: Any) -> State:
        """The state with the main network's variables replaced (fine-tuning)."""
