"""How near generated speech is to a recording: PESQ, STOI, ESTOI, mel cepstra.

As in the published evaluation of Lip2Wav: both are compared from their starts, without
alignment, as far as the shorter one goes.
"""

import warnings
from functools import lru_cache
from importlib import import_module
from types import ModuleType

import numpy as np

from lipsync_jax.errors import AudioError, EnvironmentProblem

SAMPLE_RATE = 16_000
SHORTEST = 0.5  # seconds; PESQ needs a quarter, STOI 0.4

_WINDOW, _HOP, _N_FFT, _MELS, _CEPSTRA = 400, 80, 1024, 80, 13


def pesq(reference: np.ndarray, generated: np.ndarray) -> float:
    """Perceptual quality (ITU-T P.862, narrow band) as MOS-LQO, 1 to 4.55.

    Args:
      reference, generated: mono at 16 kHz in [-1, 1].

    Raises:
      AudioError: too short, or no speech in one of them.
      EnvironmentProblem: the library is not installed.
    """
    library = _library("pesq")
    reference, generated = _common(reference, generated)
    try:
        with np.errstate(invalid="ignore"):  # it divides by the peak, which may be 0
            return float(library.pesq(SAMPLE_RATE, reference, generated, "nb"))
    except library.NoUtterancesError:
        raise AudioError("PESQ finds no speech to compare (silence?)") from None


def stoi(reference: np.ndarray, generated: np.ndarray, extended: bool = False) -> float:
    """Short-time objective intelligibility, up to 1; ESTOI if `extended`.

    Args, Raises: as for `pesq`.
    """
    library = _library("pystoi")
    reference, generated = _common(reference, generated)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # else the score would be 1e-5
        try:
            value = library.stoi(reference, generated, SAMPLE_RATE, extended=extended)
        except RuntimeWarning:
            raise AudioError("STOI finds less than 0.4 s of speech") from None
    return float(value)


def mel_cepstral_distortion(reference: np.ndarray, generated: np.ndarray) -> float:
    """Mean distance of mel cepstra in dB (Kubichek, 1993); 0 is best.

    10 / ln 10 * sqrt(2 * sum of squared differences of cepstra 1 to 13), of 80 mel
    bands of windows of 25 ms every 5 ms; loudness (cepstrum 0) does not count. Frames
    are compared at equal times, not aligned.

    Args:
      reference, generated: mono at 16 kHz in [-1, 1].

    Raises:
      AudioError: too short.
    """
    reference, generated = _common(reference, generated)
    apart = mel_cepstra(reference) - mel_cepstra(generated)
    decibels = 10 / np.log(10) * np.sqrt(2 * (apart[:, 1:] ** 2).sum(axis=1))
    return float(decibels.mean())


def mel_cepstra(wave: np.ndarray) -> np.ndarray:
    """(S,) mono at 16 kHz -> (T, 14): log magnitude = c_0 + sum of c_m cos(m w)."""
    frames = np.lib.stride_tricks.sliding_window_view(wave, _WINDOW)[::_HOP]
    magnitude = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), _N_FFT))
    bands = magnitude @ _filters().T
    # Quieter than -100 dB is silence, whatever its spectrum.
    logarithm = np.log(np.maximum(bands, 1e-5))
    return logarithm @ _cosines().T


def _common(*waves: np.ndarray) -> list[np.ndarray]:
    """The part that all have, from the start."""
    length = min(len(wave) for wave in waves)
    if length < SHORTEST * SAMPLE_RATE:
        raise AudioError(
            f"{length / SAMPLE_RATE:.2f} s of sound in common are too short to "
            f"compare; it takes {SHORTEST:g} s"
        )
    return [np.asarray(wave[:length], np.float64) for wave in waves]


def _library(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError:
        raise EnvironmentProblem(
            f"{name} is not installed; pip install 'lipsync_jax[eval]' (it needs a C "
            "compiler), or leave the metric out of --metrics"
        ) from None


@lru_cache
def _filters() -> np.ndarray:
    """(80, 513) mel filters of unit peak up to 8 kHz."""
    import librosa.filters

    return librosa.filters.mel(
        sr=SAMPLE_RATE, n_fft=_N_FFT, n_mels=_MELS, norm=None, dtype=np.float64
    )


@lru_cache
def _cosines() -> np.ndarray:
    """(14, 80) from log bands to cepstra."""
    angle = np.pi * (np.arange(_MELS) + 0.5) / _MELS
    rows = np.cos(np.arange(_CEPSTRA + 1)[:, None] * angle) * 2 / _MELS
    rows[0] /= 2
    return rows
