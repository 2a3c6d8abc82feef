"""Training DAVS: codes of words, a person without words, and pictures (section 8)."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lipsync_jax.nn.pixels import to_levels
from lipsync_jax.systems.davs import losses
from lipsync_jax.systems.davs.examples import FRAMES
from lipsync_jax.systems.davs.forward import Pass, forward
from lipsync_jax.systems.davs.model_judges import Discriminator, WordsOfIdentity
from lipsync_jax.systems.davs.stage import State
from lipsync_jax.systems.davs.task_words import (
    DavsWordsTask,
    check_length,
    lesson_total,
    video_of,
)
from lipsync_jax.systems.davs.windows import (
    Lengths,
    Starts,
    Windows,
    consecutive,
    draw,
    take,
)
from lipsync_jax.training.task import Batch, Metrics

_SHOWN = 8  # clips in a preview

SOFTNESS = 0.1  # the discriminator's labels are up to so much off
RESTLESSNESS_WEIGHT = 5.0
DISGUISE_WEIGHT = 5.0


class DavsTask(DavsWordsTask):
    """All networks of DAVS at once.

    One step teaches the adversaries, then the generator against them as they are
    then, on the same pass of the generator.

    Of `config.method` it reads, besides what `DavsWordsTask` does:
      person_frames, drawn_frames: see `windows.Lengths`.
      l1_weight, mouth_weight: of pictures' errors, see `losses.reconstruction`.
      uniformity_weight: of what the person's early maps tell about the word.
    """

    best = ("l1", "min")

    def judges(self) -> dict[str, nn.Module]:
        """See `Stage`."""
        method, sizes = self._config.method, self._sizes()
        resolution = self.generator.resolution
        return {
            **super().judges(),
            "discriminator": Discriminator(method.drawn_frames, resolution, **sizes),
            "identity_words": WordsOfIdentity(
                method.person_frames,
                method.words,
                resolution,
                dropout=method.dropout,
                **sizes,
            ),
        }

    def windows(self) -> Lengths:
        """Lengths of a step's windows."""
        method, lengths = self._config.method, super().windows()
        check_length("person_frames", method.person_frames, FRAMES)
        check_length("drawn_frames", method.drawn_frames, lengths.word)
        return Lengths(method.person_frames, lengths.word, method.drawn_frames)

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
        windows = take(video_of(batch), batch["mfcc"], starts, self.lengths)

        def run(params: Any) -> tuple[Pass, Any]:
            made, new = self.generator.apply(
                {"params": params, "batch_stats": state.generator.batch_stats},
                windows,
                self.lengths.drawn,
                train=True,
                method=forward,
                mutable=["batch_stats"],
                rngs={"dropout": encoders},
            )
            return made, new["batch_stats"]

        def lesson(params: Any, made: Pass) -> Any:
            """Section 8.2."""
            codes, early = jax.random.split(first)
            lessons = self._code_lessons(params, made, batch, codes)
            judged, stats = self._judge(params, state, windows, made, off)
            logits = self._identity_words(params, made.early, early)
            lessons |= judged | {"identity_words": losses.word_loss(logits, word)}
            return lesson_total(lessons), ({"discriminator": stats}, lessons)

        def loss(words: Any, made: Pass, state: State) -> Any:
            """Section 8.3."""
            codes, early = jax.random.split(second)
            terms, right = self._code_terms(words, made, state, batch, codes)
            pictures, stats = self._picture_terms(state, windows, made)
            params = {"identity_words": state.identity_words.params}
            betrayed = self._identity_words(params, made.early, early)
            method = self._config.method
            # Speech learns from lips, not the other way.
            seen = jax.lax.stop_gradient(losses.together(made.seen))
            heard = losses.together(made.heard)
            terms |= pictures | {
                "contrastive": losses.contrastive(seen, heard, method.margin),
                "uniformity": method.uniformity_weight * losses.uniformity(betrayed),
            }
            for name in ("disguise_heard", "disguise_seen"):
                terms[name] *= DISGUISE_WEIGHT
            right["accuracy_identity"] = losses.accuracy(betrayed, word)
            total = sum(terms.values())
            return total, ({"discriminator": stats}, {"loss": total, **terms, **right})

        word = batch["label"]
        return self._learn(state, run, lesson, loss, self.adversaries)

    def eval_step(self, state: State, batch: Batch, key: jax.Array) -> Metrics:
        """What running statistics give: pictures, words and the nearness of codes."""
        return self.measure(state, batch, draw(key, self.lengths))

    def measure(self, state: State, batch: Batch, starts: Starts) -> Metrics:
        """`eval_step` of chosen windows."""
        windows = take(video_of(batch), batch["mfcc"], starts, self.lengths)
        made = self.generator.apply(
            state.generator.inference_variables,
            windows,
            self.lengths.drawn,
            train=False,
            method=forward,
        )
        target = consecutive(windows.video, starts.drawn, self.lengths.drawn)
        error = jnp.abs(made.drawn_heard - target)
        mouth = losses.mouth_mask(target.shape[-2])
        return {
            "l1": error.mean(),
            "mouth_l1": (error * mouth).mean() / mouth.mean(),
            "l1_seen": jnp.abs(made.drawn_seen - target).mean(),
            **self._measured(state, made, batch["label"]),
        }

    def preview(self, state: State, batch: Batch) -> jax.Array:
        """Of each clip's middle frame: [who | as heard | as seen | target].

        Returns:
          (n, R, 4 * R, 3) uint8.
        """
        video, middle = video_of(batch)[:_SHOWN], FRAMES // 2
        face, target = video[:, 0], video[:, middle]
        mfcc = batch["mfcc"][:_SHOWN, middle, ..., None]
        variables = state.generator.inference_variables
        drawn = self.generator.apply(variables, mfcc, face, target)
        return to_levels(jnp.concatenate([face, *drawn, target], axis=2))

    def _judge(
        self, params: Any, state: State, windows: Windows, made: Pass, off: jax.Array
    ) -> tuple[Metrics, Any]:
        """The discriminator's losses, and the statistics that its looks leave."""
        mfcc, fake, real = self._sequences(windows, made)

        def judge(module: Discriminator):
            return module(mfcc, fake, train=True), module(mfcc, real, train=True)

        ((patch, joint), (real_patch, real_joint)), new = self.modules[
            "discriminator"
        ].apply(
            {
                "params": params["discriminator"],
                "batch_stats": state.discriminator.batch_stats,
            },
            method=judge,
            mutable=["batch_stats"],
        )
        judged = {
            "fake": losses.bce(patch, off[0]),
            "fake_joint": losses.bce(joint, off[1]),
            "real": losses.bce(real_patch, 1 - off[2]),
            "real_joint": losses.bce(real_joint, 1 - off[3]),
        }
        return judged, new["batch_stats"]

    def _picture_terms(
        self, state: State, windows: Windows, made: Pass
    ) -> tuple[dict[str, jax.Array], Any]:
        """What pictures cost the generator, and the discriminator's statistics."""
        mfcc, fake, _ = self._sequences(windows, made)
        (patch, joint), new = self.modules["discriminator"].apply(
            state.discriminator.variables,
            mfcc,
            fake,
            train=True,
            mutable=["batch_stats"],
        )
        method = self._config.method
        error = partial(
            losses.reconstruction,
            target=consecutive(windows.video, windows.drawn, self.lengths.drawn),
            weight=method.l1_weight,
            mouth_weight=method.mouth_weight,
        )
        terms = {
            "perceptual": losses.bce(patch, 1.0),
            "perceptual_joint": losses.bce(joint, 1.0),
            "l1_heard": error(made.drawn_heard),
            "l1_seen": error(made.drawn_seen),
            "restlessness": RESTLESSNESS_WEIGHT
            * losses.restlessness(made.drawn_heard, windows.identity),
        }
        return terms, new["batch_stats"]

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

    def _identity_words(
        self, params: Any, early: jax.Array, key: jax.Array
    ) -> jax.Array:
        """Logits (B, words) of what the person's early maps betray."""
        return self.modules["identity_words"].apply(
            {"params": params["identity_words"]},
            early,
            train=True,
            rngs={"dropout": key},
        )


def _side_by_side(pictures: jax.Array) -> jax.Array:
    """(B, S, R, R, 3) -> (B, R, R, 3 * S), frame by frame."""
    b, s, h, w, c = pictures.shape
    return pictures.transpose(0, 2, 3, 1, 4).reshape(b, h, w, s * c)


def _in_turn(a: jax.Array, b: jax.Array) -> jax.Array:
    """Two (B, ...) as one (2B, ...); their order makes no difference to the losses."""
    return jnp.stack([a, b], axis=1).reshape(-1, *a.shape[1:])
