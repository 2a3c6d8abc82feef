"""What the stages of DAVS's training have in common: networks that learn together.

Each goes on from the generator that the one before has left (`--init_from`), and from
other networks of it as `config.method.start_from` says.
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import optax
from ml_collections import ConfigDict

from lipsync_jax import models_io
from lipsync_jax.data.source import open_split
from lipsync_jax.errors import ConfigError, ModelError
from lipsync_jax.nn.dtypes import compute_dtype
from lipsync_jax.systems.davs.model import Davs
from lipsync_jax.training.gradients import optimizer
from lipsync_jax.training.network import Network
from lipsync_jax.training.task import Export, Metrics

# Networks beside the generator -> their names in model folders.
NETWORKS = {
    "words": "davs_words",
    "modality": "davs_modality",
    "person": "davs_people",
    "discriminator": "davs_sequence_disc",
    "identity_words": "davs_identity_words",
}


@flax.struct.dataclass
class State:
    """What a run is made of; a pytree. A network that its stage lacks is None.

    Attributes:
      generator: the three encoders and the decoder.
      words: tells the word from codes; learns with the generator.
      modality: tells codes that were heard from those that were seen.
      person: tells who it is: from what the identity encoder sees, with which it
        learns, or, as an adversary, from codes of what is said.
      discriminator: tells drawn sequences from true ones.
      identity_words: tells the word from what the identity encoder sees early.
    """

    generator: Network
    words: Network | None = None
    modality: Network | None = None
    person: Network | None = None
    discriminator: Network | None = None
    identity_words: Network | None = None


# Parameters of networks by name -> (loss, (new statistics by name, metrics)).
Lesson = Callable[..., tuple[jax.Array, tuple[dict[str, Any], Metrics]]]


class Stage:
    """The generator, and what learns with it or against it.

    Of `config.method` it reads:
      dropout: of the lip encoder and of classifiers.
      start_from: name of a network -> model folder whose weights it begins with, or ""
        for new ones.

    Attributes:
      modules: of all networks, by their names in `State`.
    """

    def __init__(self, config: ConfigDict):
        """Checks the configuration, and reads the networks to begin with.

        Raises:
          ConfigError, ModelError: a value that makes no sense.
        """
        self._config = config
        self._optimizer = optimizer(config)
        self.generator = _generator(config)
        self.modules = {"generator": self.generator, **self.judges()}
        self._begun = {
            name: _read(folder, name, self.modules)
            for name, folder in config.method.start_from.items()
            if folder
        }

    def judges(self) -> dict[str, nn.Module]:
        """The networks beside the generator."""
        raise NotImplementedError

    def init(self, key: jax.Array) -> State:
        """The networks to begin with; new weights of all others."""
        keys = jax.random.split(key, len(self.modules))
        ema = self._config.optimizer.ema > 0
        networks = {}
        for (name, module), key in zip(self.modules.items(), keys, strict=True):
            inputs = models_io.example_inputs(module)
            made = Network.create(module, inputs, self._optimizer, key, ema=ema)
            if name in self._begun:
                made = made.replaced(jax.tree.map(jax.numpy.asarray, self._begun[name]))
            networks[name] = made
        return State(**networks)

    def after_eval(self, state: State, metrics: Metrics) -> State:
        """Nothing depends on evaluations."""
        return state

    def export(self, state: State) -> dict[str, Export]:
        """The generator as "model", and all others, to go on from."""
        config = self._config
        exports = {
            "model": Export(
                config.network,
                dict(config.arguments),
                state.generator.inference_variables,
            )
        }
        for name in self.modules.keys() & NETWORKS:
            variables = getattr(state, name).inference_variables
            variables = {kind: tree for kind, tree in variables.items() if tree}
            arguments = _arguments(self.modules[name])
            exports[name] = Export(NETWORKS[name], arguments, variables)
        return exports

    def init_from(self, state: State, variables: Any) -> State:
        """Goes on from a trained generator."""
        return state.replace(generator=state.generator.replaced(variables))

    def _sizes(self) -> dict[str, Any]:
        """Arguments that all networks have in common."""
        return {"width": self.generator.width, "dtype": self.generator.dtype}

    def _updated(
        self, state: State, grads: Mapping[str, Any], stats: Mapping[str, Any]
    ) -> State:
        """The state after a step of some networks; those without `stats` have none."""
        decay = self._config.optimizer.ema
        return state.replace(
            **{
                name: getattr(state, name).updated(
                    grad, self._optimizer, stats.get(name, {}), decay
                )
                for name, grad in grads.items()
            }
        )

    def _learn(
        self,
        state: State,
        run: Callable[[Any], tuple[Any, Any]],
        lesson: Lesson,
        loss: Lesson,
        adversaries: tuple[str, ...],
    ) -> tuple[State, Metrics]:
        """One step of the adversaries, then one of generator and words against them.

        Both are on the same pass of the generator.

        Args:
          state: before.
          run: (the generator's params) -> (what it makes, its new statistics).
          lesson: (params of the adversaries, what was made) -> see `Lesson`.
          loss: (params of the words, what was made, state after the lesson) -> the
            same; statistics are those of adversaries that looked again.
          adversaries: names of networks.
        """
        made, pull_back, stats = jax.vjp(run, state.generator.params, has_aux=True)
        params = {name: getattr(state, name).params for name in adversaries}
        fixed = jax.lax.stop_gradient(made)
        taught, (new, lessons) = jax.grad(lesson, has_aux=True)(params, fixed)
        state = self._updated(state, taught, new)

        gradient = jax.grad(loss, (0, 1), has_aux=True)
        (words, slope), (new, metrics) = gradient(state.words.params, made, state)
        (grads,) = pull_back(slope)
        grads = {"generator": grads, "words": words}
        state = self._updated(state, grads, {"generator": stats})
        looked = {
            name: getattr(state, name).replace(batch_stats=stats)
            for name, stats in new.items()
        }
        norms = {
            "discriminator_grad_norm": optax.global_norm(taught),
            "grad_norm": optax.global_norm(grads),
        }
        return state.replace(**looked), {**lessons, **metrics, **norms}


def people_of(config: ConfigDict, split: str) -> dict[str, int]:
    """Name of each speaker in a split of the dataset -> number.

    Raises:
      ConfigError: no dataset is configured, or its clips do not say who speaks.
      DataError: it is not there.
    """
    if not config.data.directory:
        raise ConfigError(
            f"the task {config.task} has to know who speaks in the clips: give the "
            "folder that `lipsync build` printed with --config.data.directory=DIR"
        )
    source = open_split(config.data.directory, split)
    names = sorted({meta.speaker for meta in source.meta} - {""})
    if len(names) < 2:
        raise ConfigError(
            f"{source.name}: its clips name {len(names)} speakers; people can only be "
            "told apart where there are several"
        )
    return {name: number for number, name in enumerate(names)}


def _generator(config: ConfigDict) -> Davs:
    module = models_io.build(config.network, dict(config.arguments))
    if not isinstance(module, Davs):
        raise ConfigError(
            f"config.network is {config.network}, which is no DAVS generator; the task "
            f"{config.task} needs davs"
        )
    if config.microbatches != 1 or config.batch_size < 2:
        raise ConfigError(
            f"config.batch_size={config.batch_size} in {config.microbatches} "
            f"microbatches: the task {config.task} takes a batch whole, at least two "
            "clips; set config.microbatches to 1 and lower config.batch_size"
        )
    dropout = config.method.dropout
    return module.clone(dropout=dropout, dtype=compute_dtype(config.dtype))


def _arguments(module: nn.Module) -> dict[str, Any]:
    """What a model folder has to say of a module's sizes."""
    known = models_io.ARGUMENTS & type(module).__dataclass_fields__.keys()
    return {name: getattr(module, name) for name in sorted(known)}


def _read(folder: str, name: str, modules: Mapping[str, nn.Module]) -> Any:
    """The variables of one of the networks to begin with."""
    if name not in modules:
        raise ConfigError(
            f"config.method.start_from.{name}: this stage trains no such network; it "
            f"trains: {', '.join(modules.keys() & NETWORKS)}"
        )
    model = models_io.load(folder)
    found = model.network, _arguments(model.module)
    needed = NETWORKS[name], _arguments(modules[name])
    if found != needed:
        raise ModelError(
            f"{folder}: holds {found[0]} of {found[1]}; config.method.start_from."
            f"{name} needs {needed[0]} of {needed[1]}"
        )
    return model.variables
