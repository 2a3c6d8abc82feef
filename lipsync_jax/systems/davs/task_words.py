"""Training DAVS's codes: what is said sounds and looks the same (section 9, stage B).

The person can be kept out of what is seen. The published program lacks this direction;
it is the other one with the parts exchanged.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from lipsync_jax.errors import ConfigError
from lipsync_jax.nn.pixels import from_levels
from lipsync_jax.systems.davs import losses
from lipsync_jax.systems.davs.examples import FRAMES, examples
from lipsync_jax.systems.davs.forward import Codes, encode
from lipsync_jax.systems.davs.model_judges import (
    ModalityDiscriminator,
    PersonClassifier,
    WordClassifier,
)
from lipsync_jax.systems.davs.stage import Stage, State, people_of
from lipsync_jax.systems.davs.windows import STRIDE, Lengths, Starts, draw, take
from lipsync_jax.training.task import Batch, Metrics

LEARNERS = ("generator", "words")  # all others are adversaries
# What has no second side, such as false beside true; of the others each counts half.
_WHOLE = {"person", "identity_words"}


class DavsWordsTask(Stage):
    """The encoders of speech and lips, and the words that are told from either.

    One step teaches the adversaries, then the encoders against them as they are then,
    on the same pass of the encoders.

    Of `config.method` it reads, besides what `Stage` does:
      words: how many words the dataset has; labels are below it.
      word_frames: see `windows.Lengths`.
      margin: distance from which on codes of different clips are apart enough.
      person_weight: of what codes of lips tell about who speaks. 0: nobody asks, else
        clips have to name their speakers.
    """

    best = ("accuracy_both", "max")

    def __init__(self, config: ConfigDict):
        """As for `Stage`."""
        self._people = {}
        if config.method.person_weight:
            self._people = people_of(config, config.data.train)
        super().__init__(config)
        self.lengths = self.windows()
        self.adversaries = tuple(n for n in self.modules if n not in LEARNERS)
        self.examples = examples(self.generator.resolution, self._people)

    def judges(self) -> dict[str, nn.Module]:
        """See `Stage`."""
        method, sizes = self._config.method, self._sizes()
        judges = {
            "words": WordClassifier(method.word_frames, method.words, **sizes),
            "modality": ModalityDiscriminator(**sizes),
        }
        if people := len(self._people):
            judges["person"] = PersonClassifier(people, dropout=method.dropout, **sizes)
        return judges

    def windows(self) -> Lengths:
        """Lengths of a step's windows."""
        frames = self._config.method.word_frames
        check_length("word_frames", frames, FRAMES // STRIDE)
        return Lengths(person=1, word=frames, drawn=1)

    def train_step(
        self, state: State, batch: Batch, key: jax.Array
    ) -> tuple[State, Metrics]:
        """One step of the adversaries, then one of the encoders and the words."""
        where, dropout = jax.random.split(key)
        return self.learn(state, batch, draw(where, self.lengths), dropout)

    def learn(
        self, state: State, batch: Batch, starts: Starts, key: jax.Array
    ) -> tuple[State, Metrics]:
        """`train_step` with its windows chosen."""
        encoders, first, second = jax.random.split(key, 3)
        windows = take(video_of(batch), batch["mfcc"], starts, self.lengths)

        def run(params: Any) -> tuple[Codes, Any]:
            codes, new = self.generator.apply(
                {"params": params, "batch_stats": state.generator.batch_stats},
                windows,
                train=True,
                method=encode,
                mutable=["batch_stats"],
                rngs={"dropout": encoders},
            )
            return codes, new["batch_stats"]

        def lesson(params: Any, made: Codes) -> Any:
            metrics = self._code_lessons(params, made, batch, first)
            return lesson_total(metrics), ({}, metrics)

        def loss(words: Any, made: Codes, state: State) -> Any:
            terms, right = self._code_terms(words, made, state, batch, second)
            heard, seen = losses.together(made.heard), losses.together(made.seen)
            # Either moves towards the other, which stands still meanwhile.
            terms |= {
                f"contrastive_{name}": losses.contrastive(
                    codes, jax.lax.stop_gradient(goal), self._config.method.margin
                )
                for name, codes, goal in (("heard", heard, seen), ("seen", seen, heard))
            }
            total = sum(terms.values())
            return total, ({}, {"loss": total, **terms, **right})

        return self._learn(state, run, lesson, loss, self.adversaries)

    def eval_step(self, state: State, batch: Batch, key: jax.Array) -> Metrics:
        """What running statistics give: words, and the nearness of codes."""
        starts = draw(key, self.lengths)
        windows = take(video_of(batch), batch["mfcc"], starts, self.lengths)
        codes = self.generator.apply(
            state.generator.inference_variables, windows, train=False, method=encode
        )
        return self._measured(state, codes, batch["label"])

    def preview(self, state: State, batch: Batch) -> None:
        """Codes are nothing to look at."""

    def _who(self, params: Any, seen: jax.Array, key: jax.Array) -> jax.Array:
        """Logits (B * T, people) of what codes (B, T, D) tell of the speaker."""
        return self.modules["person"].apply(
            {"params": params},
            seen.reshape(-1, seen.shape[-1]),
            train=True,
            rngs={"dropout": key},
        )

    def _code_lessons(
        self, params: Any, made: Codes, batch: Batch, key: jax.Array
    ) -> Metrics:
        """What the adversaries of codes are to lower (section 8.2).

        Args:
          params: of the adversaries, by name.
          made: has codes `heard` and `seen` (B, T, D).
          batch: of examples.
          key: of the dropout.
        """
        is_heard = partial(
            self.modules["modality"].apply, {"params": params["modality"]}
        )
        lessons = {
            "modality_seen": losses.bce(is_heard(made.seen), 0.0),
            "modality_heard": losses.bce(is_heard(made.heard), 1.0),
        }
        if self._people:
            logits = self._who(params["person"], made.seen, key)
            person = jnp.repeat(batch["person"], made.seen.shape[1])
            lessons["person"] = losses.word_loss(logits, person)
        return lessons

    def _code_terms(
        self, words: Any, made: Codes, state: State, batch: Batch, key: jax.Array
    ) -> tuple[dict[str, jax.Array], Metrics]:
        """What codes cost the encoders (section 8.3), and how often words are right.

        Args:
          words: params of the words' network.
          made: has codes `heard` and `seen` (B, T, D).
          state: with the adversaries as they are to be deceived.
          batch: of examples.
          key: of the dropout.
        """
        method, word = self._config.method, batch["label"]
        is_heard = partial(self.modules["modality"].apply, state.modality.variables)
        tell = partial(self.modules["words"].apply, {"params": words})
        told = {"heard": tell(made.heard), "seen": tell(made.seen)}
        terms = {
            "words_heard": losses.word_loss(told["heard"], word),
            "words_seen": losses.word_loss(told["seen"], word),
            "disguise_heard": losses.bce(is_heard(made.heard), 0.0),
            "disguise_seen": losses.bce(is_heard(made.seen), 1.0),
        }
        right = {
            f"accuracy_{name}": losses.accuracy(logits, word)
            for name, logits in told.items()
        }
        if self._people:
            logits = self._who(state.person.params, made.seen, key)
            terms["anonymity"] = method.person_weight * losses.uniformity(logits)
            person = jnp.repeat(batch["person"], made.seen.shape[1])
            right["accuracy_person"] = losses.accuracy(logits, person)
        return terms, right

    def _measured(self, state: State, made: Codes, word: jax.Array) -> Metrics:
        """How well codes of held-out clips tell the words, and find each other."""
        heard, seen = losses.together(made.heard), losses.together(made.seen)
        tell = partial(self.modules["words"].apply, state.words.inference_variables)
        words = {"heard": tell(made.heard), "seen": tell(made.seen)}
        words["both"] = words["heard"] + words["seen"]
        return {
            "contrastive": losses.contrastive(heard, seen, self._config.method.margin),
            "recall_1": losses.retrieval(seen, heard)["recall_1"],
            **{
                f"accuracy_{name}": losses.accuracy(logits, word)
                for name, logits in words.items()
            },
        }


def lesson_total(lessons: Metrics) -> jax.Array:
    """What adversaries are to lower, from the loss of each of their tasks."""
    return sum(x if name in _WHOLE else x / 2 for name, x in lessons.items())


def check_length(name: str, frames: int, limit: int) -> None:
    """Refuses windows that do not fit into what they are cut from."""
    if not 1 <= frames <= limit:
        raise ConfigError(f"config.method.{name} is {frames}; it can be 1 to {limit}")


def video_of(batch: Batch) -> jax.Array:
    """Pictures (B, 25, R, R, 3) in [0, 1]."""
    return from_levels(batch["video"])
