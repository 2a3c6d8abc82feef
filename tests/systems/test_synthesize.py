"""Which sound drives which frame, and the compiled synthesizer."""

import json

import jax
import numpy as np
import pytest
from parity import GOLDENS, converted

from lipsync_jax.nn.fold import fold_batch_norm
from lipsync_jax.systems.wav2lip.synthesize import Synthesizer, window_count, windows

CASES = json.loads((GOLDENS / "mel_chunks.json").read_text())


def columns(count):
    """A spectrogram whose values are its column numbers."""
    return np.tile(np.arange(count, dtype=np.float32), (80, 1))


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['fps']:.3f}-{c['T']}")
def test_windows_are_the_originals(case):
    mel, fps = columns(case["T"]), case["fps"]
    if case["T"] < 16:  # the original builds a malformed window here
        assert window_count(case["T"], fps) == 0
        assert list(windows([mel], fps)) == []
        return
    want = [start for start, _ in case["inference"]]
    assert window_count(case["T"], fps) == len(want)
    for size in (1, 7, 100):
        pieces = [mel[:, i : i + size] for i in range(0, case["T"], size)]
        found = [int(w[0, 0]) for w in windows(pieces, fps)]
        assert found == want


@pytest.mark.parametrize("shift", [-1, 2])
def test_shift_moves_windows_and_keeps_their_number(shift):
    plain = [int(w[0, 0]) for w in windows([columns(62)], 25.0)]
    moved = [int(w[0, 0]) for w in windows([columns(62)], 25.0, shift)]
    assert len(moved) == len(plain)
    middle = slice(3, -4)
    starts = [int((i + shift) * 80 / 25) for i in range(len(plain))]
    assert moved[middle] == starts[middle]


@pytest.fixture(scope="module")
def small():
    """A narrow generator with random weights."""
    module = converted("Wav2Lip", "wav2lip").module.clone(width=0.25)
    x = np.zeros((1, 80, 16, 1), "f"), np.zeros((1, 96, 96, 6), "f")
    return module, jax.jit(module.init)(jax.random.key(1), *x)


def test_synthesizer_masks_truncates_and_compiles_once(small):
    module, variables = small
    draw = Synthesizer(module, variables, batch_size=4)
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (4, 96, 96, 3), np.uint8)
    mels = rng.uniform(-4, 4, (4, 80, 16)).astype(np.float32)
    full = np.asarray(draw(crops, mels))
    assert full.shape == (4, 96, 96, 3) and full.dtype == np.uint8

    face = crops.astype(np.float32) / 255
    masked = face.copy()
    masked[:, 48:] = 0
    x = np.concatenate([masked, face], -1)
    want = 255 * np.asarray(module.apply(variables, mels[..., None], x))
    assert np.abs(full - np.floor(want)).max() <= 1
    assert (full == np.floor(want)).mean() > 0.99

    # A shorter last batch neither changes its results nor compiles again.
    short = np.asarray(draw(crops[:3], mels[:3]))
    np.testing.assert_array_equal(short[:3], full[:3])
    assert draw._draw._cache_size() == 1


def test_folding_is_exact(small):
    module, variables = small
    noisy = jax.tree.map(
        lambda x: x + 0.1 * np.random.default_rng(x.size).random(x.shape, "f"),
        variables,
    )
    x = np.random.default_rng(2).random((2, 96, 96, 6), "f")
    mel = np.zeros((2, 80, 16, 1), "f")
    folded = module.clone(folded=True).apply(fold_batch_norm(noisy), mel, x)
    np.testing.assert_allclose(folded, module.apply(noisy, mel, x), atol=2e-5)


def test_bfloat16_stays_close(small):
    module, variables = small
    crops = np.full((1, 96, 96, 3), 128, np.uint8)
    mels = np.zeros((1, 80, 16), np.float32)
    exact = np.asarray(Synthesizer(module, variables, batch_size=1)(crops, mels))
    half = Synthesizer(module, variables, batch_size=1, dtype=jax.numpy.bfloat16)
    difference = np.asarray(half(crops, mels)).astype(int) - exact
    assert np.abs(difference).max() <= 4
