"""Optimizers by config, and gradients of batches that do not fit at once."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from lipsync_jax.errors import ConfigError
from lipsync_jax.training.task import Batch

Carry = TypeVar("Carry")
Mean = TypeVar("Mean")


def optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """The optimizer of `config.optimizer`, optionally with clipped gradients.

    Args:
      config: name ("adam": as PyTorch has it, "keras_adam"), learning_rate, b1, b2,
        eps, and clip_norm: the largest global norm of a gradient, 0 for no limit.

    Raises:
      ConfigError: unknown name.
    """
    if config.name not in OPTIMIZERS:
        raise ConfigError(
            f"config.optimizer.name is {config.name!r}; it can be: "
            f"{', '.join(OPTIMIZERS)}"
        )
    make = OPTIMIZERS[config.name]
    adam = make(config.learning_rate, config.b1, config.b2, config.eps)
    if not config.clip_norm:
        return adam
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), adam)


def keras_adam(
    learning_rate: float, b1: float, b2: float, eps: float
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
        rate = learning_rate * jnp.sqrt(1 - b2**count) / (1 - b1**count)
        steps = jax.tree.map(lambda m, v: -rate * m / (jnp.sqrt(v) + eps), mu, nu)
        return steps, optax.ScaleByAdamState(count, mu, nu)

    return optax.GradientTransformation(init, update)


OPTIMIZERS = {"adam": optax.adam, "keras_adam": keras_adam}


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
