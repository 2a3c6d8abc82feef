"""The network of Lip2Wav, a Tacotron 2 that sees faces instead of letters."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lipsync_jax.audio.mel import WAV2LIP
from lipsync_jax.nn.blocks import scaled
from lipsync_jax.systems.lip2wav.decoder import (
    Attention,
    DecoderCell,
    Memory,
    Postnet,
    postnet_rows,
)
from lipsync_jax.systems.lip2wav.encoder import FaceEncoder, Rows, encoder_rows
from lipsync_jax.systems.lip2wav.layers import (
    EPSILON,
    GLOROT,
    BiLSTM,
    Row,
    wide,
)


class Speech(NamedTuple):
    """What the network says of a window of faces; M mel frames, float32.

    Attributes:
      mel: (N, M, n_mels), nominally in [-4, 4].
      before: the same before the postnet.
      alignments: (N, T, steps), which faces each step of the decoder attended to.
    """

    mel: jax.Array
    before: jax.Array
    alignments: jax.Array


class Lip2Wav(nn.Module):
    """Speech of a window of faces (sections 3 and 4).

    Dropout in the prenet is on whenever there is a key for it, in inference, too: pass
    `rngs={"dropout": key}`. Without a key what is said is always the same.

    Attributes:
      resolution: side of the face crop in pixels.
      frames: T, faces of a window.
      fps: faces per second.
      overlap: faces that windows of a longer video have in common.
      encoder: layers that see the faces.
      encoder_units: of the encoder's LSTM, each way.
      decoder_units: of the decoder's LSTMs.
      prenet: widths of the prenet's layers.
      attention: of the decoder.
      postnet: layers of the postnet.
      n_mels: bins of a mel frame.
      reduction: mel frames that a step of the decoder says.
      speaker_size: width of the speaker's embedding.
      dropout, zoneout: rates.
      width: multiplier of all channel counts.
      folded: inference form with batch norm inside the convolutions.
      dtype: compute type; what is said is float32.
    """

    resolution: int = 96
    frames: int = 90
    fps: float = 30
    overlap: int = 15
    encoder: Rows = encoder_rows(24, blocks=5)
    encoder_units: int = 384
    decoder_units: int = 1024
    prenet: tuple[int, ...] = (256, 256)
    attention: Attention = Attention()
    postnet: tuple[Row, ...] = postnet_rows()
    n_mels: int = WAV2LIP.n_mels
    reduction: int = 2
    speaker_size: int = 256
    dropout: float = 0.5
    zoneout: float = 0.1
    width: float = 1.0
    folded: bool = False
    dtype: Any = jnp.float32

    norm_epsilon = EPSILON  # what `fold_batch_norm` needs to know

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the inputs of a call, without the batch."""
        size = self.resolution
        return (self.frames, size, size, 3), (self.speaker_size,)

    def mel_frames(self, faces: int) -> int:
        """Mel frames that last as long as so many faces."""
        return round(faces * WAV2LIP.frames_per_second / self.fps)

    @nn.compact
    def __call__(
        self,
        faces: jax.Array,
        speaker: jax.Array,
        targets: jax.Array | None = None,
        forced: jax.Array | bool = True,
        lengths: jax.Array | None = None,
        train: bool = False,
    ) -> Speech:
        """Says what faces say.

        Args:
          faces: (N, T, S, S, 3) RGB in [0, 1].
          speaker: (N, speaker_size); 0 for networks that know one speaker.
          targets: (N, M, n_mels), M a multiple of `reduction`: what is to be said, of
            which the decoder may be told the frames before the one it says. None: it
            hears itself only, and M is as long as the window.
          forced: whether it is told, of all steps or of each, () or (steps,) bool.
          lengths: (N,) faces that count, the rest being padding; None: all.
          train: use batch statistics and update the running ones, and draw what dropout
            and zoneout take away.
        """
        valid = None
        if lengths is not None:
            valid = jnp.arange(faces.shape[1]) < lengths[:, None]
        memory = self._remember(self._watch(faces, valid, train), speaker, valid)
        before, alignments = self._decode(memory, targets, forced, train)
        postnet = Postnet(
            self.postnet,
            self.width,
            self.dropout,
            self.folded,
            self.dtype,
            name="postnet_convolutions",
        )
        project = nn.Dense(
            self.n_mels,
            dtype=self.dtype,
            kernel_init=GLOROT,
            name="postnet_projection",
        )
        mel = before + project(postnet(before, train)).astype(before.dtype)
        return Speech(mel, before, alignments)

    def _watch(
        self, faces: jax.Array, valid: jax.Array | None, train: bool
    ) -> jax.Array:
        """What is seen, (N, T, 2 * units)."""
        see = FaceEncoder(
            self.encoder,
            self.width,
            self.folded,
            self.dtype,
            name="encoder_convolutions",
        )
        relate = BiLSTM(
            scaled(self.encoder_units, self.width),
            self.zoneout,
            self.dtype,
            name="encoder_LSTM",
        )
        valid = None if valid is None else valid[..., None]
        return relate(see(faces, train), valid, train)

    def _remember(
        self, seen: jax.Array, speaker: jax.Array, valid: jax.Array | None
    ) -> Memory:
        """What is seen, and who says it."""
        speaker = jnp.broadcast_to(
            speaker[:, None], (*seen.shape[:2], speaker.shape[-1])
        )
        values = jnp.concatenate([seen, speaker], axis=-1)
        if valid is not None:
            values = jnp.where(valid[..., None], values, 0)
        key = nn.Dense(
            self.attention.units,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=GLOROT,
            name="memory_layer",
        )
        return Memory(values, key(values), valid)

    def _decode(
        self,
        memory: Memory,
        targets: jax.Array | None,
        forced: jax.Array | bool,
        train: bool,
    ) -> tuple[jax.Array, jax.Array]:
        """Frames (N, M, n_mels) and alignments (N, T, steps)."""
        if targets is None:
            steps, teacher = self.mel_frames(self.frames) // self.reduction, None
        else:
            last = targets[:, self.reduction - 1 :: self.reduction]
            steps = last.shape[1]
            last = last.swapaxes(0, 1).astype(wide(self.dtype))
            teacher = last, jnp.broadcast_to(forced, (steps,))

        def step(cell, state, teacher):
            return cell(state, memory, teacher, train)

        cell = DecoderCell(
            n_mels=self.n_mels,
            reduction=self.reduction,
            prenet=tuple(scaled(units, self.width) for units in self.prenet),
            units=scaled(self.decoder_units, self.width),
            attention=self.attention,
            dropout=self.dropout,
            zoneout=self.zoneout,
            dtype=self.dtype,
            name="decoder",
        )
        scan = nn.scan(
            step,
            variable_broadcast="params",
            split_rngs={"params": False, "dropout": True},
            out_axes=(1, 2),
            length=steps,
        )
        _, (said, alignments) = scan(cell, cell.zero_state(memory), teacher)
        return said.reshape(said.shape[0], -1, self.n_mels), alignments


_SMALL = Lip2Wav(48, encoder=encoder_rows(32, blocks=4), encoder_units=256)

VARIANTS: dict[str, Lip2Wav] = {
    "lip2wav_chem": Lip2Wav(),
    "lip2wav_chess": _SMALL,  # and "hs" and "eh", of the same sizes
    "lip2wav_dl": _SMALL.clone(frames=75, fps=25, decoder_units=256),
    "lip2wav_lrw": Lip2Wav(
        128,
        frames=25,
        fps=25,
        overlap=10,
        encoder=encoder_rows(32, blocks=5, last_stride=4),
        encoder_units=256,
    ),
}
