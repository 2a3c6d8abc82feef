"""How a trained generator turns face crops and speech into new pixels."""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lipsync_jax.audio.mel import WAV2LIP, MelSpec, stream_mel
from lipsync_jax.nn.fold import fold_batch_norm
from lipsync_jax.systems.wav2lip.model import Wav2Lip

WINDOW = 16  # mel columns that one frame sees: 0.2 s


def window_start(frame: int, fps: float, spec: MelSpec = WAV2LIP) -> int:
    """First mel column of a frame's window, as the original rounds it."""
    return int(frame * (spec.frames_per_second / fps))


def window_count(columns: int, fps: float, spec: MelSpec = WAV2LIP) -> int:
    """Frames that speech of `columns` mel columns drives (0 if shorter than one).

    The last one is the original's tail: the last 16 columns, once more than fit.
    """
    if columns < WINDOW:
        return 0
    frame = int((columns - WINDOW) / (spec.frames_per_second / fps))
    while window_start(frame, fps, spec) + WINDOW <= columns:
        frame += 1
    while window_start(frame - 1, fps, spec) + WINDOW > columns:
        frame -= 1
    return frame + 1


def windows(
    pieces: Iterable[np.ndarray], fps: float, shift: int = 0, spec: MelSpec = WAV2LIP
) -> Iterator[np.ndarray]:
    """The mel window of each output frame, in constant memory.

    Frame i sees the columns from int(i * 80 / fps). The original stops at the
    first window that does not fit and feeds the last 16 columns instead.

    Args:
      pieces: consecutive columns (80, t) of one spectrogram.
      fps: frames per second of the video.
      shift: frames by which windows are moved; training saw each frame with the
        sound that starts one frame earlier, which is shift=-1.
      spec: front end of the spectrogram.

    Yields:
      (80, 16) float32.
    """
    held = np.zeros((spec.n_mels, 0), np.float32)
    first = 0  # column number of held[:, 0]
    frame = 0
    for piece in pieces:
        held = np.concatenate([held, piece], axis=1)
        # A shift must not change how many frames there are: `start` decides that.
        while (start := window_start(frame, fps, spec)) + WINDOW <= (
            first + held.shape[1]
        ):
            shifted = max(0, window_start(frame + shift, fps, spec))
            shifted = min(shifted, first + held.shape[1] - WINDOW)
            yield held[:, shifted - first : shifted - first + WINDOW]
            frame += 1
        keep = min(start, first + held.shape[1] - WINDOW)
        keep = max(first, keep - int(abs(shift) * spec.frames_per_second / fps) - 1)
        held, first = held[:, keep - first :], keep
    if held.shape[1] >= WINDOW:
        yield held[:, -WINDOW:]


class Synthesizer:
    """A generator compiled for one batch shape.

    Attributes:
      aligned: whether it is shown aligned faces (`faces.aligned`); else boxes.
      size: side of the crops in pixels.
      batch_size: crops per call of the compiled program.
      sample_rate: of the speech it takes, in Hz.
      min_seconds: the shortest speech it takes.
    """

    aligned = False
    sample_rate = WAV2LIP.sample_rate
    min_seconds = WINDOW / WAV2LIP.frames_per_second

    def __init__(
        self,
        module: Wav2Lip,
        variables: dict,
        *,
        batch_size: int = 16,
        dtype: Any = jnp.float32,
        rounding: bool = False,
    ):
        """Folds batch norm into the convolutions and moves the weights once.

        Args:
          module: the generator.
          variables: its params and batch statistics.
          batch_size: crops per call of the compiled program.
          dtype: compute type, float32 or bfloat16.
          rounding: round the output to the nearest level; the original truncates.
        """
        self.size = module.resolution
        self.batch_size = batch_size
        network = module.clone(folded=True, dtype=dtype)
        self._variables = jax.device_put(fold_batch_norm(variables))

        def draw(variables: dict, crops: jax.Array, mel: jax.Array) -> jax.Array:
            face = crops.astype(jnp.float32) / 255
            masked = face.at[:, self.size // 2 :].set(0)
            drawn = network.apply(
                variables, mel[..., None], jnp.concatenate([masked, face], axis=-1)
            )
            levels = drawn * 255
            if rounding:
                levels = jnp.round(levels)
            # A tanh generator can leave the range.
            return jnp.clip(levels, 0, 255).astype(jnp.uint8)

        self._draw = jax.jit(draw)

    def frame_count(self, samples: int, fps: float) -> int:
        """Frames that `samples` of speech drive; 0 if it is too short for one."""
        return window_count(1 + samples // WAV2LIP.hop, fps) if samples else 0

    def windows(
        self, blocks: Iterable[np.ndarray], fps: float, shift: int = 0
    ) -> Iterator[np.ndarray]:
        """The mel window (80, 16) of each frame, from blocks of a waveform."""
        return windows(stream_mel(blocks), fps, shift)

    def __call__(self, crops: np.ndarray, mels: np.ndarray) -> jax.Array:
        """Redraws mouths; returns at once, the result arrives asynchronously.

        Args:
          crops: (n, size, size, 3) RGB uint8, n <= batch_size.
          mels: (n, 80, 16) float32, the window of each crop.

        Returns:
          (batch_size, size, size, 3) RGB uint8; rows from n on are padding.
        """
        missing = self.batch_size - len(crops)
        crops = np.pad(crops, ((0, missing), (0, 0), (0, 0), (0, 0)))
        mels = np.pad(mels, ((0, missing), (0, 0), (0, 0)))
        return self._draw(self._variables, crops, mels)
