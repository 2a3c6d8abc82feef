"""How a trained network turns faces into speech."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lipsync_jax.audio.griffin_lim import waveform_jax
from lipsync_jax.audio.mel import WAV2LIP
from lipsync_jax.errors import FaceError
from lipsync_jax.nn.fold import fold_batch_norm
from lipsync_jax.systems.lip2wav.model import Lip2Wav
from lipsync_jax.systems.lip2wav.windows import Window, windows

SAMPLE_RATE = WAV2LIP.sample_rate


class Synthesizer:
    """Says what faces say, window by window.

    The whole run is in memory: 7 KB for a face of 48 pixels.

    Attributes:
      size: side of the face crops in pixels.
      fps: faces per second.
      frames: fewest faces in a row that it takes.
    """

    def __init__(
        self,
        module: Lip2Wav,
        variables: Any,
        *,
        batch_size: int = 4,
        dtype: Any = jnp.float32,
        seed: int | None = 0,
        tail: bool = True,
    ):
        """Compiles nothing yet.

        Args:
          module, variables: the network, as `models_io.load` gives it.
          batch_size: windows at a time.
          dtype: compute type.
          seed: of the prenet's dropout, without which the original does not speak, and
            of the phases; None: no dropout.
          tail: see `windows`.
        """
        self.size, self.fps, self.frames = module.resolution, module.fps, module.frames
        self._module, self._batch_size, self._tail = module, batch_size, tail
        self._seed = seed
        folded = module.clone(folded=True, dtype=dtype)
        self._variables = jax.device_put(
            fold_batch_norm(variables, module.norm_epsilon)
        )

        def say(
            variables: Any, faces: jax.Array, speaker: jax.Array, key: jax.Array
        ) -> jax.Array:
            rngs = None if seed is None else {"dropout": key}
            faces = faces[None].astype(jnp.float32) / 255
            return folded.apply(variables, faces, speaker[None], rngs=rngs).mel[0]

        # Each window has a key of its own, so that batches make no difference.
        self._say = jax.jit(jax.vmap(say, in_axes=(None, 0, None, 0)))

    def mel(
        self, faces: Sequence[np.ndarray], speaker: np.ndarray | None = None
    ) -> np.ndarray:
        """The mel spectrogram of a run of faces.

        Args:
          faces: (S, S, 3) uint8 RGB each, `fps` per second, without a gap.
          speaker: (speaker_size,) who speaks; None for networks that know one.

        Returns:
          (n_mels, M) float32; M mel frames last as long as the faces, or a few less.

        Raises:
          FaceError: fewer faces than a window has.
        """
        if len(faces) < self.frames:
            raise FaceError(
                f"{len(faces)} faces in a row are too few: the network sees windows of "
                f"{self.frames} ({self.frames / self.fps:.1f} s); use a longer video"
            )
        if speaker is None:
            speaker = np.zeros(self._module.speaker_size, np.float32)
        found = windows(len(faces), self._module, self._tail)
        said = self._windows(faces, found, speaker)
        pieces = [mel[window.first :] for window, mel in zip(found, said, strict=True)]
        return np.concatenate(pieces).T

    def __call__(
        self, faces: Sequence[np.ndarray], speaker: np.ndarray | None = None
    ) -> np.ndarray:
        """Speech (S,) float32 of a run of faces, at 16 kHz and any level; see `mel`."""
        mel = self.mel(faces, speaker)
        bins = 1 + WAV2LIP.n_fft // 2
        phase = np.random.default_rng(self._seed or 0).random((bins, mel.shape[1]))
        return np.asarray(waveform_jax(mel, phase.astype(np.float32)))

    def _windows(
        self, faces: Sequence[np.ndarray], found: list[Window], speaker: np.ndarray
    ) -> Iterator[np.ndarray]:
        """What each window says, (M, n_mels)."""
        key = jax.random.key(self._seed or 0)
        for first in range(0, len(found), self._batch_size):
            batch = found[first : first + self._batch_size]
            # One size of batch, so that it is compiled once; the rest is thrown away.
            padded = [*batch, *[batch[-1]] * (self._batch_size - len(batch))]
            inputs = np.stack(
                [np.stack(faces[w.start : w.start + self.frames]) for w in padded]
            )
            numbers = np.arange(first, first + self._batch_size)
            keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)
            said = self._say(self._variables, inputs, speaker, keys)
            yield from np.asarray(said)[: len(batch)]
