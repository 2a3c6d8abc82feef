"""Mel spectrograms of the Wav2Lip family: host, streaming and JAX versions.

The original's front end (its `audio.py` with librosa 0.7): pre-emphasis, magnitude
STFT with reflected edges, Slaney mel filters, decibels, clipped to [-4, 4].
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    import scipy.sparse


@dataclass(frozen=True)
class MelSpec:
    """What a mel spectrogram is made of; times in samples, frequencies in Hz."""

    sample_rate: int = 16000
    n_fft: int = 800
    hop: int = 200
    n_mels: int = 80
    fmin: float = 55.0
    fmax: float = 7600.0
    preemphasis: float = 0.97
    ref_db: float = 20.0
    min_db: float = -100.0
    max_abs: float = 4.0

    @property
    def frames_per_second(self) -> float:
        """Columns per second."""
        return self.sample_rate / self.hop


WAV2LIP = MelSpec()


@lru_cache
def mel_basis(spec: MelSpec = WAV2LIP) -> np.ndarray:
    """Slaney filter bank (n_mels, n_fft/2 + 1), float32."""
    import librosa.filters

    return librosa.filters.mel(
        sr=spec.sample_rate,
        n_fft=spec.n_fft,
        n_mels=spec.n_mels,
        fmin=spec.fmin,
        fmax=spec.fmax,
    )


@lru_cache
def _filters(spec: MelSpec) -> "scipy.sparse.csr_array":
    """The filter bank in float64: 97 % zeros.

    A sparse product also keeps BLAS out, whose threads get in each other's way when
    the loader's threads call it on a few columns at a time.
    """
    import scipy.sparse

    return scipy.sparse.csr_array(mel_basis(spec).astype(np.float64))


@lru_cache
def hann(spec: MelSpec) -> np.ndarray:
    """Periodic Hann window (n_fft,), float64."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec.n_fft) / spec.n_fft)


def normalise(magnitude, spec: MelSpec, xp):
    """Magnitudes in decibels, from `spec.min_db` to 0 scaled to [-max_abs, max_abs].

    `xp` is `numpy` or `jax.numpy`.
    """
    db = 20 * xp.log10(xp.maximum(1e-5, magnitude)) - spec.ref_db
    scaled = 2 * spec.max_abs * (db - spec.min_db) / -spec.min_db - spec.max_abs
    return xp.clip(scaled, -spec.max_abs, spec.max_abs)


def _columns(padded: np.ndarray, spec: MelSpec) -> np.ndarray:
    """Spectrogram (n_mels, T) of every whole frame in an already padded signal."""
    frames = np.lib.stride_tricks.sliding_window_view(padded, spec.n_fft)[:: spec.hop]
    magnitude = np.abs(np.fft.rfft(frames * hann(spec)))
    mel = _filters(spec) @ magnitude.T
    return normalise(mel, spec, np).astype(np.float32)


def mel_spectrogram(wav: np.ndarray, spec: MelSpec = WAV2LIP) -> np.ndarray:
    """Mel spectrogram on the host, in float64 inside.

    Args:
      wav: (S,) mono in [-1, 1], S >= 1.
      spec: front end.

    Returns:
      (n_mels, 1 + S // hop) float32 in [-4, 4].
    """
    return np.concatenate(list(stream_mel([wav], spec)), axis=1)


def mel_columns(
    wav: np.ndarray, start: int, stop: int, spec: MelSpec = WAV2LIP
) -> np.ndarray:
    """Columns start, ..., stop - 1 of a clip's spectrogram, without the others.

    Equal to `mel_spectrogram(wav)[:, start:stop]` to float64 rounding; only the
    samples under these columns are touched.

    Args:
      wav: (S,) mono, S >= 1: float in [-1, 1], or int16, read as pcm / 32768.
      start, stop: 0 <= start < stop <= 1 + S // hop.
      spec: front end.

    Returns:
      (n_mels, stop - start) float32 in [-4, 4].
    """
    half = spec.n_fft // 2
    first = start * spec.hop - half
    end = (stop - 1) * spec.hop + half
    # Beyond its ends the emphasised signal goes on as its own mirror image.
    position = np.arange(first, end)
    if first < 0 or end > wav.size:
        period = max(1, 2 * (wav.size - 1))
        position = np.abs((position + wav.size - 1) % period - (wav.size - 1))
    low, high = position.min(), position.max() + 1
    samples = wav[max(0, low - 1) : high].astype(np.float64)
    if wav.dtype == np.int16:
        samples /= 32768
    if low == 0:
        samples = np.concatenate([[0.0], samples])
    emphasised = samples[1:] - spec.preemphasis * samples[:-1]
    return _columns(emphasised[position - low], spec)


def stream_mel(
    blocks: Iterable[np.ndarray], spec: MelSpec = WAV2LIP
) -> Iterator[np.ndarray]:
    """The same spectrogram, piece by piece and in constant memory.

    Args:
      blocks: consecutive pieces of one mono signal, any lengths.
      spec: front end.

    Yields:
      Consecutive columns (n_mels, t) float32; nothing for an empty signal.
    """
    half = spec.n_fft // 2
    # `pending` is the emphasised signal that later frames still need; until the
    # left edge is reflected (`padded`), it starts at sample 0.
    pending = np.zeros(0)
    last = 0.0
    padded = False
    for block in blocks:
        wide = np.asarray(block, np.float64)
        if not wide.size:
            continue
        before = np.concatenate([[last], wide[:-1]])
        last = wide[-1]
        pending = np.concatenate([pending, wide - spec.preemphasis * before])
        if not padded and pending.size > half:
            pending = np.concatenate([pending[half:0:-1], pending])
            padded = True
        ready = (pending.size - spec.n_fft) // spec.hop + 1
        # The right reflection reads the last `half` + 1 samples: keep them.
        ready = min(ready, (pending.size - half - 1) // spec.hop)
        if padded and ready > 0:
            end = (ready - 1) * spec.hop + spec.n_fft
            yield _columns(pending[:end], spec)
            pending = pending[ready * spec.hop :]
    if pending.size:
        left = 0 if padded else half
        yield _columns(np.pad(pending, (left, half), mode="reflect"), spec)


def mel_spectrogram_jax(wav: jax.Array, spec: MelSpec = WAV2LIP) -> jax.Array:
    """Mel spectrogram on the accelerator, float32.

    Args:
      wav: (..., S) mono in [-1, 1], S > n_fft / 2.
      spec: front end.

    Returns:
      (..., n_mels, 1 + S // hop) float32 in [-4, 4]; within 1e-4 of the host's
      float64 result (float32 rounding of the transform, seen in quiet bands).
    """
    half = spec.n_fft // 2
    wav = jnp.asarray(wav, jnp.float32)
    emphasised = wav.at[..., 1:].add(-spec.preemphasis * wav[..., :-1])
    edges = [(0, 0)] * (wav.ndim - 1) + [(half, half)]
    padded = jnp.pad(emphasised, edges, mode="reflect")
    count = 1 + wav.shape[-1] // spec.hop
    index = np.arange(count)[:, None] * spec.hop + np.arange(spec.n_fft)
    frames = padded[..., index] * hann(spec).astype(np.float32)
    magnitude = jnp.abs(jnp.fft.rfft(frames))
    mel = jnp.matmul(magnitude, mel_basis(spec).T, precision="highest")
    return jnp.swapaxes(normalise(mel, spec, jnp), -1, -2)
