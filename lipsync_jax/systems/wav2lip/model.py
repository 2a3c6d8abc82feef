"""Networks of Wav2Lip: the generator and its two discriminators, all sizes."""

from dataclasses import replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lipsync_jax.nn.blocks import (
    Conv,
    ConvBlock,
    Rows,
    conv,
    stage,
    up,
    with_activation,
)
from lipsync_jax.nn.norm import EPSILON, BatchNorm, unit_length
from lipsync_jax.systems.expert.model import audio_rows, wide_audio_rows

Stages = tuple[Rows, ...]


def encoder_stages(
    features: tuple[int, ...], residuals: tuple[int, ...], second_kernel: int = 3
) -> Stages:
    """Face encoder: a 7x7 stem, then one halving per stage."""
    stem, *rest = features
    first, *blocks = residuals
    kernels = [second_kernel] + [3] * (len(rest) - 1)
    return (
        stage(stem, first, kernel=7, stride=1),
        *(stage(f, r, kernel=k) for f, r, k in zip(rest, blocks, kernels, strict=True)),
    )


def bottleneck(features: int, pointwise: int = 1) -> Rows:
    """An unpadded 3x3 block that shrinks the map by two, and 1x1 blocks."""
    return (Conv(features, padding=0), *[Conv(features, kernel=1)] * pointwise)


def decoder_stages(features: tuple[int, ...]) -> Stages:
    """Face decoder: a 1x1 block, an unpadded 3x3 one, then one doubling per stage."""
    code, first, *rest = features
    return (
        (Conv(code, kernel=1),),
        up(first, 1, stride=1, padding=0),
        *(up(f, 2) for f in rest),
    )


class Wav2Lip(nn.Module):
    """Speech-driven face generator (Wav2Lip, section 3.2), an audio-conditioned U-Net.

    Attributes:
      resolution: side of the face crop in pixels.
      encoder: rows of each face encoder stage; every stage's output is a skip.
      decoder: rows of each decoder stage, as many as encoder stages.
      audio: rows of the mel encoder.
      refine_audio: two 1x1 blocks and a unit norm on the audio code (the generators
        of the HD fork that take their mel encoder from an expert).
      attention: spatial attention on the skips (`SAM` in the HD fork).
      output: "sigmoid" or "tanh".
      width: multiplier of all channel counts.
      folded: inference form with batch norm inside the convolutions.
      dtype: compute type; the output is float32.
    """

    resolution: int = 96
    encoder: Stages = (
        *encoder_stages((16, 32, 64, 128, 256, 512), (0, 2, 3, 2, 2, 1)),
        bottleneck(512),
    )
    decoder: Stages = decoder_stages((512, 512, 512, 384, 256, 128, 64))
    audio: Rows = audio_rows(last_residuals=1)
    refine_audio: bool = False
    attention: bool = False
    output_rows: Rows = (Conv(32),)
    output: str = "sigmoid"
    width: float = 1.0
    folded: bool = False
    dtype: Any = jnp.float32

    norm_epsilon = EPSILON  # what `fold_batch_norm` needs to know

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the inputs of a call, without the batch."""
        return (80, 16, 1), (self.resolution, self.resolution, 6)

    @nn.compact
    def __call__(
        self, mel: jax.Array, face: jax.Array, train: bool = False
    ) -> jax.Array:
        """Draws faces.

        Args:
          mel: (N, 80, 16, 1) or (B, T, 80, 16, 1), in [-4, 4].
          face: (N, S, S, 6) or (B, T, S, S, 6), RGB in [0, 1]: the target frame with
            its lower half set to 0, then the reference frame.
          train: use batch statistics and update the running ones.

        Returns:
          RGB in (0, 1) (in (-1, 1) with output="tanh"), (N, S, S, 3) or
          (B, T, S, S, 3), float32.
        """
        leading = face.shape[:-3]
        mel = mel.reshape(-1, *mel.shape[-3:])
        face = face.reshape(-1, *face.shape[-3:])

        def run(
            x: jax.Array, rows: Rows, name: str, size: tuple[int, int] | None = None
        ) -> jax.Array:
            for index, row in enumerate(rows):
                block = ConvBlock(
                    row.scaled(self.width),
                    self.folded,
                    self.dtype,
                    name=f"{name}_{index}",
                )
                x = block(x, train=train, size=size)
            return x

        code = run(mel, self.audio, "audio_encoder")
        if self.refine_audio:
            features = self.audio[-1].features
            code = run(code, (Conv(features, kernel=1),) * 2, "audio_refine")
            wide = code.astype(jnp.promote_types(code.dtype, jnp.float32))
            code = jnp.clip(unit_length(wide), -1, 1).astype(code.dtype)

        skips = []
        x = face
        for index, rows in enumerate(self.encoder):
            x = run(x, rows, f"face_encoder_blocks_{index}")
            skips.append(x)

        attend = SpatialAttention(self.dtype, name="sam_sa_conv1")
        x = code
        for index, rows in enumerate(self.decoder):
            skip = skips.pop()
            # An up block's output size is its skip's; 1x1 stages keep their own.
            x = run(x, rows, f"face_decoder_blocks_{index}", skip.shape[1:3])
            if self.attention:
                # A 1x1 audio code is broadcast over a larger bottleneck here.
                x = x * attend(skip) + x
            x = jnp.concatenate([x, skip], axis=-1)

        x = run(x, self.output_rows, "output_block")
        x = nn.Conv(
            3, (1, 1), dtype=self.dtype, name=f"output_block_{len(self.output_rows)}"
        )(x)
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        x = nn.sigmoid(x) if self.output == "sigmoid" else jnp.tanh(x)
        return x.reshape(*leading, *x.shape[1:])


class SpatialAttention(nn.Module):
    """One weight per pixel, from the channel mean and maximum of a feature map."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(N, H, W, C) -> (N, H, W, 1) in (0, 1)."""
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (7, 7, 2, 1))
        pooled = jnp.stack([x.mean(-1), x.max(-1)], axis=-1)
        return nn.sigmoid(conv(pooled, kernel.astype(self.dtype), (1, 1), 3))


def _plain(*rows: Conv) -> Rows:
    return tuple(replace(row, norm=False, activation="leaky01") for row in rows)


class QualityDiscriminator(nn.Module):
    """Tells real lower half faces from generated ones (Wav2Lip, section 3.4).

    Attributes:
      resolution: side of the face crop in pixels.
      blocks: rows of each stage (no normalisation layers).
      width: multiplier of all channel counts.
      dtype: compute type; the output is float32.
    """

    resolution: int = 96
    blocks: Stages = (
        _plain(Conv(32, 7)),
        _plain(Conv(64, 5, (1, 2)), Conv(64, 5)),
        _plain(Conv(128, 5, 2), Conv(128, 5)),
        _plain(Conv(256, 5, 2), Conv(256, 5)),
        _plain(Conv(512, stride=2), Conv(512)),
        _plain(Conv(512, stride=2), Conv(512)),
        _plain(Conv(512, padding=0), Conv(512, kernel=1)),
    )
    width: float = 1.0
    dtype: Any = jnp.float32

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the inputs of a call, without the batch."""
        return ((1, self.resolution, self.resolution, 3),)

    @nn.compact
    def __call__(self, face: jax.Array, train: bool = False) -> jax.Array:
        """(B, T, S, S, 3) RGB in [0, 1] -> probability "real", (B, T), float32."""
        leading = face.shape[:-3]
        x = face.reshape(-1, *face.shape[-3:])[:, face.shape[-3] // 2 :]
        for i, rows in enumerate(self.blocks):
            for j, row in enumerate(rows):
                x = ConvBlock(
                    row.scaled(self.width),
                    dtype=self.dtype,
                    name=f"face_encoder_blocks_{i}_{j}",
                )(x)
        x = nn.Conv(1, (1, 1), dtype=self.dtype, name="binary_pred_0")(x)
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        return nn.sigmoid(x).reshape(leading)


class PatchDiscriminator(nn.Module):
    """PatchGAN over whole faces, used by the HD fork."""

    features: tuple[int, ...] = (64, 128, 256, 512)
    resolution: int = 96
    dtype: Any = jnp.float32

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the inputs of a call, without the batch."""
        return ((1, self.resolution, self.resolution, 3),)

    @nn.compact
    def __call__(self, face: jax.Array, train: bool = False) -> jax.Array:
        """(B, T, S, S, 3) RGB in [0, 1] -> logits (B, T, h, w), float32."""
        leading = face.shape[:-3]
        x = face.reshape(-1, *face.shape[-3:])
        last = len(self.features) - 1
        index = 0
        for i, features in enumerate(self.features):
            x = nn.Conv(
                features,
                (4, 4),
                (1 if i == last else 2,) * 2,
                padding=1,
                use_bias=i == 0,
                dtype=self.dtype,
                name=f"main_{index}",
            )(x)
            index += 1
            if i > 0:
                x = BatchNorm(name=f"main_{index}")(x, train)
                index += 1
            x = nn.leaky_relu(x, 0.2)
            index += 1
        x = nn.Conv(1, (4, 4), padding=1, dtype=self.dtype, name=f"main_{index}")(x)
        return x[..., 0].astype(jnp.float32).reshape(*leading, *x.shape[1:3])


_SAM_DECODER = (1024, 1024, 1024, 768, 512, 256, 128)
_ENCODER_288 = (
    *encoder_stages((16, 32, 32, 64, 128, 256, 512), (0, 1, 2, 3, 2, 2, 1), 5),
    bottleneck(512),
    bottleneck(512),
)
_DECODER_288 = decoder_stages((512, 512, 512, 512, 384, 256, 128, 64, 64))


def _prelu(stages: Stages) -> Stages:
    return tuple(with_activation(rows, "prelu") for rows in stages)


GENERATORS: dict[str, Wav2Lip] = {
    "wav2lip": Wav2Lip(),
    # One halving less than the published size: for small machines.
    "wav2lip_48": Wav2Lip(
        48,
        (*encoder_stages((16, 32, 64, 128, 256), (0, 2, 3, 2, 2)), bottleneck(512)),
        decoder_stages((512, 512, 384, 256, 128, 64)),
    ),
    "wav2lip_288": Wav2Lip(288, _ENCODER_288, _DECODER_288),
    "wav2lip_288_prelu": Wav2Lip(
        288,
        _prelu(_ENCODER_288),
        _prelu(_DECODER_288),
        with_activation(audio_rows(last_residuals=1), "prelu"),
        output_rows=(Conv(32, activation="prelu"),),
    ),
    "wav2lip_sam": Wav2Lip(
        192,
        (
            *encoder_stages((16, 32, 64, 128, 256, 512, 1024), (3,) * 7),
            bottleneck(1024, pointwise=2),
        ),
        decoder_stages((*_SAM_DECODER, 64)),
        wide_audio_rows(),
        refine_audio=True,
        attention=True,
    ),
    "wav2lip_384": Wav2Lip(
        384,
        (
            *encoder_stages((8, 16, 32, 64, 128, 256, 512, 1024), (0, *(2,) * 7)),
            bottleneck(1024),
        ),
        decoder_stages((*_SAM_DECODER, 80, 64)),
        wide_audio_rows(),
        refine_audio=True,
        attention=True,
        output="tanh",
    ),
}

DISCRIMINATORS: dict[str, nn.Module] = {
    "quality_disc": QualityDiscriminator(),
    "quality_disc_288": QualityDiscriminator(
        288,
        (
            _plain(Conv(32, 7)),
            _plain(Conv(64, 5, (1, 2)), Conv(64, 5)),
            _plain(Conv(128, 5, 2), Conv(128, 5)),
            _plain(Conv(128, 5, 2), Conv(128, 5)),
            _plain(Conv(256, 5, 2), Conv(256, 5)),
            _plain(Conv(256, 5, 2), Conv(256, 5)),
            _plain(Conv(512, stride=2), Conv(512)),
            _plain(Conv(512, stride=2), Conv(512)),
            _plain(Conv(512, padding=0), Conv(512, kernel=1)),
        ),
    ),
    "patch_disc": PatchDiscriminator(),
}

VARIANTS: dict[str, nn.Module] = GENERATORS | DISCRIMINATORS
