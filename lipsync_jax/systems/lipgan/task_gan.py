"""Training LipGAN against a discriminator that judges faces and speech together."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from lipsync_jax import models_io
from lipsync_jax.errors import ConfigError
from lipsync_jax.nn.dtypes import compute_dtype
from lipsync_jax.systems.lipgan import pairs, task
from lipsync_jax.systems.lipgan.losses import SYNCED, UNSYNCED, contrastive
from lipsync_jax.systems.lipgan.model import DISCRIMINATORS, LipGANDiscriminator
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


class LipGANAdversarialTask(task.LipGANTask):
    """LipGAN with the discriminator that tells pairs in sync from others.

    One step updates the discriminator twice, then the generator, on the same batch
    (section 7). A fair coin decides from which pairs out of sync the discriminator
    learns, drawn faces or true ones with another's speech; the others are only judged.
    Then it learns the true pairs. Faces are drawn for it with running statistics.

    Of `config.method` it reads:
      discriminator: network name of the discriminator.
      adversarial_weight: of the distance from drawn faces to speech; L1 has 1.
      margin: distance from which on pairs out of sync are apart enough.
      unsynced: how true faces get another's speech, see `pairs`.
    """

    def __init__(self, config: ConfigDict):
        """Checks the configuration; computes nothing.

        Raises:
          ConfigError, ModelError: a value that makes no sense.
        """
        super().__init__(config)
        self.discriminator = _discriminator(config, self.generator)
        pairs.check(config.method.unsynced, config.batch_size)

    def init(self, key: jax.Array) -> State:
        """New weights of both networks."""
        first, second = jax.random.split(key)
        generator = super().init(first).generator
        return State(generator, self._network(self.discriminator, second))

    def train_step(
        self, state: State, batch: Batch, key: jax.Array
    ) -> tuple[State, Metrics]:
        """Two steps of the discriminator and one of the generator."""
        method = self._config.method
        state, judged = self._teach(state, batch, key)

        def loss(drawn: jax.Array, batch: Batch) -> tuple[jax.Array, Metrics]:
            adversarial = self._contrast(
                state.discriminator.params, drawn, batch["mel"], SYNCED
            )
            total = task.l1(drawn, batch) + method.adversarial_weight * adversarial
            return total, {"adversarial": adversarial}

        state, metrics = self._improve(state, batch, loss)
        return state, metrics | judged

    def eval_step(self, state: State, batch: Batch, key: jax.Array) -> Metrics:
        """As for `LipGANTask`, and what the discriminator says.

        It takes a pair for synced if its distance is below half the margin.
        """
        drawn = self._redraw(state.generator.inference_variables, batch)
        params = state.discriminator.inference_variables["params"]
        other = pairs.unsynced(batch, key, self._config.method.unsynced)
        faces = task.target(batch)
        in_sync = self._distance(params, faces, batch["mel"])
        off_sync = self._distance(params, faces, other)
        half = self._config.method.margin / 2
        right = jnp.stack([in_sync < half, off_sync > half]).astype(jnp.float32)
        return {
            **task.measures(drawn, batch),
            "adversarial": self._contrast(params, drawn, batch["mel"], SYNCED),
            "distance_drawn": self._distance(params, drawn, batch["mel"]).mean(),
            "distance_in_sync": in_sync.mean(),
            "distance_off_sync": off_sync.mean(),
            "discriminator_accuracy": right.mean(),
        }

    def export(self, state: State) -> dict[str, Export]:
        """The generator, and the discriminator as "disc"."""
        variables = {"params": state.discriminator.inference_variables["params"]}
        name = self._config.method.discriminator
        disc = Export(name, _sizes(self._config), variables)
        return {**super().export(state), "disc": disc}

    def _teach(
        self, state: State, batch: Batch, key: jax.Array
    ) -> tuple[State, Metrics]:
        """Two steps of the discriminator, and its losses."""
        coin, whose = jax.random.split(key)
        faces, heard = task.target(batch), batch["mel"]
        # With the weights in training, not their average.
        fake = self._redraw(state.generator.variables, batch), heard
        off = faces, pairs.unsynced(batch, whose, self._config.method.unsynced)

        def learn_fake(network: Network) -> tuple[Network, Metrics]:
            network, loss = self._learn(network, *fake, UNSYNCED)
            judged = self._judge(network, *off, UNSYNCED)
            return network, {"fake": loss, "unsynced": judged}

        def learn_off(network: Network) -> tuple[Network, Metrics]:
            judged = self._judge(network, *fake, UNSYNCED)
            network, loss = self._learn(network, *off, UNSYNCED)
            return network, {"fake": judged, "unsynced": loss}

        network, losses = jax.lax.cond(
            jax.random.bernoulli(coin), learn_fake, learn_off, state.discriminator
        )
        network, synced = self._learn(network, faces, heard, SYNCED)
        return state.replace(discriminator=network), {**losses, "synced": synced}

    def _learn(
        self, network: Network, faces: jax.Array, heard: jax.Array, label: int
    ) -> tuple[Network, jax.Array]:
        """One step of the discriminator on pairs of one kind, and the loss before."""

        def part(_: None, batch: Batch) -> tuple[None, tuple[jax.Array, Any]]:
            gradient = jax.value_and_grad(self._contrast)
            return None, gradient(network.params, **batch, label=label)

        _, (loss, grads) = self._in_parts(part, faces, heard)
        decay = self._config.optimizer.ema
        return network.updated(grads, self._optimizer, {}, decay), loss

    def _judge(
        self, network: Network, faces: jax.Array, heard: jax.Array, label: int
    ) -> jax.Array:
        """The loss of `_learn` without the step."""

        def part(_: None, batch: Batch) -> tuple[None, jax.Array]:
            return None, self._contrast(network.params, **batch, label=label)

        return self._in_parts(part, faces, heard)[1]

    def _in_parts(self, part: Any, faces: jax.Array, heard: jax.Array) -> Any:
        batch = {"faces": faces, "heard": heard}
        return accumulate(part, None, batch, self._config.microbatches)

    def _contrast(
        self, params: Any, faces: jax.Array, heard: jax.Array, label: int
    ) -> jax.Array:
        """Mean contrastive loss of pairs of one kind."""
        distance = self._distance(params, faces, heard)
        return contrastive(distance, label, self._config.method.margin)

    def _distance(self, params: Any, faces: jax.Array, heard: jax.Array) -> jax.Array:
        """Distances (B,) from faces (B, S, S, 3) to sound (B, rows, width)."""
        return self.discriminator.apply({"params": params}, faces, heard[..., None])


def _discriminator(config: ConfigDict, generator: Any) -> LipGANDiscriminator:
    name = config.method.discriminator
    module = models_io.build(name, _sizes(config))
    if not isinstance(module, LipGANDiscriminator):
        raise ConfigError(
            f"config.method.discriminator is {name}, which is no LipGAN "
            f"discriminator; it can be: {', '.join(DISCRIMINATORS)}"
        )
    found = module.resolution, module.audio_shape
    wanted = generator.resolution, generator.audio_shape
    if found != wanted:
        raise ConfigError(
            f"config.method.discriminator: {name} takes faces of {found[0]} pixels "
            f"and {found[1]} features of sound, {config.network} {wanted[0]} pixels "
            f"and {wanted[1]}"
        )
    return module.clone(dtype=compute_dtype(config.dtype))


def _sizes(config: ConfigDict) -> dict[str, Any]:
    """The discriminator is as wide as the generator."""
    return {key: value for key, value in config.arguments.items() if key == "width"}
