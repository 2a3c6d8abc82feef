"""Training DAVS: codes of words, a person without words, and pictures (section 8)."""

from functools import partial
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
from lipsync_jax.systems.davs import losses
from lipsync_jax.systems.davs.examples import FRAMES, examples
from lipsync_jax.systems.davs.forward import Pass, forward
from lipsync_jax.systems.davs.model import Davs
from lipsync_jax.systems.davs.model_judges import (
    Discriminator,
    ModalityDiscriminator,
    WordClassifier,
    WordsOfIdentity,
)
from lipsync_jax.systems.davs.windows import (
    STRIDE,
    Lengths,
    Starts,
    Windows,
    consecutive,
    draw,
    take,
)
from lipsync_jax.training.gradients import optimizer
from lipsync_jax.training.network import Network
from lipsync_jax.training.task import Batch, Export, Metrics

_SHOWN = 8  # clips in a preview

SOFTNESS = 0.1  # the discriminator's labels are up to so much off
RESTLESSNESS_WEIGHT = 5.0
DISGUISE_WEIGHT = 5.0


@flax.struct.dataclass
class State:
    """What a run of DAVS is made of; a pytree.

    Attributes:
      generator: the three encoders and the decoder.
      words: tells the word from codes; learns with the generator.
      discriminator: tells drawn sequences from true ones.
      modality: tells codes that were heard from those that were seen.
      identity_words: tells the word from what the identity encoder sees early.
    """

    generator: Network
    words: Network
    discriminator: Network
    modality: Network
    identity_words: Network


class DavsTask:
    """All networks of DAVS at once.

    One step teaches the three adversaries, then the generator against them as they are
    then, on the same pass of the generator.

    Of `config.method` it reads:
      words: how many words the dataset has; labels are below it.
      person_frames, word_frames, drawn_frames: see `windows.Lengths`.
      margin: distance from which on codes of different clips are apart enough.
      l1_weight, mouth_weight: of pictures' errors, see `losses.reconstruction`.
      uniformity_weight: of what the person's early maps tell about the word.
      dropout: of the lip encoder and of the classifier of those maps.
    """

    best = ("l1", "min")

    def __init__(self, config: ConfigDict):
        """Checks the configuration; computes nothing.

        Raises:
          ConfigError, ModelError: a value that makes no sense.
        """
        method = config.method
        self._config = config
        self._optimizer = optimizer(config)
        self.lengths = _lengths(config)
        self.generator = _generator(config)
        sizes = {"width": self.generator.width, "dtype": self.generator.dtype}
        resolution = self.generator.resolution
        self.words = WordClassifier(self.lengths.word, method.words, **sizes)
        self.modality = ModalityDiscriminator(**sizes)
        self.discriminator = Discriminator(self.lengths.drawn, resolution, **sizes)
        self.identity_words = WordsOfIdentity(
            self.lengths.person,
            method.words,
            resolution,
            dropout=method.dropout,
            **sizes,
        )
        self.examples = examples(resolution)

    def init(self, key: jax.Array) -> State:
        """New weights of all networks."""
        names = State.__dataclass_fields__
        keys = jax.random.split(key, len(names))
        return State(
            **{
                name: self._network(getattr(self, name), key)
                for name, key in zip(names, keys, strict=True)
            }
        )

    def train_step(
        self, state: State, batch: Batch, key: jax.Array
    ) -> tuple[State, Metrics]:
        """One step of the adversaries, then one of the generator and the words."""
        where, noise, dropout = jax.random.split(key, 3)
        starts = draw(where, self.lengths)
        off = SOFTNESS * jax.random.uniform(noise, (4,))
        return self.learn(state, batch, starts, off, dropout)

    def learn(
        self,
        state: State,
        batch: Batch,
        starts: Starts,
        off: jax.Array,
        key: jax.Array,
    ) -> tuple[State, Metrics]:
        """`train_step` with its choices made.

        Args:
          state: before.
          batch: of examples.
          starts: of the windows.
          off: (4,) how much the discriminator's labels are off, of drawn patches and
            sequences, then of true ones.
          key: of the dropout.
        """
        encoders, first, second = jax.random.split(key, 3)
        windows = take(_video(batch), batch["mfcc"], starts, self.lengths)

        def run(params: Any) -> tuple[Pass, Any]:
            return self.generator.apply(
                {"params": params, "batch_stats": state.generator.batch_stats},
                windows,
                self.lengths.drawn,
                train=True,
                method=forward,
                mutable=["batch_stats"],
                rngs={"dropout": encoders},
            )

        made, pull_back, new = jax.vjp(run, state.generator.params, has_aux=True)
        word = batch["label"]
        state, taught = self._teach(state, windows, made, word, off, first)
        loss = partial(self._loss, state=state, windows=windows, word=word, key=second)
        gradient = jax.grad(loss, (0, 1), has_aux=True)
        (slope, words), (stats, metrics) = gradient(made, state.words.params)
        (grads,) = pull_back(slope)
        judge = state.discriminator.replace(batch_stats=stats)
        state = state.replace(
            generator=self._updated(state.generator, grads, new["batch_stats"]),
            words=self._updated(state.words, words, {}),
            discriminator=judge,
        )
        norm = optax.global_norm((grads, words))
        return state, {**taught, **metrics, "grad_norm": norm}

    def eval_step(self, state: State, batch: Batch, key: jax.Array) -> Metrics:
        """What running statistics give: pictures, words and the nearness of codes."""
        return self.measure(state, batch, draw(key, self.lengths))

    def measure(self, state: State, batch: Batch, starts: Starts) -> Metrics:
        """`eval_step` of chosen windows."""
        windows = take(_video(batch), batch["mfcc"], starts, self.lengths)
        made = self.generator.apply(
            state.generator.inference_variables,
            windows,
            self.lengths.drawn,
            train=False,
            method=forward,
        )
        heard, seen = losses.together(made.heard), losses.together(made.seen)
        tell = partial(self.words.apply, state.words.inference_variables)
        words = {"heard": tell(made.heard), "seen": tell(made.seen)}
        words["both"] = words["heard"] + words["seen"]
        target = consecutive(windows.video, starts.drawn, self.lengths.drawn)
        error = jnp.abs(made.drawn_heard - target)
        mouth = losses.mouth_mask(target.shape[-2])
        return {
            "l1": error.mean(),
            "mouth_l1": (error * mouth).mean() / mouth.mean(),
            "l1_seen": jnp.abs(made.drawn_seen - target).mean(),
            "contrastive": losses.contrastive(heard, seen, self._config.method.margin),
            "recall_1": losses.retrieval(seen, heard)["recall_1"],
            **{
                f"accuracy_{name}": losses.accuracy(logits, batch["label"])
                for name, logits in words.items()
            },
        }

    def after_eval(self, state: State, metrics: Metrics) -> State:
        """Nothing depends on evaluations."""
        return state

    def preview(self, state: State, batch: Batch) -> jax.Array:
        """Of each clip's middle frame: [who | as heard | as seen | target].

        Returns:
          (n, R, 4 * R, 3) uint8.
        """
        video, middle = _video(batch)[:_SHOWN], FRAMES // 2
        face, target = video[:, 0], video[:, middle]
        mfcc = batch["mfcc"][:_SHOWN, middle, ..., None]
        variables = state.generator.inference_variables
        drawn = self.generator.apply(variables, mfcc, face, target)
        return to_levels(jnp.concatenate([face, *drawn, target], axis=2))

    def export(self, state: State) -> dict[str, Export]:
        """The generator, and what tells words and drawn sequences, to go on from."""
        config, lengths = self._config, self.lengths
        sizes = dict(config.arguments)
        width = {key: value for key, value in sizes.items() if key == "width"}
        told = {"frames": lengths.word, "words": config.method.words, **width}
        judged = {"frames": lengths.drawn, **sizes}
        return {
            "model": _export(config.network, sizes, state.generator),
            "words": _export("davs_words", told, state.words),
            "disc": _export("davs_sequence_disc", judged, state.discriminator),
        }

    def init_from(self, state: State, variables: Any) -> State:
        """Goes on from a trained generator."""
        return state.replace(generator=state.generator.replaced(variables))

    def _network(self, module: Any, key: jax.Array) -> Network:
        inputs = models_io.example_inputs(module)
        ema = self._config.optimizer.ema > 0
        return Network.create(module, inputs, self._optimizer, key, ema=ema)

    def _updated(self, network: Network, grads: Any, stats: Any) -> Network:
        decay = self._config.optimizer.ema
        return network.updated(grads, self._optimizer, stats, decay)

    def _teach(
        self,
        state: State,
        windows: Windows,
        made: Pass,
        word: jax.Array,
        off: jax.Array,
        key: jax.Array,
    ) -> tuple[State, Metrics]:
        """One step of the adversaries (section 8.2)."""
        made = jax.lax.stop_gradient(made)
        mfcc, fake, real = self._sequences(windows, made)

        def loss(params: dict[str, Any]) -> tuple[jax.Array, tuple[Any, Metrics]]:
            def judge(module: Discriminator):
                return module(mfcc, fake, train=True), module(mfcc, real, train=True)

            judged, new = self.discriminator.apply(
                {
                    "params": params["discriminator"],
                    "batch_stats": state.discriminator.batch_stats,
                },
                method=judge,
                mutable=["batch_stats"],
            )
            (patch, joint), (real_patch, real_joint) = judged
            is_heard = partial(self.modality.apply, {"params": params["modality"]})
            logits = self._identity_words(params["identity_words"], made.early, key)
            metrics = {
                "fake": losses.bce(patch, off[0]),
                "fake_joint": losses.bce(joint, off[1]),
                "real": losses.bce(real_patch, 1 - off[2]),
                "real_joint": losses.bce(real_joint, 1 - off[3]),
                "modality_seen": losses.bce(is_heard(made.seen), 0.0),
                "modality_heard": losses.bce(is_heard(made.heard), 1.0),
                "identity_words": losses.word_loss(logits, word),
            }
            halves = sum(metrics.values()) - metrics["identity_words"]
            total = halves / 2 + metrics["identity_words"]
            return total, (new["batch_stats"], metrics)

        names = ("discriminator", "modality", "identity_words")
        gradient = jax.grad(loss, has_aux=True)
        grads, (stats, metrics) = gradient(
            {name: getattr(state, name).params for name in names}
        )
        stats = {"discriminator": stats, "modality": {}, "identity_words": {}}
        state = state.replace(
            **{
                name: self._updated(getattr(state, name), grads[name], stats[name])
                for name in names
            }
        )
        norm = optax.global_norm(grads)
        return state, {**metrics, "discriminator_grad_norm": norm}

    def _loss(
        self,
        made: Pass,
        words: Any,
        state: State,
        windows: Windows,
        word: jax.Array,
        key: jax.Array,
    ) -> tuple[jax.Array, tuple[Any, Metrics]]:
        """What the generator and the words are to lower (section 8.3).

        Also gives the discriminator's statistics after it has looked again.
        """
        method = self._config.method
        mfcc, fake, _ = self._sequences(windows, made)
        (patch, joint), new = self.discriminator.apply(
            state.discriminator.variables,
            mfcc,
            fake,
            train=True,
            mutable=["batch_stats"],
        )
        is_heard = partial(self.modality.apply, state.modality.variables)
        tell = partial(self.words.apply, {"params": words})
        told = {"heard": tell(made.heard), "seen": tell(made.seen)}
        betrayed = self._identity_words(state.identity_words.params, made.early, key)
        target = consecutive(windows.video, windows.drawn, self.lengths.drawn)
        error = partial(
            losses.reconstruction,
            target=target,
            weight=method.l1_weight,
            mouth_weight=method.mouth_weight,
        )
        # Speech learns from lips, not the other way.
        seen = jax.lax.stop_gradient(losses.together(made.seen))
        terms = {
            "perceptual": losses.bce(patch, 1.0),
            "perceptual_joint": losses.bce(joint, 1.0),
            "l1_heard": error(made.drawn_heard),
            "l1_seen": error(made.drawn_seen),
            "restlessness": RESTLESSNESS_WEIGHT
            * losses.restlessness(made.drawn_heard, windows.identity),
            "contrastive": losses.contrastive(
                seen, losses.together(made.heard), method.margin
            ),
            "uniformity": method.uniformity_weight * losses.uniformity(betrayed),
            "words_heard": losses.word_loss(told["heard"], word),
            "words_seen": losses.word_loss(told["seen"], word),
            "disguise_heard": DISGUISE_WEIGHT * losses.bce(is_heard(made.heard), 0.0),
            "disguise_seen": DISGUISE_WEIGHT * losses.bce(is_heard(made.seen), 1.0),
        }
        total = sum(terms.values())
        right = {
            f"accuracy_{name}": losses.accuracy(logits, word)
            for name, logits in {**told, "identity": betrayed}.items()
        }
        return total, (new["batch_stats"], {"loss": total, **terms, **right})

    def _sequences(
        self, windows: Windows, made: Pass
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What the discriminator is given, each clip twice: as heard and as seen.

        Returns:
          MFCCs (2B, 20, 12, S), drawn and true sequences (2B, R, R, 3 * S).
        """
        cut = partial(consecutive, start=windows.drawn, count=self.lengths.drawn)
        mfcc = cut(windows.mfcc).transpose(0, 2, 3, 1)
        real = _side_by_side(cut(windows.video))
        fakes = map(_side_by_side, (made.drawn_heard, made.drawn_seen))
        return _in_turn(mfcc, mfcc), _in_turn(*fakes), _in_turn(real, real)

    def _identity_words(self, params: Any, early: jax.Array, key: jax.Array):
        """Logits (B, words) of what the person's early maps betray."""
        return self.identity_words.apply(
            {"params": params}, early, train=True, rngs={"dropout": key}
        )


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


def _lengths(config: ConfigDict) -> Lengths:
    method = config.method
    limits = {
        "person_frames": FRAMES,
        "word_frames": FRAMES // STRIDE,
        "drawn_frames": method.word_frames,
    }
    for name, limit in limits.items():
        if not 1 <= method[name] <= limit:
            raise ConfigError(
                f"config.method.{name} is {method[name]}; it can be 1 to {limit}"
            )
    return Lengths(method.person_frames, method.word_frames, method.drawn_frames)


def _export(name: str, arguments: dict[str, Any], network: Network) -> Export:
    variables = {k: v for k, v in network.inference_variables.items() if v}
    return Export(name, arguments, variables)


def _video(batch: Batch) -> jax.Array:
    """Pictures (B, 25, R, R, 3) in [0, 1]."""
    return from_levels(batch["video"])


def _side_by_side(pictures: jax.Array) -> jax.Array:
    """(B, S, R, R, 3) -> (B, R, R, 3 * S), frame by frame."""
    b, s, h, w, c = pictures.shape
    return pictures.transpose(0, 2, 3, 1, 4).reshape(b, h, w, s * c)


def _in_turn(a: jax.Array, b: jax.Array) -> jax.Array:
    """Two (B, ...) as one (2B, ...); their order makes no difference to the losses."""
    return jnp.stack([a, b], axis=1).reshape(-1, *a.shape[1:])
