"""Optimizers by config, and gradients of batches that do not fit at once."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from lipsync_jax.errors import ConfigError
from lipsync_jax.training.task import Batch

Carry = TypeVar("Carry")
Mean = TypeVar("Mean")
Choice = TypeVar("Choice")


def optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """The optimizer of a run, optionally with clipped gradients.

    Args:
      config: of the run. `config.optimizer` has name ("adam": as PyTorch has it,
        "keras_adam"), learning_rate, schedule ("constant", "cosine": falls to 0 at
        `config.steps`, or "tacotron", see there), b1, b2, eps, and clip_norm: the
        largest global norm of a gradient, 0 for no limit.

    Raises:
      ConfigError: unknown name or schedule.
    """
    settings = config.optimizer
    make = _choice(OPTIMIZERS, "name", settings.name)
    rate = _choice(SCHEDULES, "schedule", settings.schedule)
    adam = make(
        rate(settings.learning_rate, config.steps),
        settings.b1,
        settings.b2,
        settings.eps,
    )
    if not settings.clip_norm:
        return adam
    return optax.chain(optax.clip_by_global_norm(settings.clip_norm), adam)


def _choice(choices: Mapping[str, Choice], key: str, name: str) -> Choice:
    if name not in choices:
        raise ConfigError(
            f"config.optimizer.{key} is {name!r}; it can be: {', '.join(choices)}"
        )
    return choices[name]


def keras_adam(
    learning_rate: optax.Schedule, b1: float, b2: float, eps: float
) -> optax.GradientTransformation:
    """Adam as Keras and TensorFlow have it.

    `eps` is added to the root of the moment before the correction of its bias, not
    after: at step t it counts 1 / sqrt(1 - b2**t) times as much (32 times at the first
    step). It is the "epsilon hat" in section 2 of Kingma and Ba, 2015.
    """

    def init(params: optax.Params) -> optax.ScaleByAdamState:
        zeros = [optax.tree.zeros_like(params) for _ in range(2)]
        return optax.ScaleByAdamState(jnp.zeros((), jnp.int32), *zeros)

    def update(
        grads: optax.Updates,
        state: optax.ScaleByAdamState,
        params: optax.Params | None = None,
    ) -> tuple[optax.Updates, optax.ScaleByAdamState]:
        count = state.count + 1
        mu = optax.tree.update_moment(grads, state.mu, b1, 1)
        nu = optax.tree.update_moment_per_elem_norm(grads, state.nu, b2, 2)
        correction = jnp.sqrt(1 - b2**count) / (1 - b1**count)
        rate = learning_rate(state.count) * correction
        steps = jax.tree.map(lambda m, v: -rate * m / (jnp.sqrt(v) + eps), mu, nu)
        return steps, optax.ScaleByAdamState(count, mu, nu)

    return optax.GradientTransformation(init, update)


def tacotron_decay(learning_rate: float, steps: int) -> optax.Schedule:
    """Halved every 50 000 steps from step 150 000 on, but no lower than 1e-5.

    As Tacotron 2 and Lip2Wav are trained, however long.
    """

    def schedule(step: jax.Array) -> jax.Array:
        halvings = jnp.maximum(step - 150_000, 0) / 50_000
        return jnp.maximum(learning_rate * 0.5**halvings, 1e-5)

    return schedule


OPTIMIZERS = {"adam": optax.adam, "keras_adam": keras_adam}
SCHEDULES: dict[str, Callable[[float, int], optax.Schedule]] = {
    "constant": lambda rate, steps: optax.constant_schedule(rate),
    "cosine": optax.cosine_decay_schedule,
    "tacotron": tacotron_decay,
}


def accumulate(
    function: Callable[[Carry, Batch], tuple[Carry, Mean]],
    carry: Carry,
    batch: Batch,
    microbatches: int,
) -> tuple[Carry, Mean]:
    """Runs `function` on parts of a batch, one after the other.

    The mean of mean losses' gradients over equal parts is the gradient over the
    whole batch, for networks without batch norm; with it, each part is normalised
    by its own statistics.

    Args:
      function: (carry, part of the batch) -> (carry, means); the means are a tree
        of float arrays, e.g. gradients and metrics of a mean loss.
      carry: what goes from part to part, e.g. running batch statistics.
      batch: arrays (B, ...), B divisible by `microbatches`.
      microbatches: number of parts.

    Returns:
      The last carry, and the means over all parts.
    """
    if microbatches == 1:
        return function(carry, batch)

    def split(x: jax.Array) -> jax.Array:
        # Every k-th example: a part then spreads over the mesh as the batch does.
        return x.reshape(-1, microbatches, *x.shape[1:]).swapaxes(0, 1)

    parts = jax.tree.map(split, dict(batch))

    def step(state: tuple[Carry, Mean], part: Batch) -> tuple[tuple[Carry, Mean], None]:
        carry, total = state
        carry, mean = function(carry, part)
        return (carry, jax.tree.map(jnp.add, total, mean)), None

    one = jax.tree.map(lambda x: x[0], parts)
    shapes = jax.eval_shape(function, carry, one)[1]
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    (carry, total), _ = jax.lax.scan(step, (carry, zeros), parts)
    return carry, jax.tree.map(lambda x: x / microbatches, total)
