"""Training LipGAN against a discriminator that judges faces and speech together."""

from functools import partial
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
from lipsync_jax.systems.lipgan.model import (
    DISCRIMINATORS,
    LipGAN,
    LipGANDiscriminator,
)
from lipsync_jax.training.gradients import accumulate
from lipsync_jax.training.network import Network
from lipsync_jax.training.task import Batch, Export, Metrics

_METHOD = {"discriminator", "adversarial_weight", "margin", "unsynced"}


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
        if missing := _METHOD - set(config.method):
            raise ConfigError(
                f"config.method lacks {', '.join(sorted(missing))}, which the task "
                f"{config.task} reads; start from configs/lipgan.py"
            )
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

        heads = jax.random.bernoulli(coin)

        def choose(if_heads: Any, if_tails: Any) -> Any:
            return jax.tree.map(partial(jnp.where, heads), if_heads, if_tails)

        # Chosen by value: with `cond` the program would hold each update twice.
        taught, others = choose((fake, off), (off, fake))
        before = state.discriminator
        network, loss = self._learn(before, *taught, UNSYNCED)
        # Drawn faces come first: if they teach, true ones are judged by what that left.
        params = choose(network.params, before.params)
        judged = self._judge(params, *others, UNSYNCED)
        fake_loss, off_loss = choose((loss, judged), (judged, loss))
        network, synced = self._learn(network, faces, heard, SYNCED)
        losses = {"fake": fake_loss, "unsynced": off_loss, "synced": synced}
        return state.replace(discriminator=network), losses

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
        self, params: Any, faces: jax.Array, heard: jax.Array, label: int
    ) -> jax.Array:
        """The loss of `_learn` without the step."""

        def part(_: None, batch: Batch) -> tuple[None, jax.Array]:
            return None, self._contrast(params, **batch, label=label)

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


def _discriminator(config: ConfigDict, generator: LipGAN) -> LipGANDiscriminator:
    name = config.method.discriminator
    fitting = [
        key for key, module in DISCRIMINATORS.items() if _fits(module, generator)
    ]
    if name not in DISCRIMINATORS:
        raise ConfigError(
            f"config.method.discriminator is {name!r}, which is no LipGAN "
            f"discriminator; {config.network} needs {' or '.join(fitting)}"
        )
    module = models_io.build(name, _sizes(config))
    if name not in fitting:
        rows, columns = module.audio_shape
        raise ConfigError(
            f"config.method.discriminator: {name} judges faces of {module.resolution} "
            f"pixels and {rows}x{columns} features of sound; {config.network} needs "
            f"{' or '.join(fitting)}"
        )
    return module.clone(dtype=compute_dtype(config.dtype))


def _fits(module: LipGANDiscriminator, generator: LipGAN) -> bool:
    """Whether it judges what the generator draws and hears."""
    shapes = (module.resolution, module.audio_shape)
    return shapes == (generator.resolution, generator.audio_shape)


def _sizes(config: ConfigDict) -> dict[str, Any]:
    """The discriminator is as wide as the generator."""
    return {key: value for key, value in config.arguments.items() if key == "width"}
