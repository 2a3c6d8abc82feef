"""Training LipGAN's generator alone: L1 (`train_unet`)."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from lipsync_jax import models_io
from lipsync_jax.errors import ConfigError, DataError
from lipsync_jax.nn.dtypes import compute_dtype
from lipsync_jax.nn.pixels import from_levels, to_levels
from lipsync_jax.systems.lipgan.examples import examples
from lipsync_jax.systems.lipgan.features import features_of
from lipsync_jax.systems.lipgan.model import GENERATORS, LipGAN
from lipsync_jax.training.gradients import accumulate, optimizer
from lipsync_jax.training.network import Network
from lipsync_jax.training.task import Batch, Export, Metrics

_SHOWN = 8  # examples in a preview

# (faces that were drawn, batch) -> the loss, and what it is made of.
Loss = Callable[[jax.Array, Batch], tuple[jax.Array, Metrics]]


@flax.struct.dataclass
class State:
    """What a run of LipGAN is made of; a pytree.

    Attributes:
      generator: what learns. Its statistics are averaged as Keras does; the number of
        steps that takes is saved with them (the original forgets it on resuming, and
        with it the statistics).
    """

    generator: Network


class LipGANTask:
    """The generator against L1; `config.method` is empty.

    Where the windows of sound lie is `config.arguments.audio_offset`.
    """

    best = ("l1", "min")

    def __init__(self, config: ConfigDict):
        """Checks the configuration; computes nothing.

        Raises:
          ConfigError, ModelError: a value that makes no sense.
        """
        self.generator = _generator(config)
        self.examples = examples(
            self.generator.resolution,
            features_of(self.generator),
            self.generator.audio_offset,
        )
        self._config = config
        self._optimizer = optimizer(config)

    def init(self, key: jax.Array) -> State:
        """New weights."""
        return State(self._network(self.generator, key))

    def train_step(
        self, state: State, batch: Batch, key: jax.Array
    ) -> tuple[State, Metrics]:
        """One step of the generator."""

        def loss(drawn: jax.Array, batch: Batch) -> tuple[jax.Array, Metrics]:
            return l1(drawn, batch), {}

        return self._improve(state, batch, loss)

    def eval_step(self, state: State, batch: Batch, key: jax.Array) -> Metrics:
        """Errors of what the generator draws with running statistics."""
        return measures(self._redraw(state.generator.inference_variables, batch), batch)

    def after_eval(self, state: State, metrics: Metrics) -> State:
        """Nothing depends on evaluations."""
        return state

    def preview(self, state: State, batch: Batch) -> jax.Array:
        """Of each example: [reference | masked | drawn | target].

        Returns:
          (n, S, 4 * S, 3) uint8.
        """
        batch = {name: value[:_SHOWN] for name, value in batch.items()}
        reference, masked = jnp.split(_faces(batch), 2, axis=-1)
        drawn = self._redraw(state.generator.inference_variables, batch)
        columns = reference, masked, drawn, target(batch)
        return to_levels(jnp.concatenate(columns, axis=2))

    def export(self, state: State) -> dict[str, Export]:
        """The generator."""
        config = self._config
        variables = dict(state.generator.inference_variables)
        variables["batch_stats"] = _without_steps(variables["batch_stats"])
        return {"model": Export(config.network, dict(config.arguments), variables)}

    def init_from(self, state: State, variables: Any) -> State:
        """Goes on from a trained generator, whose statistics the first step replaces.

        So it is in the original.
        """
        stats = _with_steps(variables["batch_stats"], state.generator.batch_stats)
        variables = {**variables, "batch_stats": stats}
        return state.replace(generator=state.generator.replaced(variables))

    def _network(self, module: Any, key: jax.Array) -> Network:
        inputs = models_io.example_inputs(module)
        ema = self._config.optimizer.ema > 0
        return Network.create(module, inputs, self._optimizer, key, ema=ema)

    def _improve(
        self, state: State, batch: Batch, loss: Loss
    ) -> tuple[State, dict[str, jax.Array]]:
        """One step of the generator against `loss`."""

        def part(stats: Any, batch: Batch) -> tuple[Any, tuple[Any, Metrics]]:
            def value(params: Any) -> tuple[jax.Array, tuple[Any, Metrics]]:
                drawn, new = self.generator.apply(
                    {"params": params, "batch_stats": stats},
                    self._heard(batch),
                    _faces(batch),
                    train=True,
                    mutable=["batch_stats"],
                )
                total, losses = loss(drawn, batch)
                losses = {"loss": total, "l1": l1(drawn, batch), **losses}
                return total, (new["batch_stats"], losses)

            gradient = jax.grad(value, has_aux=True)
            grads, (stats, losses) = gradient(state.generator.params)
            return stats, (grads, losses)

        network = state.generator
        stats, (grads, metrics) = accumulate(
            part, network.batch_stats, batch, self._config.microbatches
        )
        decay = self._config.optimizer.ema
        network = network.updated(grads, self._optimizer, stats, decay)
        metrics["grad_norm"] = optax.global_norm(grads)
        return state.replace(generator=network), metrics

    def _redraw(self, variables: Any, batch: Batch) -> jax.Array:
        """Faces (B, S, S, 3) drawn with running statistics."""
        return self.generator.apply(variables, self._heard(batch), _faces(batch))

    def _heard(self, batch: Batch) -> jax.Array:
        """The windows of sound (B, rows, width, 1).

        Raises:
          DataError: they are of another front end than the generator's.
        """
        found, wanted = batch["mel"].shape[1:], self.generator.audio_shape
        if found != wanted:
            raise DataError(
                f'batch["mel"] holds windows of {_by(found)} features, '
                f"{self._config.network} hears {_by(wanted)}; take examples as this "
                "task's `examples` does, or another config.network"
            )
        return batch["mel"][..., None]


def target(batch: Batch) -> jax.Array:
    """What is to be drawn, (B, S, S, 3) in [0, 1]."""
    return from_levels(batch["target"])


def l1(drawn: jax.Array, batch: Batch) -> jax.Array:
    """Mean absolute error of faces (B, S, S, 3)."""
    return jnp.abs(drawn - target(batch)).mean()


def measures(drawn: jax.Array, batch: Batch) -> dict[str, jax.Array]:
    """What an evaluation says of drawn faces (B, S, S, 3)."""
    error = jnp.abs(drawn - target(batch))
    return {"l1": error.mean(), "mouth_l1": error[:, error.shape[1] // 2 :].mean()}


def _generator(config: ConfigDict) -> LipGAN:
    if config.network not in GENERATORS:
        raise ConfigError(
            f"config.network is {config.network!r}, which is no LipGAN generator; the "
            f"task {config.task} needs one: {', '.join(GENERATORS)}"
        )
    module = models_io.build(config.network, dict(config.arguments))
    if config.batch_size // config.microbatches < 2:
        raise ConfigError(
            f"config.batch_size={config.batch_size} in {config.microbatches} "
            "microbatches: batch norm needs at least two examples at a time; raise "
            "config.batch_size or lower config.microbatches"
        )
    return module.clone(dtype=compute_dtype(config.dtype), keras_average=True)


def _faces(batch: Batch) -> jax.Array:
    """The generator's pictures (B, S, S, 6): reference, target without mouth."""
    faces = target(batch)
    masked = faces.at[:, faces.shape[1] // 2 :].set(0)
    return jnp.concatenate([from_levels(batch["reference"]), masked], axis=-1)


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _without_steps(stats: Mapping[str, Any]) -> dict[str, Any]:
    """Running statistics as inference knows them."""
    flat = flatten_dict(stats)
    return unflatten_dict({k: v for k, v in flat.items() if k[-1] != "steps"})


def _with_steps(loaded: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Loaded statistics as training knows them: of no step yet."""
    flat = {
        path: jnp.zeros_like(value)
        for path, value in flatten_dict(ours).items()
        if path[-1] == "steps"
    }
    return unflatten_dict(flat | flatten_dict(loaded))
