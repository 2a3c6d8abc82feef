"""Offsets of constructed clips, for an expert that compares brightness and loudness."""

import jax.numpy as jnp
import numpy as np
import pytest

from lipsync_jax.errors import DataError
from lipsync_jax.evaluation.offset import av_offset


class BrightAsLoud:
    """Embeds the mean level of either as an angle: equal levels have cosine 1."""

    resolution = 8
    input_shapes = (80, 16, 1), (4, 8, 15)

    def apply(self, variables, mel, face):
        def point(level):
            return jnp.stack([jnp.cos(level), jnp.sin(level)], axis=-1)

        loud = (mel.mean((1, 2, 3)) + 4) / 8
        return point(3 * variables * loud), point(3 * face.mean((1, 2, 3)))


EXPERT, SCALE = BrightAsLoud(), np.float32(1.6)
LATER = 640  # samples a frame


@pytest.fixture(scope="module")
def clip():
    """Crops (100, 16, 16, 3) as bright as the sound, white noise, is loud."""
    rng = np.random.default_rng(0)
    level = np.convolve(rng.random(104), np.ones(5) / 5, "valid")
    level = (level - level.min()) / np.ptp(level)
    crops = np.broadcast_to(255 * level[:, None, None, None], (100, 16, 16, 3))
    loudness = 10 ** (2 * np.repeat(level, LATER) - 2.5)
    sound = loudness * rng.uniform(-1, 1, len(loudness))
    return crops.astype(np.uint8), sound.astype(np.float32)


@pytest.mark.parametrize("frames", [-10, -1, 0, 1, 10])
def test_a_late_sound_has_a_positive_offset(clip, frames):
    crops, sound = clip
    moved = np.roll(sound, frames * LATER)
    found = av_offset(EXPERT, SCALE, crops, moved)
    assert found.frames == frames
    assert found.confidence > 0
    assert found.similarity.shape == (31,)
    assert found.similarity[15 + frames] == np.nanmax(found.similarity)


def test_sound_of_one_window_is_compared_where_it_reaches(clip):
    crops, sound = clip
    found = av_offset(EXPERT, SCALE, crops[:20], sound[:3200], span=15)
    assert np.isnan(found.similarity[-1]) and not np.isnan(found.similarity[15])


@pytest.mark.parametrize("frames,samples", [(4, 64_000), (100, 2_000), (100, 0)])
def test_too_short_to_compare(clip, frames, samples):
    crops, sound = clip
    with pytest.raises(DataError, match="too short to compare"):
        av_offset(EXPERT, SCALE, crops[:frames], sound[:samples])
