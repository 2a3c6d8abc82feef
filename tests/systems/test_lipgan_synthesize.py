"""The compiled LipGAN: what it is shown, what it hears, and how pixels are rounded."""

from itertools import islice
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from lipsync_jax.audio.mel import mel_spectrogram
from lipsync_jax.systems.lipgan.synthesize import Synthesizer

EMPTY = {"params": {}}


class Glass(nn.Module):
    """Shows the reference above, what is under the mask below, tinted by the sound."""

    resolution: int = 8
    audio_offset: int = 0
    mfcc: bool = False
    folded: bool = False
    dtype: Any = jnp.float32
    norm_epsilon = 1e-3

    @property
    def input_shapes(self):
        size = self.resolution
        return ((12, 35, 1) if self.mfcc else (80, 27, 1)), (size, size, 6)

    def __call__(self, audio, face, train=False):
        tint = audio.mean(axis=(1, 2, 3))[:, None, None, None] / 100
        return face[..., :3] - face[..., 3:] + tint


def crops(count=3):
    return np.random.default_rng(0).integers(9, 240, (count, 8, 8, 3), np.uint8)


def test_the_prior_is_masked_the_reference_is_not():
    draw = Synthesizer(Glass(), EMPTY, batch_size=4)
    heard = np.zeros((3, 80, 27), np.float32)
    heard[1] = 4
    found = np.asarray(draw(crops(), heard))
    assert found.shape == (4, 8, 8, 3) and found.dtype == np.float32
    want = crops().astype(np.float32)
    want[:, :4] = 0
    want[1] += 0.04 * 255
    np.testing.assert_allclose(found[:3], want, atol=1e-3)


def test_one_program_for_every_batch():
    draw = Synthesizer(Glass(), EMPTY, batch_size=4)
    for count in (4, 3, 1):
        draw(crops(count), np.zeros((count, 80, 27), np.float32))
    assert draw._draw._cache_size() == 1


def test_rounding_is_half_a_level_before_truncation():
    heard = np.zeros((3, 80, 27), np.float32)
    plain = Synthesizer(Glass(), EMPTY, batch_size=3)(crops(), heard)
    half_up = Synthesizer(Glass(), EMPTY, batch_size=3, rounding=True)(crops(), heard)
    np.testing.assert_allclose(half_up - plain, 0.5, atol=1e-4)


@pytest.mark.parametrize("mfcc", [False, True])
def test_frames_cover_the_speech(mfcc):
    draw = Synthesizer(Glass(mfcc=mfcc), EMPTY)
    assert draw.frame_count(16000, 25.0) == 25
    assert draw.frame_count(16001, 25.0) == 26
    assert draw.frame_count(16016, 30000 / 1001) == 30
    assert draw.frame_count(5000, 25.0) == 0  # under a window
    for samples in (6000, 16000, 16001):
        sound = np.ones(samples, np.float32)
        count = draw.frame_count(samples, 25.0)
        assert len(list(islice(draw.windows([sound], 25.0), count))) == count


@pytest.mark.parametrize("offset,shift", [(0, 0), (-4, 0), (0, -4), (-4, 4)])
def test_the_network_says_when_it_hears(offset, shift):
    wav = np.random.default_rng(0).uniform(-0.3, 0.3, 32000).astype(np.float32)
    draw = Synthesizer(Glass(audio_offset=offset), EMPTY)
    found = list(islice(draw.windows([wav[:9000], wav[9000:]], 25.0, shift), 30))
    whole = mel_spectrogram(wav)
    for frame in (4, 5, 20):
        start = int(3.2 * (frame + offset + shift))
        np.testing.assert_allclose(found[frame], whole[:, start : start + 27])
    if offset + shift < 0:
        assert (found[0][:, :12] == -4).all()
