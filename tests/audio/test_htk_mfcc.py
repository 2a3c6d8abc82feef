"""LipGAN's front ends: MFCCs equal the MATLAB scripts', mel is Wav2Lip's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lipsync_jax.audio.htk_mfcc import (
    LIPGAN,
    htk_mfcc,
    htk_mfcc_columns,
    stream_htk_mfcc,
)
from lipsync_jax.audio.mel import mel_spectrogram


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).parents[1] / "goldens" / "lipgan" / "audio.npz") as f:
        return dict(f)


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_equals_the_original(golden):
    want = golden["mfccs"]  # NaN where the sound is digital silence
    unguarded = htk_mfcc(golden["wav16k"], replace(LIPGAN, floor=0.0))
    np.testing.assert_allclose(unguarded, want, atol=1e-8)

    found = htk_mfcc(golden["wav16k"])
    silent = np.isnan(want).any(axis=0)
    assert 0 < silent.sum() < 20
    np.testing.assert_allclose(found[:, ~silent], want[:, ~silent], atol=1e-8)
    np.testing.assert_allclose(found[:, silent], 0, atol=1e-8)


def test_floats_and_integers_are_one_sound(golden):
    wav = golden["wav16k"]
    np.testing.assert_array_equal(htk_mfcc(np.float32(wav / 32768)), htk_mfcc(wav))


@pytest.mark.parametrize("size", [3, 137, 400, 401, 1000, 16000])
def test_streaming_changes_nothing(golden, size):
    wav = golden["wav16k"][:5555]
    blocks = [wav[i : i + size] for i in range(0, len(wav), size)]
    streamed = np.concatenate(list(stream_htk_mfcc(blocks)), axis=1)
    np.testing.assert_allclose(streamed, htk_mfcc(wav), atol=1e-9)


def test_columns_equal_those_of_the_whole(golden):
    wav = golden["wav16k"][2000:4000]
    whole = htk_mfcc(wav)
    for start in range(whole.shape[1]):
        for stop in range(start, whole.shape[1] + 1):
            part = htk_mfcc_columns(wav, start, stop)
            np.testing.assert_allclose(part, whole[:, start:stop], atol=1e-9)


@pytest.mark.parametrize("samples,columns", [(0, 0), (399, 0), (400, 1), (560, 2)])
def test_only_whole_frames_count(samples, columns):
    wav = np.full(samples, 0.1, np.float32)
    assert LIPGAN.count(samples) == columns
    assert htk_mfcc(wav).shape == (12, columns)
    assert sum(piece.shape[1] for piece in stream_htk_mfcc([wav])) == columns


def test_mel_is_wav2lips(golden):
    wav = golden["wav16k"].astype(np.float32) / 32768
    np.testing.assert_allclose(mel_spectrogram(wav), golden["mel16k"], atol=5e-6)
    short = mel_spectrogram(wav[8000:8401])
    np.testing.assert_allclose(short, golden["short_mel"], atol=5e-6)
