"""The demo's measures, on networks and pixels whose answer is known."""

import numpy as np
import pytest

from data_builders.synthetic_talkers.clip import ClipRecipe, make_clip
from lipsync_jax.data.frames import read_frames
from lipsync_jax.data.schema import meta_of
from lipsync_jax.demo import measures


class Clips(list):
    """As much of a ClipSource as the measures use."""

    @property
    def meta(self):
        return [meta_of(clip) for clip in self]


@pytest.fixture(scope="module")
def clips():
    recipes = [ClipRecipe(3, "test", speaker, 0, 2.0, 96) for speaker in range(3)]
    return Clips(make_clip(recipe) for recipe in recipes)


class Parrot:
    """Draws the true pixels of whoever's speech drives it."""

    size, batch_size = 96, 16

    def __init__(self, clips):
        self.clips = clips

    def windows(self, blocks, fps, shift):
        sound = np.concatenate(list(blocks))
        for clip in self.clips:
            if np.array_equal(clip.audio, np.round(sound * 32768)):
                self.spoken = read_frames(clip, 0, len(clip.frames), self.size)
        return (np.full((80, 16), index) for index in range(len(self.spoken) - 4))

    def __call__(self, crops, mels):
        return self.spoken[mels[:, 0, 0].astype(int)]


def test_a_perfect_generator_follows_the_speech_and_the_input_does_not(clips):
    following, before = measures.mouth_following(Parrot(clips), clips)
    assert following > 0.95
    assert abs(before) < 0.5


def test_a_still_mouth_follows_nothing(clips):
    class Still(Parrot):
        def __call__(self, crops, mels):
            return np.repeat(self.spoken[:1], len(mels), axis=0)

    following, _ = measures.mouth_following(Still(clips), clips)
    assert following == 0


def test_shifted_sound_keeps_its_length_and_moves(clips):
    sound = np.arange(1, 11, dtype=np.float32)
    late, early = measures._delayed(sound, 3), measures._delayed(sound, -3)
    assert late.tolist() == [0, 0, 0, *range(1, 8)]
    assert early.tolist() == [*range(4, 11), 0, 0, 0]
