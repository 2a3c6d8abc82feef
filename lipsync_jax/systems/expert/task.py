"""Training the sync expert: one network, one cross entropy."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from lipsync_jax import models_io
from lipsync_jax.errors import ConfigError
from lipsync_jax.nn.dtypes import compute_dtype
from lipsync_jax.nn.pixels import from_levels, to_levels
from lipsync_jax.systems.expert.examples import examples
from lipsync_jax.systems.expert.losses import cosine, sync_loss
from lipsync_jax.systems.expert.model import Expert, mouths
from lipsync_jax.training.gradients import accumulate, optimizer
from lipsync_jax.training.network import Network
from lipsync_jax.training.task import Batch, Export, Metrics

_SHOWN = 8  # pairs in a preview


class ExpertTask:
    """The sync expert; its state is a `Network`.

    Of `config.method` it reads `loss` ("safe" or "original", see `losses`) and
    `min_distance` (frames between a window and the one that is out of sync with it).
    """

    best = ("loss", "min")

    def __init__(self, config: ConfigDict):
        """Checks the configuration; computes nothing.

        Raises:
          ConfigError, ModelError: a value that makes no sense.
        """
        module = models_io.build(config.network, dict(config.arguments))
        if not isinstance(module, Expert):
            raise ConfigError(
                f"config.network is {config.network}, which is no sync expert; "
                f"the task expert needs one"
            )
        self.module = module.clone(dtype=compute_dtype(config.dtype))
        self.examples = examples(module.resolution, config.method.min_distance)
        self._config = config
        self._loss = sync_loss(config.method.loss)
        self._optimizer = optimizer(config)

    def init(self, key: jax.Array) -> Network:
        """New weights."""
        inputs = models_io.example_inputs(self.module)
        ema = self._config.optimizer.ema > 0
        return Network.create(self.module, inputs, self._optimizer, key, ema=ema)

    def train_step(
        self, state: Network, batch: Batch, key: jax.Array
    ) -> tuple[Network, Metrics]:
        """One step of the optimizer."""

        def part(stats: Any, batch: Batch) -> tuple[Any, tuple[Any, Metrics]]:
            def loss(params: Any) -> tuple[jax.Array, tuple[Any, jax.Array]]:
                (audio, face), new = self.module.apply(
                    {"params": params, "batch_stats": stats},
                    *_inputs(batch),
                    train=True,
                    mutable=["batch_stats"],
                )
                similarity = cosine(audio, face)
                value = self._loss(similarity, batch["label"])
                return value, (new["batch_stats"], similarity)

            gradient = jax.value_and_grad(loss, has_aux=True)
            (value, (stats, similarity)), grads = gradient(state.params)
            metrics = {"loss": value, **_measures(similarity, batch["label"])}
            return stats, (grads, metrics)

        stats, (grads, metrics) = accumulate(
            part, state.batch_stats, batch, self._config.microbatches
        )
        metrics["grad_norm"] = optax.global_norm(grads)
        decay = self._config.optimizer.ema
        return state.updated(grads, self._optimizer, stats, decay), metrics

    def eval_step(self, state: Network, batch: Batch, key: jax.Array) -> Metrics:
        """The same measures with running statistics."""
        similarity = self._similarity(state, batch)
        loss = self._loss(similarity, batch["label"])
        return {"loss": loss, **_measures(similarity, batch["label"])}

    def after_eval(self, state: Network, metrics: Metrics) -> Network:
        """Nothing depends on evaluations."""
        return state

    def preview(self, state: Network, batch: Batch) -> jax.Array:
        """The mouths of a pair, and below them a bar as long as their cosine.

        The bar is green where the pair is in sync; it should then pass the tick in
        the middle, and else stay short of it.

        Returns:
          (n, H, 5 * resolution, 3) uint8.
        """
        batch = {name: value[:_SHOWN] for name, value in batch.items()}
        faces = from_levels(batch["face"])
        lower = faces[:, :, faces.shape[2] // 2 :]
        n, t, h, w, c = lower.shape
        strip = lower.transpose(0, 2, 1, 3, 4).reshape(n, h, t * w, c)
        bar = partial(_bar, height=h // 4, width=t * w)
        bars = jax.vmap(bar)(self._similarity(state, batch), batch["label"])
        return to_levels(jnp.concatenate([strip, bars.astype(strip.dtype)], axis=1))

    def export(self, state: Network) -> dict[str, Export]:
        """The expert."""
        config = self._config
        variables = state.inference_variables
        return {"model": Export(config.network, dict(config.arguments), variables)}

    def init_from(self, state: Network, variables: Any) -> Network:
        """Goes on from a trained expert."""
        return state.replaced(variables)

    def _similarity(self, state: Network, batch: Batch) -> jax.Array:
        variables = state.inference_variables
        return cosine(*self.module.apply(variables, *_inputs(batch)))


def _inputs(batch: Batch) -> tuple[jax.Array, jax.Array]:
    return batch["mel"][..., None], mouths(from_levels(batch["face"]))


def _measures(similarity: jax.Array, label: jax.Array) -> Metrics:
    """Accuracy at the threshold 0.5, and the mean cosine of both kinds of pairs."""

    def mean(chosen: jax.Array) -> jax.Array:
        return (similarity * chosen).sum() / jnp.maximum(chosen.sum(), 1)

    return {
        "accuracy": ((similarity > 0.5) == (label > 0.5)).astype(jnp.float32).mean(),
        "cosine_in_sync": mean(label),
        "cosine_off_sync": mean(1 - label),
    }


def _bar(value: jax.Array, label: jax.Array, height: int, width: int) -> jax.Array:
    """(height, width, 3): filled from the left to `value`, with a tick at a half."""
    across = jnp.arange(width) / width
    colour = jnp.where(
        label > 0.5, jnp.array([0.2, 0.7, 0.2]), jnp.array([0.8, 0.2, 0.2])
    )
    line = jnp.where((across < value)[:, None], colour, 0.15)
    tick = jnp.abs(across - 0.5) < 1 / width
    line = jnp.where(tick[:, None], 1.0, line)
    return jnp.broadcast_to(line, (height, width, 3))
