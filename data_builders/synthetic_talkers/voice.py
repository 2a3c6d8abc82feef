"""A small formant synthesiser: vocal folds and noise, coloured by resonances."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from data_builders.synthetic_talkers.coarticulation import CONTROL_RATE, glide
from data_builders.synthetic_talkers.motion import smooth_noise
from data_builders.synthetic_talkers.phonemes import Phone
from lipsync_jax.data.schema import SAMPLE_RATE

# Filters are applied to short overlapping blocks of the sources. The Hann window of a
# block adds up to 2 at this hop; the padding holds the resonances' decay.
_BLOCK, _HOP, _PADDED = 256, 64, 512
_FORMANT_GLIDE = 0.014  # seconds
_BANDWIDTHS = np.array([80.0, 100.0, 140.0, 220.0, 300.0])  # Hz
_HIGH_FORMANTS = (3500.0, 4500.0)  # Hz; the same in all sounds


@dataclass(frozen=True)
class Voice:
    """What makes one person's speech differ from another's.

    Attributes:
      pitch: mean frequency of the vocal folds in Hz.
      melody: how far the pitch moves, as a share of it.
      size: factor on all formants; small heads have high ones.
      breathiness: noise in the voice, in [0, 1].
      rate: speed of speech; 1 is average.
      level: root mean square of the sound, full scale being 1.
      noise: the same of the room's noise, relative to `level`.
    """

    pitch: float
    melody: float
    size: float
    breathiness: float
    rate: float
    level: float
    noise: float

    @staticmethod
    def random(rng: np.random.Generator) -> "Voice":
        """A plausible voice, from deep to a child's."""
        height = rng.uniform()
        return Voice(
            pitch=95 * 2.4**height * rng.uniform(0.9, 1.1),
            melody=rng.uniform(0.06, 0.18),
            size=0.92 + 0.24 * height + rng.uniform(-0.03, 0.03),
            breathiness=rng.uniform(0.02, 0.25),
            rate=rng.uniform(0.9, 1.15),
            level=10 ** (rng.uniform(-26, -18) / 20),
            noise=10 ** (rng.uniform(-45, -30) / 20),
        )


def synthesise(
    phones: Sequence[Phone], voice: Voice, samples: int, rng: np.random.Generator
) -> np.ndarray:
    """Speaks phones.

    Args:
      phones: without gaps, covering the time of the samples.
      voice: of the speaker.
      samples: S, length of the result at 16 kHz from time 0.
      rng: source of noise and melody.

    Returns:
      (S,) int16; never clipped.
    """
    sound = _filter(phones, voice, *_sources(phones, voice, samples, rng))
    sound += _rms(sound) * voice.noise * rng.standard_normal(samples)
    gain = min(voice.level / _rms(sound), 0.95 / np.abs(sound).max())
    return np.rint(32767 * gain * sound).astype(np.int16)


def _rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(sound**2))) + 1e-9


def _sources(
    phones: Sequence[Phone], voice: Voice, samples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """What enters the vocal tract, and the noise made at its end; (S,) each."""
    voiced, breath, hiss = _amplitudes(phones, samples).T
    folds, flow = _vocal_folds(voice, samples, rng)
    noise = rng.standard_normal((2, samples))
    air = 0.3 * (breath + voice.breathiness * voiced * flow)
    return voiced * folds + air * noise[0], hiss * noise[1]


def _amplitudes(phones: Sequence[Phone], samples: int) -> np.ndarray:
    """Voice, breath and hiss over time (S, 3), stepping as fast as a mouth can."""
    steps, values = [], []
    for phone in phones:
        p = phone.phoneme
        release = phone.start + p.closure * (phone.stop - phone.start)
        if p.closure:
            steps.append(release)
            values.append((p.hum, 0.0, 0.0))
        steps.append(phone.stop)
        values.append((p.voice, p.breath, p.hiss))
    count = samples * CONTROL_RATE // SAMPLE_RATE + 2
    grid = np.arange(count) / CONTROL_RATE
    track = np.array(values)[np.searchsorted(steps, grid, side="right")]
    track = gaussian_filter1d(track, 0.004 * CONTROL_RATE, axis=0, mode="nearest")
    times = np.arange(samples) / SAMPLE_RATE
    return np.stack([np.interp(times, grid, column) for column in track.T], axis=1)


def _vocal_folds(
    voice: Voice, samples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Change of the air flow (unit variance), and the flow itself in [0, 1]."""
    coarse = smooth_noise(rng, samples // 160 + 2, 15)  # 10 ms steps
    melody = np.interp(np.arange(samples) / 160, np.arange(len(coarse)), coarse)
    frequency = voice.pitch * np.exp(voice.melody * melody)
    phase = (rng.uniform() + np.cumsum(frequency) / SAMPLE_RATE) % 1.0
    # Rosenberg's pulse: opens over 40 % of the period, shuts over 16 %.
    flow = np.where(phase < 0.4, 0.5 - 0.5 * np.cos(np.pi * phase / 0.4), 0.0)
    shutting = (phase >= 0.4) & (phase < 0.56)
    flow[shutting] = np.cos(np.pi / 2 * (phase[shutting] - 0.4) / 0.16)
    change = np.diff(flow, prepend=flow[0])
    return change / change.std(), flow


def _filter(
    phones: Sequence[Phone], voice: Voice, tract: np.ndarray, hiss: np.ndarray
) -> np.ndarray:
    """Sends both sources through filters that follow the phones; (S,)."""
    samples = len(tract)
    count = samples // _HOP + _BLOCK // _HOP
    centres = (np.arange(count) * _HOP - _BLOCK / 2) / SAMPLE_RATE
    formants = glide(
        phones,
        np.log([phone.phoneme.formants for phone in phones]),
        np.ones(len(phones)),
        centres,
        _FORMANT_GLIDE,
    )
    bands = glide(
        phones,
        np.array([phone.phoneme.band for phone in phones]),
        np.array([phone.phoneme.hiss + 1e-3 for phone in phones]),
        centres,
        _FORMANT_GLIDE,
    )
    spectrum = _spectra(tract, count) * _resonances(np.exp(formants) * voice.size)
    spectrum += _spectra(hiss, count) * _hiss_band(bands)
    return _overlap_add(np.fft.irfft(spectrum, _PADDED))[_BLOCK : _BLOCK + samples]


def _spectra(source: np.ndarray, count: int) -> np.ndarray:
    """Spectra of windowed blocks; the first ends just before sample `_HOP`."""
    padded = np.pad(source, (_BLOCK, _BLOCK + _HOP))
    blocks = np.lib.stride_tricks.sliding_window_view(padded, _BLOCK)
    window = 0.25 - 0.25 * np.cos(2 * np.pi * np.arange(_BLOCK) / _BLOCK)
    return np.fft.rfft(blocks[: count * _HOP : _HOP] * window, _PADDED)


def _resonances(formants: np.ndarray) -> np.ndarray:
    """Response (N, F) of a cascade of two-pole resonators at (N, 3) formants."""
    high = np.broadcast_to(_HIGH_FORMANTS, (len(formants), len(_HIGH_FORMANTS)))
    centres = np.concatenate([formants, high], axis=1)
    radius = np.exp(-np.pi * _BANDWIDTHS / SAMPLE_RATE)
    first = -2 * radius * np.cos(2 * np.pi * centres / SAMPLE_RATE)
    first, second = first.astype(np.float32), np.float32(radius**2)  # (N, 5), (5,)
    delay = np.exp(-2j * np.pi * np.arange(_PADDED // 2 + 1) / _PADDED)
    delay = delay.astype(np.complex64)
    response = np.prod(1 + first + second, axis=1)[:, None]  # makes it 1 at 0 Hz
    for i in range(len(radius)):
        response = response / (1 + delay * (first[:, i, None] + delay * second[i]))
    return response


def _hiss_band(bands: np.ndarray) -> np.ndarray:
    """Response (N, F) around (N, 2) centres and widths; the same loudness for all."""
    frequency = np.fft.rfftfreq(_PADDED, 1 / SAMPLE_RATE)
    centre, width = bands[:, :1], bands[:, 1:]
    return np.sqrt(1500 / width) * np.exp(-0.5 * ((frequency - centre) / width) ** 2)


def _overlap_add(blocks: np.ndarray) -> np.ndarray:
    parts = blocks.reshape(len(blocks), -1, _HOP)
    total = np.zeros((len(blocks) + parts.shape[1], _HOP))
    for i in range(parts.shape[1]):
        total[i : i + len(blocks)] += parts[:, i]
    return total.reshape(-1)
