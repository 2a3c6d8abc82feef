"""Training Wav2Lip against a discriminator that judges how real mouths look."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from lipsync_jax import models_io
from lipsync_jax.errors import ConfigError
from lipsync_jax.nn.dtypes import compute_dtype
from lipsync_jax.systems.expert.losses import bce
from lipsync_jax.systems.wav2lip import task
from lipsync_jax.systems.wav2lip.model import QualityDiscriminator
from lipsync_jax.training.gradients import accumulate
from lipsync_jax.training.network import Network
from lipsync_jax.training.task import Batch, Export, Metrics


@flax.struct.dataclass
class State(task.State):
    """A run with an adversary.

    Attributes:
      discriminator: the second network that learns.
    """

    discriminator: Network


class Wav2LipHQTask(task.Wav2LipTask):
    """Wav2Lip with the visual quality discriminator.

    One step updates both networks on the same batch. The discriminator sees the faces
    that were drawn before the generator's update, and judges them for the generator
    with its weights before its own: so both gradients are of the state before the step.

    Of `config.method` it also reads:
      discriminator: network name of the discriminator.
      perceptual_weight: of the loss of not looking real; L1 has what sync and this
        leave.
    """

    def __init__(self, config: ConfigDict):
        """Reads the expert and checks the configuration.

        Raises:
          ConfigError, ModelError: as for `Wav2LipTask`, or no such discriminator.
        """
        super().__init__(config)
        name = config.method.discriminator
        module = models_io.build(name, _sizes(config))
        if not isinstance(module, QualityDiscriminator):
            raise ConfigError(
                f"config.method.discriminator is {name}, which is no quality "
                "discriminator; it can be: quality_disc, quality_disc_288"
            )
        if module.resolution != self.generator.resolution:
            raise ConfigError(
                f"config.method.discriminator: {name} judges faces of "
                f"{module.resolution} pixels, {config.network} draws "
                f"{self.generator.resolution}"
            )
        self.discriminator = module.clone(dtype=compute_dtype(config.dtype))

    def init(self, key: jax.Array) -> State:
        """New weights of both networks, the sync loss off."""
        first, second = jax.random.split(key)
        inputs = models_io.example_inputs(self.discriminator)
        return State(
            **vars(super().init(first)),
            discriminator=self._network(self.discriminator, inputs, second),
        )

    def train_step(
        self, state: State, batch: Batch, key: jax.Array
    ) -> tuple[State, Metrics]:
        """One step of the generator and one of the discriminator."""

        def part(stats: task.Statistics, batch: Batch) -> tuple[task.Statistics, Any]:
            def generator_loss(params: Any) -> tuple[jax.Array, Any]:
                drawn, stats_, losses = self._draw(params, state, stats, batch)
                looks_real = self._judge(state.discriminator.params, drawn)
                losses["perceptual"] = bce(looks_real, 1)
                value = self._weighted(losses, state.sync_weight)
                return value, (drawn, stats_, losses)

            gradient = jax.value_and_grad(generator_loss, has_aux=True)
            (value, (drawn, stats, losses)), grads = gradient(state.generator.params)

            def discriminator_loss(params: Any) -> tuple[jax.Array, Metrics]:
                judged = self._judgement(params, batch, drawn)
                return judged["real"] + judged["fake"], judged

            gradient = jax.grad(discriminator_loss, has_aux=True)
            adversary, judged = gradient(state.discriminator.params)
            return stats, (grads, adversary, {"loss": value, **losses, **judged})

        stats, (grads, adversary, metrics) = accumulate(
            part, self._statistics(state), batch, self._config.microbatches
        )
        metrics |= task.progress(state, grads)
        metrics["discriminator_grad_norm"] = optax.global_norm(adversary)
        discriminator = state.discriminator.updated(
            adversary, self._optimizer, {}, self._config.optimizer.ema
        )
        state = self._updated(state, grads, stats)
        return state.replace(discriminator=discriminator), metrics

    def eval_step(self, state: State, batch: Batch, key: jax.Array) -> Metrics:
        """As for `Wav2LipTask`, and what the discriminator says; not in `loss`."""
        drawn = self._redraw(state, batch)
        params = state.discriminator.inference_variables["params"]
        return {
            **self._measure(state, batch, drawn),
            "perceptual": bce(self._judge(params, drawn), 1),
            **self._judgement(params, batch, drawn),
        }

    def export(self, state: State) -> dict[str, Export]:
        """The generator, and the discriminator as "disc"."""
        variables = {"params": state.discriminator.inference_variables["params"]}
        name = self._config.method.discriminator
        disc = Export(name, _sizes(self._config), variables)
        return {**super().export(state), "disc": disc}

    def _judge(self, params: Any, faces: jax.Array) -> jax.Array:
        """Probability "real" of faces (B, T, S, S, 3): (B, T)."""
        return self.discriminator.apply({"params": params}, faces)

    def _judgement(self, params: Any, batch: Batch, drawn: jax.Array) -> Metrics:
        """How the discriminator tells targets from what was drawn."""
        real = self._judge(params, task.target(batch))
        fake = self._judge(params, jax.lax.stop_gradient(drawn))
        right = jnp.stack([real > 0.5, fake < 0.5]).astype(jnp.float32)
        return {
            "real": bce(real, 1),
            "fake": bce(fake, 0),
            "discriminator_accuracy": right.mean(),
        }

    def _weighted(self, losses: Metrics, weight: jax.Array) -> jax.Array:
        perceptual = self._config.method.perceptual_weight
        rest = 1 - weight - perceptual
        return (
            weight * losses["sync"]
            + perceptual * losses["perceptual"]
            + rest * losses["l1"]
        )


def _sizes(config: ConfigDict) -> dict[str, Any]:
    """The discriminator is as wide as the generator."""
    return {key: value for key, value in config.arguments.items() if key == "width"}
