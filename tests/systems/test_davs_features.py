"""What DAVS hears equals what the original's MATLAB scripts give."""

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from parity import fill_inputs

from lipsync_jax.audio.htk_mfcc import DAVS, htk_mfcc
from lipsync_jax.errors import AudioError
from lipsync_jax.systems.davs.features import (
    MIN_SAMPLES,
    block_start,
    blocks,
    stream_blocks,
)

GOLDENS = Path(__file__).parents[1] / "goldens" / "davs"
WAVES = json.loads((GOLDENS / "audio.json").read_text())


def waveform(name):
    """A chirp, a wavering tone and noise, int16; as long as the original used it."""
    case = WAVES[name]
    count, f0, f1 = (case[key] for key in ("samples", "f0", "f1"))
    t, length = np.arange(count) / 16000, count / 16000
    chirp = np.sin(2 * np.pi * (f0 * t + (f1 - f0) * t**2 / (2 * length)))
    tone = np.sin(2 * np.pi * 440 * t) * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * t))
    noise = case["nz"] * fill_inputs(name, (count,))
    x = np.clip(case["amp"] * (0.45 * chirp + 0.25 * tone + noise), -1, 0.999969)
    wav = np.round(32768 * x).astype(np.int16)
    assert wav[:8].tolist() == case["int16_first8"]
    assert wav.sum(dtype=np.int64) == case["int16_sum"]
    return wav[:-600] if case["last_600_samples_dropped"] else wav


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDENS / "audio.npz") as file:
        return dict(file)


@pytest.mark.parametrize("name", WAVES)
def test_equals_the_original(golden, name):
    wav = waveform(name)
    want = golden[f"{name}_mfcc13"][:, 1:].T  # without the 0th
    # The golden is stored in float32.
    np.testing.assert_allclose(htk_mfcc(wav, DAVS), want, atol=2e-6)
    files = WAVES[name]["mfcc20_sel_files"]
    found = [blocks(wav, frame, 1, 25.0)[0] for frame in files]
    np.testing.assert_allclose(found, golden[f"{name}_mfcc20_sel"], atol=2e-6)


@pytest.mark.parametrize("name", WAVES)
def test_the_originals_files_need_no_padding(name):
    first, last = WAVES[name]["bin_files"]
    assert block_start(first, 25.0) == 0
    assert block_start(last, 25.0) + 20 <= DAVS.count(waveform(name).size)


def test_silence_is_never_nan():
    wav = np.zeros(6000, np.int16)
    np.testing.assert_allclose(htk_mfcc(wav, DAVS), 0, atol=1e-12)
    assert np.isfinite(blocks(wav, 0, 9, 25.0)).all()
    wav[3000] = 1  # a single bit, and the floor no longer matters
    heard = htk_mfcc(wav, DAVS)[:, 17]
    assert np.isfinite(heard).all() and np.abs(heard).max() > 1


@pytest.mark.parametrize("fps", [25.0, 24.0, 30000 / 1001, 50.0])
@pytest.mark.parametrize("shift", [0, -3, 4])
@pytest.mark.parametrize("size", [100, 1700, 50000])
def test_streaming_changes_nothing(fps, shift, size):
    wav = waveform("davs_wav_odd")[:12345]
    pieces = (wav[i : i + size] for i in range(0, len(wav), size))
    count = round(len(wav) / 16000 * fps) + 3
    found = np.stack(list(islice(stream_blocks(pieces, fps, shift), count)))
    want = blocks(wav, shift, count, fps)
    np.testing.assert_allclose(found, want, atol=1e-6)


def test_the_ends_are_repeated():
    wav = waveform("davs_wav_odd")[:8000]
    whole = htk_mfcc(wav, DAVS)
    first, last = blocks(wav, 0, 1, 25.0)[0], blocks(wav, 13, 1, 25.0)[0]
    np.testing.assert_allclose(first[:9], np.tile(whole[:, 0], (9, 1)), atol=1e-5)
    np.testing.assert_allclose(first[8:], whole[:, :12].T, atol=1e-5)
    np.testing.assert_allclose(last[:4], whole[:, 44:48].T, atol=1e-5)
    np.testing.assert_allclose(last[3:], np.tile(whole[:, -1], (17, 1)), atol=1e-5)


def test_shorter_than_a_block():
    wav = np.ones(MIN_SAMPLES, np.int16)
    assert blocks(wav, 0, 1, 25.0).shape == (1, 20, 12)
    with pytest.raises(AudioError, match=r"0\.215 s .* too short .* 0\.215 s"):
        blocks(wav[1:], 0, 1, 25.0)
