"""Networks of DAVS that only training needs: discriminators and classifiers.

They give logits, before the sigmoid or softmax of the original.
"""

from functools import partial
from math import log2
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lipsync_jax.nn.blocks import Conv, ConvBlock, scaled
from lipsync_jax.systems.davs.model import CODE, IDENTITY_STAGES, MFCC_SHAPE, mfcc_rows

WORDS = 500  # of LRW
PEOPLE = 40_145  # of the identity encoder's own training

_judge = partial(Conv, kernel=4, stride=2, padding=1, bias=False, activation="leaky")

FIRST = _judge(64, norm=False, bias=True)
MIDDLE = (_judge(128), _judge(256))  # a smaller picture leaves out the first of them
LAST = _judge(512, stride=1)
PATCH = Conv(1, kernel=4, padding=1, norm=False, activation=None)
MOUTH = (slice(19, 28), slice(11, 20))  # rows and columns of the 31x31 map
MOUTH_ROWS = {
    "conv6": Conv(512, padding=0, bias=False, activation="leaky"),
    "conv9": Conv(512, kernel=7, padding=0, norm=False, activation="leaky"),
}
AUDIO = mfcc_rows(
    Conv(256, kernel=2, padding=0, bias=False, activation=None), activation=None
)


class Discriminator(nn.Module):
    """Judges frames and what is heard with them (DAVS, section 3.5).

    Attributes:
      frames: how many consecutive ones are judged together.
      resolution: side of the pictures in pixels, 64, 128 or 256.
      width: multiplier of all channel counts.
      dtype: compute type; the outputs are float32.
    """

    frames: int = 6
    resolution: int = 256
    width: float = 1.0
    dtype: Any = jnp.float32

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the inputs of a call, without the batch."""
        side = self.resolution
        return (*MFCC_SHAPE, self.frames), (side, side, 3 * self.frames)

    @nn.compact
    def __call__(
        self, mfcc: jax.Array, pictures: jax.Array, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """Logits of "real".

        Args:
          mfcc: (N, 20, 12, frames), the block of each frame.
          pictures: (N, R, R, 3 * frames) RGB in [0, 1], frame by frame.
          train: use batch statistics and update the running ones.

        Returns:
          Of patches (N, 30, 30), and of the mouth with what is heard (N,).
        """

        def block(x: jax.Array, row: Conv, name: str) -> jax.Array:
            return ConvBlock(row, dtype=self.dtype, name=name)(x, train=train)

        def run(x: jax.Array, rows: dict[str, Conv]) -> jax.Array:
            for name, row in rows.items():
                x = block(x, row.scaled(self.width), name)
            return x

        def dense(x: jax.Array, features: int, name: str) -> jax.Array:
            return nn.Dense(features, dtype=self.dtype, name=name)(x)

        middle = {f"conv2_{index}": row for index, row in enumerate(MIDDLE, 1)}
        kept = int(log2(self.resolution // 64))
        middle = dict(list(middle.items())[len(middle) - kept :])
        features = run(pictures, {"conv1": FIRST, **middle, "conv3": LAST})
        patches = block(features, PATCH, "conv4")[..., 0]

        rows, columns = MOUTH
        mouth = run(features[:, rows, columns], MOUTH_ROWS)
        heard = {f"mfcc_conv{index}": row for index, row in enumerate(AUDIO, 1)}
        heard = run(mfcc, heard)
        joint = jnp.concatenate([mouth, heard], axis=-1)[:, 0, 0]
        joint = dense(joint, scaled(512, self.width), "fc")
        return _wide(patches), _wide(dense(joint, 1, "fc2")[:, 0])


class WordsOfIdentity(nn.Module):
    """Word that a person's early maps betray; `ID_lip_discriminator` (section 3.6).

    Attributes:
      frames: how many are looked at together.
      words: how many there are.
      resolution, width, dtype: as for `Discriminator`.
      dropout: share of values set to 0 in training.
    """

    frames: int = 20
    words: int = WORDS
    resolution: int = 256
    width: float = 1.0
    dropout: float = 0.5
    dtype: Any = jnp.float32

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the inputs of a call, without the batch."""
        side = self.resolution // 4
        early = scaled(IDENTITY_STAGES[0][-1].features, self.width)
        return ((self.frames, side, side, early),)

    @nn.compact
    def __call__(self, early: jax.Array, train: bool = False) -> jax.Array:
        """Maps (B, frames, R/4, R/4, 64) of `Identity.early` -> (B, words)."""
        batch, frames = early.shape[:2]
        row = Conv(1, stride=2, norm=False)
        x = early.reshape(-1, *early.shape[2:])
        x = ConvBlock(row, dtype=self.dtype, name="conv6")(x)
        features = scaled(128, self.width)
        x = x.reshape(batch * frames, -1)
        x = nn.Dense(features, dtype=self.dtype, name="fc")(x)
        x = nn.Dropout(self.dropout)(x.reshape(batch, -1), deterministic=not train)
        return _wide(nn.Dense(self.words, dtype=self.dtype, name="fc_2")(x))


class WordClassifier(nn.Module):
    """Word that is heard or seen; `model_fusion` (section 3.7).

    Attributes:
      frames: how many codes are looked at together.
      words: how many there are.
      width, dtype: as for `Discriminator`.
    """

    frames: int = 12
    words: int = WORDS
    width: float = 1.0
    dtype: Any = jnp.float32

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the inputs of a call, without the batch."""
        return ((self.frames, scaled(CODE, self.width)),)

    @nn.compact
    def __call__(self, said: jax.Array, train: bool = False) -> jax.Array:
        """Codes (B, frames, 256) of what is said -> (B, words)."""
        x = said.reshape(said.shape[0], -1)
        x = nn.Dense(scaled(512, self.width), dtype=self.dtype, name="fc_1")(x)
        return _wide(nn.Dense(self.words, dtype=self.dtype, name="fc_2")(nn.relu(x)))


class ModalityDiscriminator(nn.Module):
    """Whether a code was heard or seen; `discriminator_audio` (section 3.7).

    Attributes:
      width, dtype: as for `Discriminator`.
    """

    width: float = 1.0
    dtype: Any = jnp.float32

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the inputs of a call, without the batch."""
        return ((scaled(CODE, self.width),),)

    @nn.compact
    def __call__(self, said: jax.Array, train: bool = False) -> jax.Array:
        """Codes (..., 256) of what is said -> logits (...) of "heard"."""
        features = scaled(CODE, self.width)
        x = nn.relu(nn.Dense(features, dtype=self.dtype, name="fc1")(said))
        return _wide(nn.Dense(1, dtype=self.dtype, name="fc2")(x)[..., 0])


class WordsOfCodes(nn.Module):
    """Word that a person's codes betray; `ID_fc` (section 3.7), published unused.

    Attributes:
      frames, words, width, dtype: as for `WordClassifier`.
    """

    frames: int = 20
    words: int = WORDS
    width: float = 1.0
    dtype: Any = jnp.float32

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the inputs of a call, without the batch."""
        return ((self.frames, scaled(CODE, self.width)),)

    @nn.compact
    def __call__(self, codes: jax.Array, train: bool = False) -> jax.Array:
        """(B, frames, 256) of `Identity.code` -> (B, words)."""
        x = codes.reshape(codes.shape[0], -1)
        return _wide(nn.Dense(self.words, dtype=self.dtype, name="fc_1")(x))


class PersonClassifier(nn.Module):
    """Who it is; `Face_ID_fc` (section 3.7), the head of the identity's own training.

    Attributes:
      people: how many there are.
      width, dtype: as for `Discriminator`.
      dropout: share of values set to 0 in training.
    """

    people: int = PEOPLE
    width: float = 1.0
    dropout: float = 0.5
    dtype: Any = jnp.float32

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the inputs of a call, without the batch."""
        return ((scaled(CODE, self.width),),)

    @nn.compact
    def __call__(self, code: jax.Array, train: bool = False) -> jax.Array:
        """(N, 256) of `Identity.code` -> (N, people)."""
        x = nn.Dropout(self.dropout)(code, deterministic=not train)
        return _wide(nn.Dense(self.people, dtype=self.dtype, name="fc")(x))


def _wide(x: jax.Array) -> jax.Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


DISCRIMINATORS: dict[str, Discriminator] = {
    "davs_disc": Discriminator(frames=1),
    "davs_sequence_disc": Discriminator(),
}
CLASSIFIERS: dict[str, nn.Module] = {
    "davs_identity_words": WordsOfIdentity(),
    "davs_words": WordClassifier(),
    "davs_modality": ModalityDiscriminator(),
    "davs_identity_fc": WordsOfCodes(),
    "davs_people": PersonClassifier(),
}
