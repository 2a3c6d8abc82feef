"""Networks of the sync expert (`SyncNet_color` of Wav2Lip and its HD variants)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lipsync_jax.nn.blocks import Conv, ConvBlock, Rows, stage, with_activation
from lipsync_jax.nn.norm import unit_length


def audio_rows(last_residuals: int = 2) -> Rows:
    """Rows of the mel encoder: (80, 16) to (1, 1) with 512 features."""
    return (
        *stage(32, 2, stride=1),
        *stage(64, 2, stride=(3, 1)),
        *stage(128, 2, stride=3),
        *stage(256, last_residuals, stride=(3, 2)),
        Conv(512, padding=0),
        Conv(512, kernel=1),
    )


def wide_audio_rows() -> Rows:
    """Rows of the 1024-feature mel encoder of the HD variants."""
    return (
        *with_activation(audio_rows()[:12], "leaky"),
        *with_activation(stage(512, 2, stride=1), "leaky"),
        Conv(1024, padding=0),
        Conv(1024, kernel=1),
    )


_FACE_96 = (
    Conv(32, kernel=7),
    *stage(64, 2, kernel=5, stride=(1, 2), padding=1),
    *stage(128, 3),
    *stage(256, 2),
    *stage(512, 2),
)

FACE_ROWS: dict[str, Rows] = {
    "expert": (
        *_FACE_96,
        Conv(512, stride=2),
        Conv(512, padding=0),
        Conv(512, kernel=1),
    ),
    # The same with one halving less: for small machines, not a published network.
    "expert_48": (
        Conv(32, kernel=7),
        *stage(64, 2, kernel=5, stride=(1, 2), padding=1),
        *stage(128, 3),
        *stage(256, 2),
        Conv(512, stride=2),
        Conv(512, padding=0),
        Conv(512, kernel=1),
    ),
    "expert_288_prelu": with_activation(
        (
            Conv(32, kernel=7),
            Conv(32, kernel=5, padding=1),
            Conv(32),
            *stage(64, 2, kernel=5, stride=(1, 2), padding=1),
            *stage(128, 3),
            *stage(256, 2),
            *stage(512, 2),
            Conv(512, stride=2),
            Conv(512, stride=2, padding=0),
            Conv(512, padding=0),
            Conv(512, kernel=2, padding=0),
            Conv(512, kernel=1),
        ),
        "prelu",
    ),
    "expert_192": (
        *with_activation((*_FACE_96, *stage(1024, 2)), "leaky"),
        Conv(1024, stride=2),
        Conv(1024, padding=0),
        Conv(1024, kernel=1),
    ),
    "expert_384": (
        *with_activation(
            (
                Conv(16, kernel=7),
                *stage(32, 2, kernel=5, stride=(1, 2), padding=1),
                *stage(64, 2),
                *stage(128, 2),
                *stage(256, 2),
                *stage(512, 2),
                *stage(1024, 2),
                Conv(1024, stride=2),
                Conv(1024, padding=0),
            ),
            "leaky",
        ),
        Conv(1024, kernel=1),
    ),
}


def mouths(faces: jax.Array) -> jax.Array:
    """What an expert sees of faces: their lower halves, side by side in the channels.

    Args:
      faces: (B, T, S, S, 3).

    Returns:
      (B, S/2, S, 3T), frame by frame.
    """
    lower = faces[:, :, faces.shape[2] // 2 :]
    b, t, h, w, c = lower.shape
    return lower.transpose(0, 2, 3, 1, 4).reshape(b, h, w, t * c)


class Expert(nn.Module):
    """Embeds speech and mouths into one space (Wav2Lip, section 3.1).

    Attributes:
      resolution: side of the face crop in pixels; the network sees its lower half.
      face: rows of the mouth encoder.
      audio: rows of the mel encoder.
      width: multiplier of all channel counts.
      folded: inference form with batch norm inside the convolutions.
      dtype: compute type; the embeddings are float32.
    """

    resolution: int = 96
    face: Rows = FACE_ROWS["expert"]
    audio: Rows = audio_rows()
    width: float = 1.0
    folded: bool = False
    dtype: Any = jnp.float32

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the inputs of a call, without the batch."""
        return (80, 16, 1), (self.resolution // 2, self.resolution, 15)

    @nn.compact
    def __call__(
        self, mel: jax.Array, face: jax.Array, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """Embeds windows.

        Args:
          mel: (B, 80, 16, 1) in [-4, 4].
          face: (B, resolution/2, resolution, 15): lower halves of five consecutive
            RGB crops in [0, 1], channels frame by frame.
          train: use batch statistics and update the running ones.

        Returns:
          Audio and face embeddings (B, D), each of unit length.
        """
        return (
            self._encode(mel, self.audio, "audio_encoder", train),
            self._encode(face, self.face, "face_encoder", train),
        )

    def _encode(self, x: jax.Array, rows: Rows, name: str, train: bool) -> jax.Array:
        for index, row in enumerate(rows):
            block = ConvBlock(
                row.scaled(self.width), self.folded, self.dtype, name=f"{name}_{index}"
            )
            x = block(x, train=train)
        x = x.reshape(x.shape[0], -1)
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        return unit_length(x)


VARIANTS: dict[str, Expert] = {
    "expert": Expert(),
    "expert_48": Expert(48, FACE_ROWS["expert_48"]),
    "expert_288_prelu": Expert(
        288, FACE_ROWS["expert_288_prelu"], with_activation(audio_rows(), "prelu")
    ),
    "expert_192": Expert(192, FACE_ROWS["expert_192"], wide_audio_rows()),
    "expert_384": Expert(384, FACE_ROWS["expert_384"], wide_audio_rows()),
}
