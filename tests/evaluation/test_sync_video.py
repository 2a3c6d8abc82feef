"""Both protocols on drawn videos whose faces are as bright as the sound is loud."""

from fractions import Fraction

import numpy as np
import pytest
import soundfile
from brightness_expert import LATER, SCALE, BrightAsLoud, levels, loud_as_bright

from lipsync_jax.audio.load import load_audio
from lipsync_jax.errors import AudioError, FaceError, MediaError
from lipsync_jax.evaluation.sync.judges import ExpertJudge
from lipsync_jax.evaluation.sync.tracks import Rules
from lipsync_jax.evaluation.sync.video import score_tracks, score_whole
from lipsync_jax.faces.face import Face
from lipsync_jax.media.reader import VideoReader
from lipsync_jax.media.writer import VideoWriter

RULES = Rules(min_track=60, min_face_size=50)
LEFT, RIGHT = (10, 20, 90, 110), (130, 25, 212, 120)


class Boxes:
    """Finds the two faces wherever the frame's corner is not red."""

    name = "boxes"

    def search(self, image):
        faces = [Face(np.array(box, np.float32), None) for box in (LEFT, RIGHT)]
        return [] if image[0, 0, 0] > 150 else faces

    def near(self, image, box):
        return [f for f in self.search(image) if np.abs(f.box - box).max() < 20]

    def close(self):
        pass


@pytest.fixture(scope="module")
def judge():
    return ExpertJudge(BrightAsLoud(), SCALE)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """80 frames of two faces, of which the right one is 4 frames late; 20 of none."""
    folder = tmp_path_factory.mktemp("film")
    rng = np.random.default_rng(0)
    level = levels(100, rng)
    sound = loud_as_bright(level, rng)
    soundfile.write(folder / "sound.wav", sound, 16000, "FLOAT")
    path = folder / "film.mp4"
    with VideoWriter(path, 220, 130, Fraction(25), audio=folder / "sound.wav") as out:
        for index in range(100):
            image = np.zeros((130, 220, 3), np.uint8)
            if index >= 80:
                image[:] = (250, 20, 20)
            else:
                for (x1, y1, x2, y2), late in ((LEFT, 0), (RIGHT, 4)):
                    image[y1:y2, x1:x2] = 255 * level[max(0, index - late)]
            out.write(image)
    return path


def test_real_videos_are_scored_face_by_face(judge, film):
    left, right = score_tracks(film, judge, Boxes(), RULES)
    assert (left.first, left.stop) == (right.first, right.stop) == (0, 80)
    assert left.score.offset == 0 and right.score.offset == 4
    assert left.score.windows == 76
    assert left.score.distance < right.score.distances[15]


def test_the_largest_face_of_a_whole_video_is_scored(judge, film):
    found = score_whole(film, judge, Boxes())
    # The right face is the larger one; the last 20 frames show none.
    assert found.offset == 4 and found.windows == 76


def test_a_later_track_is_scored_with_its_own_sound(judge, film, tmp_path):
    late = tmp_path / "late.mp4"
    sound = np.concatenate([np.zeros(30 * LATER, np.float32), load_audio(film)])
    soundfile.write(tmp_path / "late.wav", sound, 16000, "FLOAT")
    with VideoWriter(
        late, 220, 130, Fraction(25), audio=tmp_path / "late.wav"
    ) as writer:
        for _ in range(30):
            writer.write(np.full((130, 220, 3), (250, 20, 20), np.uint8))
        for image in VideoReader(film).frames():
            writer.write(image)
    left, right = score_tracks(late, judge, Boxes(), RULES)
    assert (left.first, left.stop) == (30, 110)
    assert left.score.offset == 0 and right.score.offset == 4


@pytest.mark.parametrize("rules", [Rules(80, 50), Rules(60, 95)])
def test_faces_too_short_or_too_small_are_said(judge, film, rules):
    with pytest.raises(FaceError, match=r"film\.mp4: no face is followed for more"):
        score_tracks(film, judge, Boxes(), rules)


def test_unusable_files_are_named(judge, film, tmp_path):
    silent = tmp_path / "silent.mp4"
    with VideoWriter(silent, 64, 64, Fraction(25)) as writer:
        for _ in range(10):
            writer.write(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(AudioError, match=r"silent\.mp4: has no audio stream"):
        score_whole(silent, judge, Boxes())
    with pytest.raises(MediaError, match=r"absent\.mp4: no such file"):
        score_tracks(tmp_path / "absent.mp4", judge, Boxes(), RULES)
