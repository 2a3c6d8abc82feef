"""MFCCs as the metric network (SyncNet v2) heard them in training.

The defaults of python_speech_features 0.6: rectangular 25 ms frames every 10 ms, 26
triangular filters, natural logarithm, orthonormal DCT, lifter, log energy first.
"""

from functools import lru_cache

import numpy as np

SAMPLE_RATE = 16000
_FRAME, _HOP, _N_FFT = 400, 160, 512
_FILTERS, _COEFFICIENTS, _LIFTER = 26, 13, 22
_FLOOR = np.finfo(float).eps  # replaces zeros before the logarithm


def mfcc(samples: np.ndarray, before: float = 0.0) -> np.ndarray:
    """Mel-frequency cepstral coefficients, computed in float64.

    Args:
      samples: (S,) mono at 16 kHz in int16 amplitudes, not scaled to 1; S >= 1.
      before: the sample before them, if they are cut out of a longer signal.

    Returns:
      (F, 13) float64, F = 1 for S <= 400 and 1 + ceil((S - 400) / 160) otherwise;
      the last frame is padded with zeros.
    """
    wave = np.asarray(samples, np.float64)
    wave = wave - 0.97 * np.concatenate([[before], wave[:-1]])
    count = 1 + max(0, -(-(wave.size - _FRAME) // _HOP))
    wave = np.pad(wave, (0, (count - 1) * _HOP + _FRAME - wave.size))
    frames = np.lib.stride_tricks.sliding_window_view(wave, _FRAME)[::_HOP]
    power = np.abs(np.fft.rfft(frames, _N_FFT)) ** 2 / _N_FFT
    energy = _log(power.sum(axis=1))
    cepstrum = _log(power @ _filters().T) @ _dct().T
    quefrency = np.arange(_COEFFICIENTS)
    cepstrum *= 1 + _LIFTER / 2 * np.sin(np.pi * quefrency / _LIFTER)
    cepstrum[:, 0] = energy
    return cepstrum


def _log(x: np.ndarray) -> np.ndarray:
    return np.log(np.where(x == 0, _FLOOR, x))


@lru_cache
def _filters() -> np.ndarray:
    """(26, 257) triangles with unit peak between 0 and 8 kHz, linear in bins."""
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, _FILTERS + 2) / 2595) - 1)
    edges = np.floor((_N_FFT + 1) * hertz / SAMPLE_RATE)
    bins = np.arange(_N_FFT // 2 + 1)
    rows = []
    for left, peak, right in zip(edges, edges[1:], edges[2:], strict=False):
        rising = (bins - left) / (peak - left)
        falling = (right - bins) / (right - peak)
        rows.append(np.maximum(0, np.minimum(rising, falling)))
    return np.stack(rows)


@lru_cache
def _dct() -> np.ndarray:
    """(13, 26) first rows of the orthonormal DCT-II."""
    n = np.arange(_FILTERS)
    k = np.arange(_COEFFICIENTS)[:, None]
    rows = np.sqrt(2 / _FILTERS) * np.cos(np.pi * k * (2 * n + 1) / (2 * _FILTERS))
    rows[0] /= np.sqrt(2)
    return rows
