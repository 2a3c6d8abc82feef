"""Training Lip2Wav: to say what was said, from faces alone."""

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
from lipsync_jax.systems.lip2wav.examples import examples
from lipsync_jax.systems.lip2wav.losses import (
    reconstruction,
    regularisation,
    teacher_forcing,
)
from lipsync_jax.systems.lip2wav.model import VARIANTS, Lip2Wav, Speech
from lipsync_jax.training.gradients import accumulate, optimizer
from lipsync_jax.training.network import Network
from lipsync_jax.training.task import Batch, Export, Metrics

_SHOWN = 4  # examples in a preview


@flax.struct.dataclass
class State:
    """What a run of Lip2Wav is made of; a pytree.

    Attributes:
      generator: what learns.
      step: () int32, updates so far: the network is told less and less.
      speaker: variables of the frozen speaker encoder; {} for one speaker.
    """

    generator: Network
    step: jax.Array
    speaker: Any


class Lip2WavTask:
    """The network against squared and absolute errors of mel spectrograms.

    `config.method` has:
      speaker_encoder: model folder of the speaker encoder; "" for one speaker.
      forcing_start, forcing_length: see `losses.teacher_forcing`.
    """

    best = ("l1", "min")

    def __init__(self, config: ConfigDict):
        """Checks the configuration, and reads the speaker encoder if there is one.

        Raises:
          ConfigError, ModelError: a value that makes no sense.
        """
        self.module = _module(config)
        self._speaker, self._speaker_variables = None, {}
        if folder := config.method.speaker_encoder:
            model = models_io.load(folder, "speaker_encoder")
            self._speaker, self._speaker_variables = model.module, model.variables
        self.examples = examples(self.module, voice=self._speaker is not None)
        self._config = config
        self._optimizer = optimizer(config)

    def init(self, key: jax.Array) -> State:
        """New weights, and the speaker encoder as it was read."""
        inputs = models_io.example_inputs(self.module)
        ema = self._config.optimizer.ema > 0
        generator = Network.create(self.module, inputs, self._optimizer, key, ema=ema)
        speaker = jax.tree.map(jnp.asarray, self._speaker_variables)
        return State(generator, jnp.zeros((), jnp.int32), speaker)

    def train_step(
        self, state: State, batch: Batch, key: jax.Array
    ) -> tuple[State, Metrics]:
        """One step; the network is told of each frame or not, all examples alike."""
        method = self._config.method
        told = teacher_forcing(state.step, method.forcing_start, method.forcing_length)
        forcing, dropout = jax.random.split(key)

        def part(carry: Any, batch: Batch) -> tuple[Any, tuple[Any, Metrics]]:
            stats, key = carry
            next_key, key = jax.random.split(key)

            def loss(params: Any) -> tuple[jax.Array, tuple[Any, Metrics]]:
                steps = batch["mel"].shape[1] // self.module.reduction
                said, new = self.module.apply(
                    {"params": params, "batch_stats": stats},
                    from_levels(batch["faces"]),
                    self._who(state, batch),
                    batch["mel"],
                    jax.random.uniform(forcing, (steps,)) < told,
                    train=True,
                    rngs={"dropout": key},
                    mutable=["batch_stats"],
                )
                losses = reconstruction(said, batch["mel"])
                losses["regularisation"] = regularisation(params)
                total = sum(losses.values())
                return total, (new["batch_stats"], {"loss": total, **losses})

            gradient = jax.grad(loss, has_aux=True)
            grads, (stats, losses) = gradient(state.generator.params)
            return (stats, next_key), (grads, losses)

        network = state.generator
        (stats, _), (grads, metrics) = accumulate(
            part, (network.batch_stats, dropout), batch, self._config.microbatches
        )
        decay = self._config.optimizer.ema
        network = network.updated(grads, self._optimizer, stats, decay)
        metrics |= {"grad_norm": optax.global_norm(grads), "teacher_forcing": told}
        return state.replace(generator=network, step=state.step + 1), metrics

    def eval_step(self, state: State, batch: Batch, key: jax.Array) -> Metrics:
        """Errors of what the network says when it is told nothing, as in use."""
        said = self._say(state, batch, key)
        # How sure attention is of one frame: 1 is all of it. It grows as training
        # succeeds.
        focus = said.alignments.max(axis=1).mean()
        losses = reconstruction(said, batch["mel"])
        return {"l1": jnp.abs(said.mel - batch["mel"]).mean(), "focus": focus, **losses}

    def after_eval(self, state: State, metrics: Metrics) -> State:
        """Nothing depends on evaluations."""
        return state

    def preview(self, state: State, batch: Batch) -> jax.Array:
        """Of each example, one below the other: what was said, is said, alignments.

        Time goes to the right; alignments have a row for each face.

        Returns:
          (n, 2 * n_mels + T, M, 3) uint8.
        """
        batch = {name: value[:_SHOWN] for name, value in batch.items()}
        said = self._say(state, batch, jax.random.key(0))
        alignments = said.alignments / said.alignments.max(axis=1, keepdims=True)
        rows = [_picture(batch["mel"]), _picture(said.mel)]
        rows.append(jnp.repeat(alignments, self.module.reduction, axis=2))
        grey = jnp.concatenate(rows, axis=1)
        return to_levels(jnp.repeat(grey[..., None], 3, axis=-1))

    def export(self, state: State) -> dict[str, Export]:
        """The network."""
        config, variables = self._config, state.generator.inference_variables
        return {"model": Export(config.network, dict(config.arguments), variables)}

    def init_from(self, state: State, variables: Any) -> State:
        """Goes on from a trained network."""
        return state.replace(generator=state.generator.replaced(variables))

    def _say(self, state: State, batch: Batch, key: jax.Array) -> Speech:
        """What the network says by itself."""
        return self.module.apply(
            state.generator.inference_variables,
            from_levels(batch["faces"]),
            self._who(state, batch),
            rngs={"dropout": key},
        )

    def _who(self, state: State, batch: Batch) -> jax.Array:
        """Who speaks, (N, speaker_size)."""
        if self._speaker is None:
            size = batch["faces"].shape[0], self.module.speaker_size
            return jnp.zeros(size, batch["mel"].dtype)
        return self._speaker.apply(state.speaker, batch["voice"])


def _picture(mel: jax.Array) -> jax.Array:
    """Spectrograms (N, M, n_mels) as pictures (N, n_mels, M), low below, in [0, 1]."""
    return (mel.swapaxes(1, 2)[:, ::-1] + 4) / 8


def _module(config: ConfigDict) -> Lip2Wav:
    module = models_io.build(config.network, dict(config.arguments))
    if not isinstance(module, Lip2Wav):
        raise ConfigError(
            f"config.network is {config.network}, which is no network of Lip2Wav; the "
            f"task {config.task} needs one: {', '.join(VARIANTS)}"
        )
    if module.mel_frames(module.frames) % module.reduction:
        raise ConfigError(
            f"{module.frames} faces at {module.fps:g} per second last "
            f"{module.mel_frames(module.frames)} mel frames, which must be a multiple "
            f"of {module.reduction}; change config.arguments.frames"
        )
    return module.clone(dtype=compute_dtype(config.dtype))
