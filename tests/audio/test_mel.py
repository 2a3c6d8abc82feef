"""The mel front end: equal to the original, whole, streamed and in JAX."""

import jax
import numpy as np
import pytest
from parity import golden

from lipsync_jax.audio.mel import (
    mel_basis,
    mel_columns,
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


@pytest.mark.parametrize(
    "samples", [1, 2, 3, 199, 200, 201, 399, 400, 401, 402, 799, 800, 801, 1000, 4321]
)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_columns_equal_those_of_the_whole(samples, dtype):
    pcm = np.random.default_rng(samples).integers(-20000, 20000, samples)
    wav = pcm.astype(np.int16) if dtype == np.int16 else np.float32(pcm / 32768)
    whole = mel_spectrogram(np.float32(pcm / 32768))
    count = whole.shape[1]
    for start in range(count):
        for stop in {start + 1, min(count, start + 3), count}:
            part = mel_columns(wav, start, stop)
            np.testing.assert_array_equal(part, whole[:, start:stop])


def test_columns_touch_only_the_samples_under_them(want):
    wav = want["pcm"].copy()
    part = mel_columns(wav, 20, 36)
    low, high = 20 * 200 - 400 - 1, 35 * 200 + 400  # one more for the pre-emphasis
    wav[:low], wav[high:] = 32767, -32768
    np.testing.assert_array_equal(mel_columns(wav, 20, 36), part)
    np.testing.assert_allclose(part, want["mel"][:, 20:36], atol=5e-6)
