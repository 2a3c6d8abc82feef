"""Networks of LipGAN: the generator and its discriminator, all variants."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lipsync_jax.nn.blocks import Conv, ConvBlock
from lipsync_jax.nn.norm import KERAS_EPSILON, BatchNorm, InstanceNorm, unit_length
from lipsync_jax.systems.lipgan.features import CENTRED


@dataclass(frozen=True)
class Residual:
    """A table row: two 3x3 blocks that keep size and width, and a way around them."""

    features: int


Rows = tuple[Conv | Residual, ...]
Stages = tuple[Rows, ...]

_down = partial(Conv, stride=2, padding="SAME")
_up = partial(Conv, stride=2, padding=0, transposed=True)


def _stage(head: Conv, residuals: int) -> Rows:
    return (head, *[Residual(head.features)] * residuals)


FACE: Stages = (
    (Conv(32, kernel=7),),
    _stage(_down(64, kernel=5), 2),
    _stage(_down(128), 3),
    _stage(_down(256), 2),
    _stage(_down(512), 2),
    (_down(512),),
    (Conv(512, padding=0), Conv(512, kernel=1)),
)
DECODER: Stages = (
    (_up(512, stride=3),),
    _stage(_up(512), 2),
    _stage(_up(256), 2),
    _stage(_up(128), 2),
    _stage(_up(64), 2),
    (_up(32),),
)
MEL: Rows = (
    *_stage(Conv(32), 2),
    *_stage(_down(64, stride=3), 2),
    *_stage(_down(128, stride=(3, 1)), 2),
    *_stage(_down(256, stride=3), 2),
    Conv(512, padding=0),
    Conv(512, kernel=1),
)
# Here the original puts one row of zeros above the twelve coefficients.
_ROW_ABOVE = {"stride": (1, 2), "padding": ((2, 1), (1, 1))}
MFCC: Rows = (
    *_stage(Conv(128), 3),
    *_stage(Conv(256, **_ROW_ABOVE), 2),
    *_stage(_down(512), 2),
    *_stage(_down(512), 1),
    Conv(512, kernel=(4, 5), padding=0),
    Conv(512, kernel=1),
)

FACE_BASIC: Stages = (
    (Conv(32, kernel=11),),
    (_down(64, kernel=7),),
    (_down(128, kernel=5),),
    (_down(256),),
    (_down(512),),
    (_down(512),),
    (Conv(512, padding=0), Conv(256, kernel=1)),
)
DECODER_BASIC: Stages = tuple(rows[:1] for rows in DECODER)
MEL_BASIC: Rows = (
    *[Conv(32)] * 3,
    *(_down(64, stride=3), Conv(64), Conv(64)),
    *(_down(128, stride=(3, 1)), Conv(128), Conv(128)),
    *(_down(256, stride=3), Conv(256), Conv(256)),
    Conv(512, padding=0),
    Conv(512, kernel=1),
)
MFCC_BASIC: Rows = (
    Conv(128),
    Conv(256, **_ROW_ABOVE),
    Conv(256),
    _down(256),
    _down(512),
    Conv(512, kernel=(4, 5), padding=0),
    Conv(256, kernel=1),
)

OUTPUT: Rows = (Conv(16), Conv(16))
PREDICTION = Conv(3, kernel=1, norm=False, activation=None)

_judge = partial(Conv, stride=2, padding="SAME", activation="leaky")
_embed = partial(Conv, 512, padding=0, norm=False, activation=None)

DISC_FACE: Rows = (
    _judge(64, kernel=7),
    _judge(128, kernel=5),
    _judge(256),
    _judge(512),
    _judge(512),
    _embed(),
)
DISC_MEL: Rows = (
    Conv(32, activation="leaky"),
    _judge(64, stride=3),
    _judge(128, stride=(3, 1)),
    _judge(256, stride=3),
    Conv(512, padding=0, activation="leaky"),
    Conv(512, kernel=1, activation="leaky"),
)
DISC_MFCC: Rows = (
    Conv(64, activation="leaky"),
    Conv(128, activation="leaky"),
    Conv(256, activation="leaky", **_ROW_ABOVE),
    Conv(256, activation="leaky"),
    _judge(256),
    _judge(512),
    _embed(kernel=(4, 5)),
)


def _run(
    x: jax.Array,
    rows: Rows,
    name: str,
    block: Callable[..., ConvBlock],
    width: float,
    train: bool,
    size: tuple[int, int] | None = None,
) -> jax.Array:
    """The blocks of rows, within a module; `size` is what a transposed one puts out."""
    for index, row in enumerate(rows):
        y = x
        for label, part in _parts(f"{name}_{index}", row):
            y = block(part.scaled(width), name=label)(y, train=train, size=size)
        # The original's ReLU of the sum changes nothing: both terms went through one.
        x = x + y if isinstance(row, Residual) else y
    return x


def _parts(name: str, row: Conv | Residual) -> list[tuple[str, Conv]]:
    """The blocks of a row: their names and rows."""
    if isinstance(row, Conv):
        return [(name, row)]
    return [(f"{name}_{index}", Conv(row.features)) for index in range(2)]


class LipGAN(nn.Module):
    """Generator of a face that says what is heard (LipGAN, sections 3.1 and 3.2).

    A U-Net in which the code of the speech joins that of the face at 1x1.

    Attributes:
      audio_shape: rows and columns of a window of features, mel or MFCC.
      face: rows of each face encoder stage; every output but the last's is a skip.
      audio: rows of the audio encoder.
      decoder: rows of each decoder stage, as many as there are skips.
      audio_offset: where the window lies, see `features`.
      width: multiplier of all channel counts.
      keras_average: see `BatchNorm`; the original's training has it.
      folded: inference form with batch norm inside the convolutions.
      dtype: compute type; the output is float32.
    """

    audio_shape: tuple[int, int] = (80, 27)
    face: Stages = FACE
    audio: Rows = MEL
    decoder: Stages = DECODER
    audio_offset: int = 0
    width: float = 1.0
    keras_average: bool = False
    folded: bool = False
    dtype: Any = jnp.float32

    norm_epsilon = KERAS_EPSILON  # what `fold_batch_norm` needs to know

    @property
    def resolution(self) -> int:
        """Side of the face crop in pixels: each skip but the first halves it, to 3."""
        return 3 * 2 ** (len(self.face) - 2)

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the inputs of a call, without the batch."""
        return (*self.audio_shape, 1), (self.resolution, self.resolution, 6)

    @property
    def tables(self) -> dict[str, Rows]:
        """Rows by the name of their blocks, in the order of the original's program."""
        return {
            **_numbered("face_encoder_blocks", self.face),
            "audio_encoder": self.audio,
            **_numbered("face_decoder_blocks", self.decoder),
            "output": OUTPUT,
        }

    @nn.compact
    def __call__(
        self, audio: jax.Array, face: jax.Array, train: bool = False
    ) -> jax.Array:
        """Draws faces.

        Args:
          audio: (N, 80, 27, 1) mel in [-4, 4], or (N, 12, 35, 1) MFCCs.
          face: (N, S, S, 6) RGB in [0, 1]: the reference, then the face to be redrawn
            with its lower half set to 0.
          train: use batch statistics and update the running ones.

        Returns:
          (N, S, S, 3) RGB in (0, 1), float32.
        """
        norm = partial(
            BatchNorm, self.norm_epsilon, 0.2, keras_average=self.keras_average
        )
        block = partial(
            ConvBlock, folded=self.folded, dtype=self.dtype, norm=norm, glorot=True
        )
        run = partial(_run, block=block, width=self.width, train=train)

        skips = []
        x = face
        for name, rows in _numbered("face_encoder_blocks", self.face).items():
            x = run(x, rows, name)
            skips.append(x)
        code = run(audio, self.audio, "audio_encoder")
        x = jnp.concatenate([skips.pop(), code], axis=-1)
        for name, rows in _numbered("face_decoder_blocks", self.decoder).items():
            skip = skips.pop()
            x = run(x, rows, name, size=skip.shape[1:3])
            x = jnp.concatenate([skip, x], axis=-1)
        x = run(x, OUTPUT, "output")
        x = block(PREDICTION, name="prediction")(x)
        return nn.sigmoid(x.astype(jnp.promote_types(x.dtype, jnp.float32)))


class LipGANDiscriminator(nn.Module):
    """Tells how far a face is from what is heard (LipGAN, section 3.3).

    Attributes:
      audio_shape: rows and columns of a window of features, mel or MFCC.
      face: rows of the face encoder.
      audio: rows of the audio encoder.
      width: multiplier of all channel counts.
      dtype: compute type; the outputs are float32.
    """

    audio_shape: tuple[int, int] = (80, 27)
    face: Rows = DISC_FACE
    audio: Rows = DISC_MEL
    width: float = 1.0
    dtype: Any = jnp.float32

    @property
    def resolution(self) -> int:
        """Side of the face in pixels: each row but the last halves it, to 3."""
        return 3 * 2 ** (len(self.face) - 1)

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the inputs of a call, without the batch."""
        return (self.resolution, self.resolution, 3), (*self.audio_shape, 1)

    @property
    def tables(self) -> dict[str, Rows]:
        """Rows by the name of their blocks, in the order of the original's program."""
        return {"face_encoder": self.face, "audio_encoder": self.audio}

    def __call__(
        self, face: jax.Array, audio: jax.Array, train: bool = False
    ) -> jax.Array:
        """Distances (N,) in [0, 2], float32, between the codes that `embed` gives.

        Args:
          face: (N, S, S, 3) RGB in [0, 1], the whole face.
          audio: (N, 80, 27, 1) mel in [-4, 4], or (N, 12, 35, 1) MFCCs.
          train: makes no difference.
        """
        return distance(*self.embed(face, audio))

    @nn.compact
    def embed(self, face: jax.Array, audio: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Codes (N, D) of faces and of speech, float32 and of unit length."""
        block = partial(ConvBlock, dtype=self.dtype, norm=InstanceNorm, glorot=True)

        def encode(x: jax.Array, name: str) -> jax.Array:
            x = _run(x, self.tables[name], name, block, self.width, train=False)
            x = x.reshape(x.shape[0], -1)
            return unit_length(x.astype(jnp.promote_types(x.dtype, jnp.float32)))

        return encode(face, "face_encoder"), encode(audio, "audio_encoder")


def distance(a: jax.Array, b: jax.Array) -> jax.Array:
    """Euclidean distance along the last axis; has a gradient at 0, too."""
    squared = jnp.square(a - b).sum(-1)
    apart = squared > 0
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, squared, 1)), 0)


_KERAS_CLASSES = (
    "conv2d",
    "conv2d_transpose",
    "batch_normalization",
    "instance_normalization",
)


def keras_order(module: LipGAN | LipGANDiscriminator) -> dict[str, list[str]]:
    """Layers with weights, in the order in which the original creates them.

    Keras numbers the layers of a class in that order. The numbers that layers without
    a use take up (two in `basic`) have no entry.

    Returns:
      Keras class -> paths of its layers among the parameters, such as
      "face_encoder_blocks_1_2_0/conv".
    """
    blocks = [
        block
        for name, rows in module.tables.items()
        for index, row in enumerate(rows)
        for block in _parts(f"{name}_{index}", row)
    ]
    if isinstance(module, LipGAN):
        blocks.append(("prediction", PREDICTION))
    order = {kind: [] for kind in _KERAS_CLASSES}
    norms = "batch" if isinstance(module, LipGAN) else "instance"
    for name, row in blocks:
        if row.transposed:
            order["conv2d_transpose"].append(f"{name}/conv_transpose")
        else:
            order["conv2d"].append(f"{name}/conv")
        if row.norm:
            order[f"{norms}_normalization"].append(f"{name}/norm")
    return order


def _numbered(name: str, stages: Stages) -> dict[str, Rows]:
    return {f"{name}_{index}": rows for index, rows in enumerate(stages)}


GENERATORS: dict[str, LipGAN] = {
    "lipgan": LipGAN(),
    "lipgan_basic": LipGAN((80, 27), FACE_BASIC, MEL_BASIC, DECODER_BASIC),
    # The original pairs frame k with the window that starts at frame k - 4.
    "lipgan_mfcc": LipGAN((12, 35), audio=MFCC, audio_offset=CENTRED),
    "lipgan_mfcc_basic": LipGAN(
        (12, 35), FACE_BASIC, MFCC_BASIC, DECODER_BASIC, CENTRED
    ),
    # One halving less than the published size: for small machines.
    "lipgan_48": LipGAN(
        face=(*FACE[:4], *FACE[5:]),
        decoder=(*DECODER[:1], *DECODER[2:]),
        audio_offset=CENTRED,
    ),
}

DISCRIMINATORS: dict[str, LipGANDiscriminator] = {
    "lipgan_disc": LipGANDiscriminator(),
    "lipgan_mfcc_disc": LipGANDiscriminator((12, 35), audio=DISC_MFCC),
    "lipgan_disc_48": LipGANDiscriminator(face=(*DISC_FACE[:3], *DISC_FACE[4:])),
}

VARIANTS: dict[str, nn.Module] = GENERATORS | DISCRIMINATORS
