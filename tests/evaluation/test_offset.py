"""Offsets of constructed clips, for an expert that compares brightness and loudness."""

import numpy as np
import pytest
from brightness_expert import LATER, SCALE, BrightAsLoud, levels, loud_as_bright

from lipsync_jax.errors import DataError
from lipsync_jax.evaluation.offset import av_offset

EXPERT = BrightAsLoud()


@pytest.fixture(scope="module")
def clip():
    """Crops (100, 16, 16, 3) as bright as the sound, white noise, is loud."""
    rng = np.random.default_rng(0)
    level = levels(100, rng)
    crops = np.broadcast_to(255 * level[:, None, None, None], (100, 16, 16, 3))
    return crops.astype(np.uint8), loud_as_bright(level, rng)


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
