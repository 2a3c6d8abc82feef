"""Networks of DAVS that are used: three encoders and the decoder.

Smaller resolutions than the published 256 pixels have the same tables, less what would
halve a map below 4x4: levels of the hourglass, first blocks of the decoder.
"""

from functools import partial
from math import log2
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lipsync_jax.nn.blocks import Conv, ConvBlock, Rows, scaled
from lipsync_jax.nn.norm import EPSILON
from lipsync_jax.nn.resize import upsample
from lipsync_jax.systems.davs.layers import (
    Hourglass,
    MaxFeatureMap,
    Residual,
    halved,
)

MFCC_SHAPE = (20, 12)  # steps of 10 ms, coefficients
CODE = 256  # features of a person, and of what is said
SMALLEST = 4  # side of the smallest map of hourglass and decoder

_conv = partial(Conv, activation=None)

IDENTITY_STEM = _conv(32, kernel=7, stride=2)
IDENTITY_STAGES: tuple[Rows, ...] = (
    (_conv(32), _conv(32), _conv(64), _conv(64)),
    (_conv(96), _conv(96), _conv(128), _conv(128), _conv(160), _conv(160)),
    (_conv(320),) * 4,
    (_conv(CODE, kernel=5),) * 2,
)

DECODER_HEAD = Conv(512, kernel=4, padding=0, transposed=True)
DECODER_BLOCKS: tuple[Rows, ...] = (
    (Conv(512),) * 2,
    (Conv(512),) * 3,
    (Conv(256),) * 4,
    (Conv(256),) * 4,
    (Conv(128),) * 3,
    (Conv(64),) * 2,
)
SKIP_BLOCK = 3  # of the decoder's blocks, the one that gets the identity's map
DECODER_TAIL = Conv(32, padding=1, transposed=True)
DECODER_OUTPUT = Conv(3, padding=1, transposed=True, norm=False, activation=None)


def mfcc_rows(last: Conv, **kind: Any) -> Rows:
    """Rows that bring (20, 12) to (1, 1); section 3.3, branch 1."""
    row = partial(Conv, bias=False, **kind)
    return (
        row(64, stride=(3, 2), padding=((1, 1), (2, 2))),
        row(128, stride=2),
        row(256, padding=0),
        last,
    )


_leaky = partial(Conv, bias=False, activation="leaky")
_embed = partial(Conv, 512, padding=0, bias=False, norm=False, activation=None)

AUDIO_SQUARE = mfcc_rows(_embed(kernel=2), activation="leaky")
# Each row, and which of its output's rows are kept: every third, every second, all.
AUDIO_TALL: tuple[tuple[Conv, int], ...] = (
    (_leaky(64, kernel=(3, 12), padding=0), 3),
    (_leaky(256, kernel=(3, 1), padding=((1, 1), (0, 0))), 2),
    (_embed(kernel=(3, 1)), 1),
)


class Identity(NamedTuple):
    """What the identity encoder sees in faces of R pixels.

    Attributes:
      code: (N, 256), who it is.
      skip: (N, R/8, R/8, 160), what the decoder draws from.
      early: (N, R/4, R/4, 64), what is to say nothing about the words.
    """

    code: jax.Array
    skip: jax.Array
    early: jax.Array


class IdentityEncoder(nn.Module):
    """Max-feature-map network for faces (DAVS, section 3.1).

    Attributes:
      width: multiplier of all channel counts.
      folded: inference form with batch norm inside the convolutions.
      dtype: compute type; the code is float32.
    """

    width: float = 1.0
    folded: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, face: jax.Array, train: bool = False) -> Identity:
        """Faces (N, R, R, 3) RGB in [0, 1] to their `Identity`."""

        def block(x: jax.Array, row: Conv, number: int) -> jax.Array:
            row = row.scaled(self.width)
            name = f"block{number}"
            return MaxFeatureMap(row, number, self.folded, self.dtype, name=name)(
                x, train
            )

        x = block(face, IDENTITY_STEM, 1)
        maps = []
        for level, rows in enumerate(IDENTITY_STAGES, 1):
            x = halved(x)
            for index, row in enumerate(rows, 1):
                x = block(x, row, 10 * level + index)
            maps.append(x)
        return Identity(_wide(x).mean((1, 2)), skip=maps[1], early=maps[0])


class FaceAlignment(nn.Module):
    """One stack of a face alignment network (DAVS, section 3.2).

    Attributes:
      width, folded, dtype: as for `IdentityEncoder`.
      dropout: see `Hourglass`.
    """

    width: float = 1.0
    dropout: float = 0.5
    folded: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, face: jax.Array, train: bool = False) -> jax.Array:
        """(N, R, R, 3) -> (N, R/4, R/4, 68), rectified."""

        def conv(x: jax.Array, row: Conv, name: str) -> jax.Array:
            row = row.scaled(self.width)
            return ConvBlock(row, self.folded, self.dtype, name=name)(x, train=train)

        def residual(x: jax.Array, features: int, name: str) -> jax.Array:
            features = scaled(features, self.width)
            return Residual(features, self.folded, self.dtype, name=name)(x, train)

        x = conv(face, Conv(64, kernel=7, stride=2), "conv1")
        x = halved(residual(x, 128, "conv2"))
        x = residual(x, 128, "conv3")
        x = residual(x, 256, "conv4")
        form = x.shape[-1], self.dropout, self.folded, self.dtype
        x = Hourglass(_halvings(x), *form, name="m0")(x, train)
        x = residual(x, 256, "top_m_0")
        x = conv(x, Conv(256, kernel=1), "conv_last0")
        return conv(x, Conv(68, kernel=1), "l0")


class LipEncoder(nn.Module):
    """What a face says (DAVS, section 3.2).

    Attributes:
      width, dropout, folded, dtype: as for `FaceAlignment`.
    """

    width: float = 1.0
    dropout: float = 0.5
    folded: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, face: jax.Array, train: bool = False) -> jax.Array:
        """Faces (N, R, R, 3) RGB in [0, 1] -> codes (N, 256), float32."""
        form = self.width, self.dropout, self.folded, self.dtype
        trunk = FaceAlignment(*form, name="model")
        row = Conv(1, stride=2, norm=False)
        x = ConvBlock(row, self.folded, self.dtype, name="conv6")(trunk(face, train))
        return _code(x, self.width, self.dtype)


class AudioEncoder(nn.Module):
    """What is said, from MFCCs (DAVS, section 3.3).

    Attributes:
      width, folded, dtype: as for `IdentityEncoder`.
    """

    width: float = 1.0
    folded: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, mfcc: jax.Array, train: bool = False) -> jax.Array:
        """Blocks (N, 20, 12, 1) of MFCCs -> codes (N, 256), float32."""

        def block(x: jax.Array, row: Conv, name: str) -> jax.Array:
            row = row.scaled(self.width)
            return ConvBlock(row, self.folded, self.dtype, name=name)(x, train=train)

        square = tall = mfcc
        for index, row in enumerate(AUDIO_SQUARE, 1):
            square = block(square, row, f"model1_conv{index}")
        for index, (row, step) in enumerate(AUDIO_TALL, 1):
            tall = block(tall, row, f"model2_conv{index}")[:, ::step]
        return _code(jnp.concatenate([square, tall], -1), self.width, self.dtype)


class Decoder(nn.Module):
    """Draws a person who says something (DAVS, section 3.4).

    Attributes:
      width, folded, dtype: as for `IdentityEncoder`; the pictures are float32.
    """

    width: float = 1.0
    folded: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, identity: Identity, said: jax.Array, train: bool = False
    ) -> jax.Array:
        """Draws faces.

        Args:
          identity: of N faces.
          said: (N, 256), what each says.
          train: use batch statistics and update the running ones.

        Returns:
          (N, R, R, 3) RGB in (0, 1), float32.
        """

        def block(
            x: jax.Array, row: Conv, name: str, side: int | None = None
        ) -> jax.Array:
            form = ConvBlock(row, self.folded, self.dtype, name=name)
            return form(x, train=train, size=(side, side))

        x = jnp.concatenate([identity.code, said], axis=-1)[:, None, None]
        x = block(x, DECODER_HEAD.scaled(self.width), "deconv1_1_new", SMALLEST)
        first = SKIP_BLOCK - _halvings(identity.skip)
        for number, rows in enumerate(DECODER_BLOCKS[first:], first):
            if number == SKIP_BLOCK:
                x = jnp.concatenate([identity.skip.astype(x.dtype), x], axis=-1)
            for index, row in enumerate(rows):
                name = f"convblock{number + 1}_conv{number + 1}_{index}"
                x = block(x, row.scaled(self.width), name)
            x = upsample(x)
        x = block(x, DECODER_TAIL.scaled(self.width), "conv7_1", x.shape[1])
        x = block(x, DECODER_OUTPUT, "conv7_2", x.shape[1])
        return (jnp.tanh(_wide(x)) + 1) / 2


class Davs(nn.Module):
    """Everything that makes one person say what is heard or seen.

    Attributes:
      resolution: side of the faces in pixels, a power of 2, at least 32.
      width: multiplier of all channel counts.
      dropout: of the lip encoder in training, see `Hourglass`.
      folded: inference form with batch norm inside the convolutions.
      dtype: compute type; codes and pictures are float32.
    """

    resolution: int = 256
    width: float = 1.0
    dropout: float = 0.5
    folded: bool = False
    dtype: Any = jnp.float32

    norm_epsilon = EPSILON  # what `fold_batch_norm` needs to know

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the inputs of a call, without the batch."""
        face = (self.resolution, self.resolution, 3)
        return (*MFCC_SHAPE, 1), face, face

    def setup(self) -> None:
        form = {"width": self.width, "folded": self.folded, "dtype": self.dtype}
        self.identity_encoder = IdentityEncoder(**form)
        self.lip_encoder = LipEncoder(**form, dropout=self.dropout)
        self.audio_encoder = AudioEncoder(**form)
        self.decoder = Decoder(**form)

    def __call__(
        self, mfcc: jax.Array, face: jax.Array, lips: jax.Array, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """Draws `face` saying what is heard, and saying what is seen.

        Args:
          mfcc: as for `encode_audio`.
          face: (N, R, R, 3), who is to be drawn.
          lips: (N, R, R, 3), who says it.
          train: as for `decode`.

        Returns:
          Two times (N, R, R, 3) RGB in (0, 1), float32.
        """
        identity = self.encode_identity(face, train)
        heard = self.decode(identity, self.encode_audio(mfcc, train), train)
        return heard, self.decode(identity, self.encode_lips(lips, train), train)

    def encode_identity(self, face: jax.Array, train: bool = False) -> Identity:
        """(N, R, R, 3) RGB in [0, 1]."""
        return self.identity_encoder(face, train)

    def encode_lips(self, face: jax.Array, train: bool = False) -> jax.Array:
        """(N, R, R, 3) RGB in [0, 1] -> (N, 256); dropout needs a key in training."""
        return self.lip_encoder(face, train)

    def encode_audio(self, mfcc: jax.Array, train: bool = False) -> jax.Array:
        """(N, 20, 12, 1): 200 ms of 12 MFCCs around a frame -> (N, 256)."""
        return self.audio_encoder(mfcc, train)

    def decode(
        self, identity: Identity, said: jax.Array, train: bool = False
    ) -> jax.Array:
        """A person and what is said -> pictures, see `Decoder`."""
        return self.decoder(identity, said, train)


def _code(x: jax.Array, width: float, dtype: Any) -> jax.Array:
    """The last layer of an encoder of what is said."""
    x = x.reshape(x.shape[0], -1)
    return _wide(nn.Dense(scaled(CODE, width), dtype=dtype, name="fc")(x))


def _halvings(x: jax.Array) -> int:
    """How often a map can be halved until it is as small as maps get."""
    return int(log2(x.shape[1] // SMALLEST))


def _wide(x: jax.Array) -> jax.Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


GENERATORS: dict[str, Davs] = {
    "davs": Davs(),
    "davs_64": Davs(64),  # for small machines, not a published network
}
