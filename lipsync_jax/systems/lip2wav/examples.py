"""Training examples of Lip2Wav: a window of faces and the mel spectrogram of its sound.

Kept from the original (section 7.2): which windows there are, and the arithmetic of
where their sound begins. Each usable clip comes once in an epoch, with one window;
there, a window is drawn for each of the dataset's frames.
"""

from functools import partial

import numpy as np

from lipsync_jax.audio.mel import WAV2LIP, mel_columns
from lipsync_jax.audio.speaker import raise_level, utterance_windows
from lipsync_jax.data.examples import Examples
from lipsync_jax.data.frames import read_frames
from lipsync_jax.data.schema import SAMPLE_RATE, Clip, ClipMeta
from lipsync_jax.errors import DataError
from lipsync_jax.systems.lip2wav.model import Lip2Wav

_VOICE = SAMPLE_RATE  # samples by which a speaker is known
_SAME_RATE = 0.01  # 29.97 frames per second count as 30


def examples(module: Lip2Wav, voice: bool = False) -> Examples:
    """How Lip2Wav takes examples from clips.

    Args:
      module: the network, which says how long windows are.
      voice: examples say who speaks, too.
    """
    return Examples(
        partial(starts, module=module, voice=voice),
        partial(example, module=module, voice=voice),
    )


def starts(meta: ClipMeta, *, module: Lip2Wav, voice: bool = False) -> np.ndarray:
    """First frames (k,) int64 of windows that have all faces and all their sound.

    Raises:
      DataError: the clip has another frame rate than the network.
    """
    if abs(meta.fps / module.fps - 1) > _SAME_RATE:
        raise DataError(
            f"clip {meta.id} has {meta.fps:g} frames per second, but the network "
            f"{module.fps:g}; set config.arguments.fps, and frames so that a window "
            "lasts as long as before, or build the dataset at the network's rate"
        )
    if voice and meta.samples < _VOICE:
        return np.zeros(0, np.int64)
    windows = np.convolve(meta.valid, np.ones(module.frames, int), "valid")
    found = np.flatnonzero(windows == module.frames)
    if len(meta.valid) < module.frames or not len(found):
        return np.zeros(0, np.int64)
    columns = mel_start(found, meta.samples, meta.fps)
    last = mel_count(meta.samples) - module.mel_frames(module.frames)
    return found[columns <= last]


def mel_count(samples: int) -> int:
    """Mel frames of so many samples."""
    return 1 + samples // WAV2LIP.hop


def mel_start(frame: np.ndarray | int, samples: int, fps: float) -> np.ndarray:
    """First mel frames, int64, of windows that begin with the given frames.

    The original stretches the clip's mel frames over its video frames, and truncates
    twice.
    """
    count = mel_count(samples)
    frames = max(1, int(count * WAV2LIP.hop * fps / WAV2LIP.sample_rate))
    return (count * np.asarray(frame, np.float64) / frames).astype(np.int64)


def example(
    clip: Clip,
    start: int,
    rng: np.random.Generator,
    *,
    module: Lip2Wav,
    voice: bool = False,
) -> dict[str, np.ndarray]:
    """One example.

    Args:
      clip: the record.
      start: one of `starts`.
      rng: decides which second of the clip the voice is of.
      module: the network.
      voice: whether to say who speaks.

    Returns:
      faces: (frames, resolution, resolution, 3) uint8 RGB.
      mel: (mel frames, 80) float32, what they say.
      voice: (160, 40) float32, what the speaker encoder hears; if asked for.
    """
    column = int(mel_start(start, len(clip.audio), clip.fps))
    stop = column + module.mel_frames(module.frames)
    found = {
        "faces": read_frames(clip, start, module.frames, module.resolution),
        "mel": mel_columns(clip.audio, column, stop).T,
    }
    if voice:
        wave = raise_level(clip.audio / np.float32(32768))
        first = rng.integers(len(wave) - _VOICE + 1)
        found["voice"] = utterance_windows(wave[first : first + _VOICE])[0]
    return found
