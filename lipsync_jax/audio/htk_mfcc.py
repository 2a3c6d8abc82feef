"""MFCCs as HTK computes them, up to its scale: what DAVS and the first LipGAN heard.

The front end of LipGAN's MATLAB scripts (its section 5.2), which SyncNet's and DAVS's
(section 5) use, too: Hamming frames, magnitude spectrum, triangles between 300 and
3700 Hz that are linear in hertz, natural logarithm, DCT, lifter; the 0th coefficient
is left out.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import scipy.sparse


@dataclass(frozen=True)
class MfccSpec:
    """What the coefficients are made of; times in samples, frequencies in Hz.

    Attributes:
      floor: least filter output before the logarithm. It makes digital silence a flat
        spectrum, whose coefficients are 0; with 0, as in the original, it gives NaN.
    """

    sample_rate: int = 16000
    frame: int = 400
    hop: int = 160
    n_fft: int = 512
    n_filters: int = 40
    n_mfcc: int = 12
    fmin: float = 300.0
    fmax: float = 3700.0
    preemphasis: float = 0.97
    lifter: int = 22
    floor: float = float(np.finfo(np.float64).eps)

    @property
    def frames_per_second(self) -> float:
        """Columns per second."""
        return self.sample_rate / self.hop

    def count(self, samples: int) -> int:
        """Columns of a signal: only whole frames count."""
        return max(0, (samples - self.frame) // self.hop + 1)


LIPGAN = MfccSpec()
# The quietest sound that is not all zeros has filter outputs of about 0.1.
DAVS = MfccSpec(n_filters=13, floor=0.01)


def htk_mfcc(wav: np.ndarray, spec: MfccSpec = LIPGAN) -> np.ndarray:
    """The coefficients of a signal, computed in float64.

    Args:
      wav: (S,) mono: float in [-1, 1], or int16.
      spec: front end.

    Returns:
      (n_mfcc, T) float64, T = floor((S - 400) / 160) + 1, 0 if S < 400.
    """
    return htk_mfcc_columns(wav, 0, spec.count(wav.size), spec)


def htk_mfcc_columns(
    wav: np.ndarray, start: int, stop: int, spec: MfccSpec = LIPGAN
) -> np.ndarray:
    """Columns start, ..., stop - 1 of `htk_mfcc`, without computing the others.

    Args:
      wav: as for `htk_mfcc`.
      start, stop: 0 <= start <= stop <= `spec.count(S)`.
      spec: front end.

    Returns:
      (n_mfcc, stop - start) float64.
    """
    if start == stop:
        return np.zeros((spec.n_mfcc, 0))
    first = start * spec.hop
    end = (stop - 1) * spec.hop + spec.frame
    samples = _levels(wav[max(0, first - 1) : end])
    before = samples[0] if first else 0.0
    return _columns(_emphasised(samples[bool(first) :], before, spec), spec)


def stream_htk_mfcc(
    blocks: Iterable[np.ndarray], spec: MfccSpec = LIPGAN
) -> Iterator[np.ndarray]:
    """The same columns, piece by piece and in constant memory.

    Args:
      blocks: consecutive pieces of one mono signal, any lengths.
      spec: front end.

    Yields:
      Consecutive columns (n_mfcc, t) float64; nothing for a signal under one frame.
    """
    pending = np.zeros(0)  # emphasised, and still needed
    last = 0.0
    for block in blocks:
        if not block.size:
            continue
        samples = _levels(block)
        pending = np.concatenate([pending, _emphasised(samples, last, spec)])
        last = samples[-1]
        if ready := spec.count(pending.size):
            yield _columns(pending, spec)
            pending = pending[ready * spec.hop :]


def _levels(wav: np.ndarray) -> np.ndarray:
    """Float64 in int16 amplitudes."""
    return wav.astype(np.float64) * (1 if wav.dtype == np.int16 else 32768)


def _emphasised(samples: np.ndarray, before: float, spec: MfccSpec) -> np.ndarray:
    """Samples less a share of the one before each; `before` precedes the first."""
    return samples - spec.preemphasis * np.concatenate([[before], samples[:-1]])


def _columns(emphasised: np.ndarray, spec: MfccSpec) -> np.ndarray:
    """(n_mfcc, T) of every whole frame."""
    frames = np.lib.stride_tricks.sliding_window_view(emphasised, spec.frame)
    magnitude = np.abs(np.fft.rfft(frames[:: spec.hop] * _window(spec), spec.n_fft))
    energy = np.maximum(_filters(spec) @ magnitude.T, spec.floor)
    return _cepstrum(spec) @ np.log(energy)


@lru_cache
def _window(spec: MfccSpec) -> np.ndarray:
    """Symmetric Hamming window (frame,)."""
    return np.hamming(spec.frame)


@lru_cache
def _filters(spec: MfccSpec) -> "scipy.sparse.csr_array":
    """Triangles of unit height (n_filters, n_fft/2 + 1), edges even in mel.

    Sparse for the reason given in `mel._filters`.
    """
    import scipy.sparse

    low, high = 1127 * np.log1p(np.array([spec.fmin, spec.fmax]) / 700)
    edges = 700 * np.expm1(np.linspace(low, high, spec.n_filters + 2) / 1127)
    left, peak, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    hertz = np.linspace(0, spec.sample_rate / 2, spec.n_fft // 2 + 1)
    rising = (hertz - left) / (peak - left)
    falling = (right - hertz) / (right - peak)
    return scipy.sparse.csr_array(np.maximum(0, np.minimum(rising, falling)))


@lru_cache
def _cepstrum(spec: MfccSpec) -> np.ndarray:
    """DCT and lifter in one (n_mfcc, n_filters), without the 0th coefficient."""
    n = np.arange(1, spec.n_mfcc + 1)[:, None]
    m = np.arange(spec.n_filters) + 0.5
    dct = np.sqrt(2 / spec.n_filters) * np.cos(np.pi * n * m / spec.n_filters)
    return dct * (1 + spec.lifter / 2 * np.sin(np.pi * n / spec.lifter))
