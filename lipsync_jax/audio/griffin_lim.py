"""Sound from spectrograms: Griffin and Lim's algorithm, on the host and in JAX.

The inverse of `audio.mel` as Tacotron 2 and Lip2Wav have it (section 6 of Lip2Wav's
specification): pseudo-inverse of the filters, magnitudes raised to the power 1.5,
phases that start at random, inverse pre-emphasis.

A front end's `n_fft` must be a multiple of its `hop`.
"""

from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lipsync_jax.audio.mel import WAV2LIP, MelSpec, hann, mel_basis, normalise

ITERATIONS = 60
_POWER = 1.5  # sharpens magnitudes
_QUIETEST = 1e-10
_LOUDEST = 32767  # of 16 bits


def linear_spectrogram(wav: np.ndarray, spec: MelSpec = WAV2LIP) -> np.ndarray:
    """The spectrogram without its filters.

    Args:
      wav: (S,) mono in [-1, 1], S > n_fft / 2.
      spec: front end.

    Returns:
      (n_fft/2 + 1, 1 + S // hop) float32 in [-4, 4].
    """
    wave = np.asarray(wav, np.float64)
    before = np.concatenate([[0.0], wave[:-1]])
    magnitude = np.abs(_stft(wave - spec.preemphasis * before, spec, np))
    return normalise(magnitude, spec, np).astype(np.float32)


def amplitude(spectrogram: Any, spec: MelSpec, xp: Any) -> Any:
    """What `mel.normalise` was given; `xp` is `numpy` or `jax.numpy`."""
    top = spec.max_abs
    scaled = (xp.clip(spectrogram, -top, top) + top) / (2 * top)
    return 10 ** ((scaled * -spec.min_db + spec.min_db + spec.ref_db) / 20)


def mel_magnitude(mel: Any, spec: MelSpec, xp: Any) -> Any:
    """Magnitudes (n_fft/2 + 1, T) of a mel spectrogram (n_mels, T)."""
    linear = _inverse_basis(spec) @ amplitude(mel, spec, xp)
    return xp.maximum(_QUIETEST, linear)


def griffin_lim(
    magnitude: np.ndarray,
    phase: np.ndarray,
    iterations: int = ITERATIONS,
    spec: MelSpec = WAV2LIP,
) -> np.ndarray:
    """Sound whose spectrum has nearly the given magnitudes, computed in float64.

    Args:
      magnitude: (n_fft/2 + 1, T).
      phase: the same shape, in [0, 1): where each bin's phase starts, in turns.
      iterations: how often phases are taken from the sound they make.
      spec: front end.

    Returns:
      ((T - 1) * hop,) float64.
    """
    wave = _istft(magnitude * np.exp(2j * np.pi * phase), spec, np)
    for _ in range(iterations):
        spectrum = _stft(wave, spec, np)
        wave = _istft(magnitude * np.exp(1j * np.angle(spectrum)), spec, np)
    return wave


def waveform(
    mel: np.ndarray,
    phase: np.ndarray,
    iterations: int = ITERATIONS,
    spec: MelSpec = WAV2LIP,
) -> np.ndarray:
    """Sound of a mel spectrogram, on the host.

    Args:
      mel: (n_mels, T), clipped to [-4, 4].
      phase: (n_fft/2 + 1, T) in [0, 1), see `griffin_lim`.
      iterations: of `griffin_lim`.
      spec: front end.

    Returns:
      ((T - 1) * hop,) float32, of any level.
    """
    magnitude = mel_magnitude(np.asarray(mel, np.float64), spec, np) ** _POWER
    return deemphasise(griffin_lim(magnitude, phase, iterations, spec), spec)


def deemphasise(wave: np.ndarray, spec: MelSpec = WAV2LIP) -> np.ndarray:
    """Undoes the pre-emphasis: (S,) float64 -> (S,) float32."""
    from scipy.signal import lfilter

    return lfilter([1], [1, -spec.preemphasis], wave).astype(np.float32)


@partial(jax.jit, static_argnames=("iterations", "spec"))
def waveform_jax(
    mel: jax.Array,
    phase: jax.Array,
    iterations: int = ITERATIONS,
    spec: MelSpec = WAV2LIP,
) -> jax.Array:
    """Sound of a mel spectrogram, on the accelerator in float32; see `waveform`.

    It is compiled anew for each length; `jax.vmap` takes batches.
    """
    with jax.default_matmul_precision("highest"):
        magnitude = mel_magnitude(mel, spec, jnp) ** _POWER

    def improve(_: int, wave: jax.Array) -> jax.Array:
        spectrum = _stft(wave, spec, jnp)
        # The same as exp(i angle), which is 1 at 0.
        size = jnp.abs(spectrum)
        turned = jnp.where(size > 0, spectrum / jnp.where(size > 0, size, 1), 1)
        return _istft(magnitude * turned, spec, jnp)

    wave = _istft(magnitude * jnp.exp(2j * jnp.pi * phase), spec, jnp)
    wave = jax.lax.fori_loop(0, iterations, improve, wave)
    return _deemphasise_jax(wave, spec)


def pcm(wave: np.ndarray) -> np.ndarray:
    """16-bit samples of sound (S,), as loud as they can be; silence stays silent.

    Truncated, as in the original.
    """
    peak = max(0.01, float(np.abs(wave).max(initial=0)))
    return (wave * (_LOUDEST / peak)).astype(np.int16)


@lru_cache
def _inverse_basis(spec: MelSpec) -> np.ndarray:
    """Pseudo-inverse of the filters, (n_fft/2 + 1, n_mels) float32."""
    return np.linalg.pinv(mel_basis(spec))


@lru_cache
def _window_sum(count: int, spec: MelSpec) -> np.ndarray:
    """What `count` overlapping squared windows add up to."""
    frames = np.broadcast_to(hann(spec) ** 2, (count, spec.n_fft))
    total = _overlap_add(frames, spec, np)
    return np.where(total > np.finfo(np.float32).tiny, total, 1)


def _stft(wave: Any, spec: MelSpec, xp: Any) -> Any:
    """(S,) -> (n_fft/2 + 1, 1 + S // hop), centred, with reflected edges."""
    padded = xp.pad(wave, spec.n_fft // 2, mode="reflect")
    count = 1 + wave.shape[-1] // spec.hop
    index = np.arange(count)[:, None] * spec.hop + np.arange(spec.n_fft)
    return xp.fft.rfft(padded[index] * hann(spec).astype(wave.dtype)).T


def _istft(spectrum: Any, spec: MelSpec, xp: Any) -> Any:
    """(n_fft/2 + 1, T) -> ((T - 1) * hop,), least squares."""
    frames = xp.fft.irfft(spectrum.T)
    total = _overlap_add(frames * hann(spec).astype(frames.dtype), spec, xp)
    total = total / _window_sum(len(frames), spec).astype(total.dtype)
    half = spec.n_fft // 2
    return total[half:-half]


def _overlap_add(frames: Any, spec: MelSpec, xp: Any) -> Any:
    """Frames (T, n_fft), one every `hop` samples, added up."""
    count = len(frames)
    parts = spec.n_fft // spec.hop
    blocks = frames.reshape(count, parts, spec.hop)
    shifted = [
        xp.pad(blocks[:, part], ((part, parts - 1 - part), (0, 0)))
        for part in range(parts)
    ]
    return sum(shifted).reshape(-1)


def _deemphasise_jax(wave: jax.Array, spec: MelSpec) -> jax.Array:
    def combine(first, then):
        return first[0] * then[0], first[1] * then[0] + then[1]

    factors = jnp.full_like(wave, spec.preemphasis)
    return jax.lax.associative_scan(combine, (factors, wave))[1]
