"""The mel front end: equal to the original, whole, streamed and in JAX."""

import jax
import numpy as np
import pytest
from parity import golden

from lipsync_jax.audio.mel import (
    mel_basis,
    mel_spectrogram,
    mel_spectrogram_jax,
    stream_mel,
)


@pytest.fixture(scope="module")
def want():
    return golden("audio_mel")


@pytest.mark.parametrize("pcm,mel", [("pcm", "mel"), ("pcm_short", "mel_short")])
def test_equals_the_original(want, pcm, mel):
    wav = want[pcm].astype(np.float32) / 32768
    np.testing.assert_allclose(mel_spectrogram(wav), want[mel], atol=5e-6)
    # float32 on the accelerator: quiet bands lose digits in the transform.
    found = np.asarray(jax.jit(mel_spectrogram_jax)(wav))
    np.testing.assert_allclose(found, want[mel], atol=1e-4)


def test_filter_bank(want):
    np.testing.assert_allclose(mel_basis(), want["mel_basis"], atol=1e-7)


@pytest.mark.parametrize("size", [3, 137, 401, 1000, 16000])
def test_streaming_changes_nothing(want, size):
    wav = want["pcm"][:9999].astype(np.float32) / 32768
    blocks = [wav[i : i + size] for i in range(0, len(wav), size)]
    streamed = np.concatenate(list(stream_mel(blocks)), axis=1)
    np.testing.assert_array_equal(streamed, mel_spectrogram(wav))


@pytest.mark.parametrize("samples,columns", [(1, 1), (300, 2), (400, 3), (401, 3)])
def test_very_short_sound_is_reflected(samples, columns):
    wav = np.linspace(-0.5, 0.5, samples, dtype=np.float32)
    assert mel_spectrogram(wav).shape == (80, columns)


def test_silence_is_the_lowest_value():
    assert (mel_spectrogram(np.zeros(8000, np.float32)) == -4).all()


def test_no_sound_gives_no_columns():
    assert list(stream_mel([])) == []


def test_batches_in_jax():
    wav = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 3200)).astype(np.float32)
    both = mel_spectrogram_jax(wav)
    assert both.shape == (2, 80, 17)
    np.testing.assert_allclose(both[1], mel_spectrogram(wav[1]), atol=1e-4)
