"""Training the generator of Wav2Lip: L1 and, once it draws well, a frozen expert."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from lipsync_jax import models_io
from lipsync_jax.errors import ConfigError
from lipsync_jax.nn.dtypes import compute_dtype
from lipsync_jax.nn.pixels import from_levels, to_levels
from lipsync_jax.systems.expert.losses import cosine, sync_loss
from lipsync_jax.systems.expert.model import mouths
from lipsync_jax.systems.wav2lip.examples import examples
from lipsync_jax.systems.wav2lip.model import Wav2Lip
from lipsync_jax.training.gradients import accumulate, optimizer
from lipsync_jax.training.network import Network
from lipsync_jax.training.task import Batch, Export, Metrics

_SHOWN = 8  # clips in a preview


@flax.struct.dataclass
class Statistics:
    """Running batch statistics, which go from one microbatch to the next."""

    generator: Any
    expert: Any


@flax.struct.dataclass
class State:
    """What a run of Wav2Lip is made of; a pytree.

    Attributes:
      generator: what learns.
      expert: variables of the frozen expert. In "train" mode its running statistics
        are updated, though nothing reads them: so it is in the original.
      sync_weight: of the sync loss, float32 scalar; 0 until an evaluation is good
        enough. It is saved with the rest; the original forgets it on resuming.
    """

    generator: Network
    expert: Any
    sync_weight: jax.Array


class Wav2LipTask:
    """The generator against L1 and a frozen sync expert.

    Of `config.method` it reads:
      expert: model folder of the sync expert.
      expert_mode: how the expert normalises. "train": by the statistics of the batch
        at hand, as in the original, which never leaves training mode; "eval": by its
        own running statistics.
      loss: "safe" or "original", see `expert.losses`.
      sync_weight: of the sync loss once it is on; L1 has the rest.
      sync_threshold: mean sync loss of an evaluation below which it is switched on.
      min_distance: frames between a window and its reference.

    A generator that ends in tanh learns the same targets in [0, 1]; what it draws below
    0 is clipped when it is used.
    """

    best = ("loss", "min")

    def __init__(self, config: ConfigDict):
        """Reads the expert and checks the configuration.

        Raises:
          ConfigError, ModelError: a value that makes no sense, no such expert.
        """
        self.generator = _generator(config)
        self.expert, self._expert_variables = _expert(config, self.generator.resolution)
        method = config.method
        self.examples = examples(self.generator.resolution, method.min_distance)
        self._expert_trains = method.expert_mode == "train"
        self._config = config
        self._sync_loss = sync_loss(method.loss)
        self._optimizer = optimizer(config)

    def init(self, key: jax.Array) -> State:
        """New weights, the expert as it was read, the sync loss off."""
        inputs = models_io.example_inputs(self.generator)
        generator = self._network(self.generator, inputs, key)
        expert = jax.tree.map(jnp.asarray, self._expert_variables)
        return State(generator, expert, jnp.float32(0))

    def train_step(
        self, state: State, batch: Batch, key: jax.Array
    ) -> tuple[State, Metrics]:
        """One step of the generator."""

        def part(stats: Statistics, batch: Batch) -> tuple[Statistics, Any]:
            def loss(params: Any) -> tuple[jax.Array, Any]:
                _, stats_, losses = self._draw(params, state, stats, batch)
                return self._weighted(losses, state.sync_weight), (stats_, losses)

            gradient = jax.value_and_grad(loss, has_aux=True)
            (value, (stats, losses)), grads = gradient(state.generator.params)
            return stats, (grads, {"loss": value, **losses})

        stats, (grads, metrics) = accumulate(
            part, self._statistics(state), batch, self._config.microbatches
        )
        return self._updated(state, grads, stats), metrics | progress(state, grads)

    def eval_step(self, state: State, batch: Batch, key: jax.Array) -> Metrics:
        """Measures of what the generator draws with running statistics.

        `loss` weighs L1 and sync as the method does in the end, whether the sync loss
        is switched on or not, so that evaluations of a run can be compared.
        """
        return self._measure(state, batch, self._redraw(state, batch))

    def after_eval(self, state: State, metrics: Metrics) -> State:
        """Switches the sync loss on, for good, once sync is good enough."""
        method = self._config.method
        good = metrics["sync"] < method.sync_threshold
        weight = jnp.where(good, method.sync_weight, state.sync_weight)
        return state.replace(sync_weight=weight.astype(state.sync_weight.dtype))

    def preview(self, state: State, batch: Batch) -> jax.Array:
        """Of each clip's middle frame: [reference | masked | drawn | target].

        Returns:
          (n, S, 4 * S, 3) uint8.
        """
        batch = {name: value[:_SHOWN] for name, value in batch.items()}
        masked, reference = jnp.split(_faces(batch), 2, axis=-1)
        columns = reference, masked, self._redraw(state, batch), target(batch)
        middle = [column[:, column.shape[1] // 2] for column in columns]
        return to_levels(jnp.concatenate(middle, axis=2))

    def export(self, state: State) -> dict[str, Export]:
        """The generator."""
        config = self._config
        variables = state.generator.inference_variables
        return {"model": Export(config.network, dict(config.arguments), variables)}

    def init_from(self, state: State, variables: Any) -> State:
        """Goes on from a trained generator."""
        return state.replace(generator=state.generator.replaced(variables))

    def _network(self, module: Any, inputs: Any, key: jax.Array) -> Network:
        ema = self._config.optimizer.ema > 0
        return Network.create(module, inputs, self._optimizer, key, ema=ema)

    def _statistics(self, state: State) -> Statistics:
        return Statistics(state.generator.batch_stats, state.expert["batch_stats"])

    def _updated(self, state: State, grads: Any, stats: Statistics) -> State:
        decay = self._config.optimizer.ema
        generator = state.generator.updated(
            grads, self._optimizer, stats.generator, decay
        )
        expert = {**state.expert, "batch_stats": stats.expert}
        return state.replace(generator=generator, expert=expert)

    def _draw(
        self, params: Any, state: State, stats: Statistics, batch: Batch
    ) -> tuple[jax.Array, Statistics, dict[str, jax.Array]]:
        """Faces (B, T, S, S, 3), the statistics they leave, and their losses."""
        drawn, new = self.generator.apply(
            {"params": params, "batch_stats": stats.generator},
            batch["mels"][..., None],
            _faces(batch),
            train=True,
            mutable=["batch_stats"],
        )

        sync, expert = self._sync_if_on(drawn, state, stats.expert, batch)
        losses = {"l1": jnp.abs(drawn - target(batch)).mean(), "sync": sync}
        return drawn, Statistics(new["batch_stats"], expert), losses

    def _redraw(self, state: State, batch: Batch) -> jax.Array:
        """Faces (B, T, S, S, 3) as inference draws them."""
        variables = state.generator.inference_variables
        return self.generator.apply(variables, batch["mels"][..., None], _faces(batch))

    def _measure(self, state: State, batch: Batch, drawn: jax.Array) -> Metrics:
        sync, _ = self._sync(drawn, batch, state.expert)
        error = jnp.abs(drawn - target(batch))
        l1, weight = error.mean(), self._config.method.sync_weight
        return {
            "loss": weight * sync + (1 - weight) * l1,
            "l1": l1,
            "sync": sync,
            "mouth_l1": error[:, :, error.shape[2] // 2 :].mean(),
        }

    def _sync_if_on(
        self, drawn: jax.Array, state: State, stats: Any, batch: Batch
    ) -> tuple[jax.Array, Any]:
        """As `_sync`; while its weight is 0 the expert is not run at all."""

        def on(drawn: jax.Array) -> tuple[jax.Array, jax.Array, Any]:
            expert = {**state.expert, "batch_stats": stats}
            gradient = jax.value_and_grad(self._sync, has_aux=True)
            (sync, new), slope = gradient(drawn, batch, expert)
            return sync, slope, new

        def off(drawn: jax.Array) -> tuple[jax.Array, jax.Array, Any]:
            return jnp.zeros((), drawn.dtype), jnp.zeros_like(drawn), stats

        # The gradient is taken inside: differentiated from outside, both branches
        # would have to hand out all that the expert's own derivative needs.
        fixed = jax.lax.stop_gradient(drawn)
        sync, slope, stats = jax.lax.cond(state.sync_weight > 0, on, off, fixed)
        return sync + jnp.vdot(slope, drawn - fixed), stats

    def _sync(
        self, drawn: jax.Array, batch: Batch, expert: Any
    ) -> tuple[jax.Array, Any]:
        """Sync loss of drawn faces, and the expert's statistics after looking."""
        inputs = batch["mel"][..., None], mouths(drawn)
        if self._expert_trains:
            (audio, face), new = self.expert.apply(
                expert, *inputs, train=True, mutable=["batch_stats"]
            )
            stats = new["batch_stats"]
        else:
            audio, face = self.expert.apply(expert, *inputs)
            stats = expert["batch_stats"]
        return self._sync_loss(cosine(audio, face), jnp.ones(())), stats

    def _weighted(self, losses: Metrics, weight: jax.Array) -> jax.Array:
        return weight * losses["sync"] + (1 - weight) * losses["l1"]


def _generator(config: ConfigDict) -> Wav2Lip:
    module = models_io.build(config.network, dict(config.arguments))
    if not isinstance(module, Wav2Lip):
        raise ConfigError(
            f"config.network is {config.network}, which is no Wav2Lip generator; "
            f"the task {config.task} needs one"
        )
    return module.clone(dtype=compute_dtype(config.dtype))


def _expert(config: ConfigDict, resolution: int) -> tuple[Any, Any]:
    """The expert's module and variables."""
    method = config.method
    if not method.expert:
        raise ConfigError(
            "config.method.expert is not set; give the model folder of a trained or "
            "converted sync expert: --config.method.expert=DIR"
        )
    if method.expert_mode not in ("train", "eval"):
        raise ConfigError(
            f"config.method.expert_mode is {method.expert_mode!r}; it can be: "
            "train, eval"
        )
    model = models_io.load(method.expert, system="expert")
    if model.module.resolution != resolution:
        raise ConfigError(
            f"{method.expert}: this expert looks at faces of {model.module.resolution} "
            f"pixels, {config.network} draws {resolution}; train one for that size "
            f"with --config.arguments.resolution={resolution} or choose another network"
        )
    windows = config.batch_size // config.microbatches
    if method.expert_mode == "train" and windows < 2:
        raise ConfigError(
            "an expert in training mode needs at least two windows at a time; raise "
            "config.batch_size or set --config.method.expert_mode=eval"
        )
    return model.module.clone(dtype=compute_dtype(config.dtype)), model.variables


def target(batch: Batch) -> jax.Array:
    """What is to be drawn, (B, T, S, S, 3) in [0, 1]."""
    return from_levels(batch["target"])


def _faces(batch: Batch) -> jax.Array:
    """The generator's pictures (B, T, S, S, 6): target without mouths, reference."""
    faces = target(batch)
    masked = faces.at[:, :, faces.shape[2] // 2 :].set(0)
    return jnp.concatenate([masked, from_levels(batch["reference"])], axis=-1)


def progress(state: State, grads: Any) -> Metrics:
    """What a training step says besides its losses."""
    return {"sync_weight": state.sync_weight, "grad_norm": optax.global_norm(grads)}
