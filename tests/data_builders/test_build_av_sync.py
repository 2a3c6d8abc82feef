"""Moving a clip's sound onto its mouth, with a measure that is told the answer."""

from types import SimpleNamespace

import numpy as np
import pytest

from data_builders import av_sync, work
from data_builders.av_sync import Aligner, move_sound
from data_builders.clips import read_clips
from data_builders.jpeg import encode
from data_builders.settings import Settings
from data_builders.video import Moved, Rejection, Unusable, Video
from lipsync_jax.data.schema import Clip
from lipsync_jax.faces.haar_detector import HaarDetector


def numbered(count):
    """A clip in which frame i is grey level i and sounds like i."""
    index = np.arange(count)
    return Clip(
        id="c",
        frames=[encode(np.full((32, 32, 3), i, np.uint8)) for i in index],
        box=np.tile(index[:, None], 4).astype(np.float32),
        landmarks=np.zeros((0, 478, 2), np.float32),
        valid=np.ones(count, bool),
        fps=25.0,
        audio=np.repeat(index, 640).astype(np.int16),
        source="file",
    )


def aligner(frames, confidence=5.0):
    offset = SimpleNamespace(frames=frames, confidence=confidence)
    return Aligner(lambda crops, wav: offset, max_offset=4, min_confidence=1.0)


@pytest.mark.parametrize("frames", [3, -3, 1, 0])
def test_each_frame_gets_the_sound_of_that_many_frames_later(frames):
    moved = move_sound(numbered(20), frames)
    assert len(moved.frames) == len(moved.valid) == 20 - abs(frames)
    assert len(moved.audio) == 640 * len(moved.frames)
    np.testing.assert_array_equal(moved.audio[::640] - moved.box[:, 0], frames)
    assert moved.landmarks.shape == (0, 478, 2)
    assert ("moved by" in moved.source) == (frames != 0)


def test_what_is_measured():
    def measure(crops, wav):
        assert crops.shape == (20, 32, 32, 3) and crops.dtype == np.uint8
        assert crops[7].mean() == 7
        assert wav.dtype == np.float32 and wav[7 * 640] == 7 / 2**15
        return SimpleNamespace(frames=0, confidence=9.0)

    clip = numbered(20)
    assert Aligner(measure, 4, 1.0)(clip) == (clip, 0)


def test_clips_too_far_off_or_unclear_are_refused():
    with pytest.raises(Unusable, match="by -5 frames"):
        aligner(-5)(numbered(20))
    with pytest.raises(Unusable, match=r"confidence 0\.50"):
        aligner(1, confidence=0.5)(numbered(20))


def test_moved_and_refused_clips_are_reported(drawn_video):
    video, settings = Video(drawn_video, "v"), Settings(size=32, max_seconds=1)

    def read(align, **more):
        settings = Settings(**{"size": 32, "min_seconds": 0.5, **more})
        return list(read_clips(video, settings, HaarDetector(), align))

    moved, clip = read(aligner(2))
    assert moved == Moved("v-000000", 2) and len(clip.frames) == 38
    (refused,) = read(aligner(9))
    assert refused == Rejection("v", "out of sync", "by 9 frames", 0.0, 1.6)
    (short,) = read(aligner(4), min_seconds=1.5)
    assert (short.reason, short.start) == ("too short", 0.0)
    assert settings.expert is None


def test_the_expert_of_a_model_folder_is_asked(tmp_path, people, build, monkeypatch):
    """The network itself is tested elsewhere; here a stub answers in its place."""
    import jax

    from lipsync_jax import models_io

    module = models_io.build("expert", {"width": 0.125})
    inputs = models_io.example_inputs(module)
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    folder = models_io.save(
        tmp_path / "expert", "expert", variables, arguments={"width": 0.125}
    )
    asked = []

    def stub(folder, max_offset, min_confidence):
        asked.append((folder, max_offset, min_confidence))
        return aligner(1)

    monkeypatch.setattr(work, "open_aligner", stub)
    work._aligner.cache_clear()
    args = ("--expert", folder, "--max_offset", "3", "--min_confidence", "0.5")
    code, _, err = build("talking_faces", people, *args)
    assert code == 0, err
    assert asked == [(folder, 3, 0.5)]
    assert "sound moved onto the mouth in 3 clips" in err
    assert av_sync.open_aligner is not stub


def test_no_expert_in_the_folder(people, build, tmp_path):
    code, _, err = build("talking_faces", people, "--expert", tmp_path / "nothing")
    assert code == 2 and "nothing: no such model folder" in err
    assert not list((tmp_path / "data").glob("**/*.array_record*"))
