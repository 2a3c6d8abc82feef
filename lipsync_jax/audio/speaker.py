"""What the speaker encoder hears: power mel spectrograms of overlapping windows.

The front end of GE2E in Real-Time-Voice-Cloning (section 11 of Lip2Wav's
specification): 25 ms frames every 10 ms, 40 bands, no logarithm; windows of 160 frames
that overlap by half.
"""

import numpy as np

from lipsync_jax.audio.mel import MelSpec, mel_basis

SPEC = MelSpec(n_fft=400, hop=160, n_mels=40, fmin=0.0, fmax=8000.0)
WINDOW = 160  # mel frames that the encoder hears at a time
_STEP = 80  # from window to window
_COVERED = 0.75  # least share of the last window that must be sound
_LEVEL = -30.0  # dB of full scale


def power_mel(wave: np.ndarray) -> np.ndarray:
    """Power mel spectrogram.

    Args:
      wave: (S,) mono at 16 kHz in [-1, 1], S > 200.

    Returns:
      (1 + S // 160, 40) float32.
    """
    padded = np.pad(np.asarray(wave, np.float64), SPEC.n_fft // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, SPEC.n_fft)[:: SPEC.hop]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SPEC.n_fft) / SPEC.n_fft)
    spectrum = np.fft.rfft(frames * hann)
    return (np.abs(spectrum) ** 2 @ mel_basis(SPEC).T).astype(np.float32)


def window_starts(samples: int) -> range:
    """First mel frames of the windows that cover so many samples."""
    frames = -(-(samples + 1) // SPEC.hop)
    starts = range(0, max(1, frames - WINDOW + _STEP + 1), _STEP)
    covered = (samples - starts[-1] * SPEC.hop) / (WINDOW * SPEC.hop)
    return starts[:-1] if len(starts) > 1 and covered < _COVERED else starts


def utterance_windows(wave: np.ndarray) -> np.ndarray:
    """Windows of speech (S,), S >= 1, as the encoder hears them: (k, 160, 40).

    Beyond its end there is silence.
    """
    starts = window_starts(len(wave))
    missing = (starts[-1] + WINDOW) * SPEC.hop - len(wave)
    mel = power_mel(np.pad(wave, (0, max(0, missing))))
    return np.stack([mel[start : start + WINDOW] for start in starts])


def raise_level(wave: np.ndarray) -> np.ndarray:
    """Speech (S,) at -30 dB of full scale (RMS), unless it is louder; or silent."""
    rms = np.sqrt(np.mean(np.square(wave, dtype=np.float64)))
    if rms == 0:
        return wave
    return wave * np.float32(max(1.0, 10 ** (_LEVEL / 20) / rms))
