"""From a video to clips: pixels, sound, cuts, rules."""

import weakref
from fractions import Fraction

import numpy as np
import pytest
from faces.scenes import Script, face
from faces.scenes import frames as scene

from data_builders import clips as module
from data_builders.clips import MAX_GAP, read_clips
from data_builders.jpeg import decode
from data_builders.settings import Settings
from data_builders.video import Rejection, Video
from lipsync_jax.audio.load import load_audio
from lipsync_jax.data.schema import Clip
from lipsync_jax.demo import clip as demo
from lipsync_jax.errors import AudioError, MediaError, OptionError
from lipsync_jax.faces.crop import crop
from lipsync_jax.faces.haar_detector import HaarDetector
from lipsync_jax.media.reader import VideoReader
from lipsync_jax.media.writer import VideoWriter


def read(path, detector=None, **settings):
    settings = {"size": 64, "min_seconds": 0.4, "max_seconds": 60} | settings
    video = Video(path, "a/b.mp4", speaker="ann", label=3, text="HELLO")
    return list(read_clips(video, Settings(**settings), detector or HaarDetector()))


def test_a_clip_holds_what_the_video_shows_and_sounds_like(drawn_video):
    (clip,) = read(drawn_video)
    assert (clip.id, clip.speaker, clip.label) == ("a_b.mp4-000000", "ann", 3)
    assert (clip.text, clip.source, clip.fps) == ("HELLO", "a/b.mp4", 25.0)
    assert len(clip.frames) == len(clip.valid) == len(clip.box) == 40
    assert clip.valid.all() and clip.landmarks.shape == (0, 478, 2)
    for image, box, jpeg in zip(
        VideoReader(drawn_video, fps=25).frames(), clip.box, clip.frames, strict=True
    ):
        expected = crop(image, box.astype(int), 64).astype(int)
        assert np.abs(decode(jpeg) - expected).mean() < 5  # over 30 if red were blue
    sound = np.rint(load_audio(drawn_video)[: 40 * 640] * 2**15)
    np.testing.assert_array_equal(clip.audio, sound)
    assert clip.audio.dtype == np.int16


def test_long_videos_are_divided_and_short_rests_left_out(drawn_video):
    first, second, rest = read(drawn_video, min_seconds=0.5, max_seconds=0.6)
    assert [len(c.frames) for c in (first, second)] == [15, 15]
    assert [c.id[-6:] for c in (first, second)] == ["000000", "000015"]
    sound = np.rint(load_audio(drawn_video) * 2**15)
    np.testing.assert_array_equal(second.audio, sound[15 * 640 : 30 * 640])
    assert rest == Rejection("a/b.mp4", "too short", "under 0.5 s", 1.2, 1.6)


@pytest.fixture(scope="module")
def three_shots(tmp_path_factory):
    """The speaker, an empty room, and somebody with blue skin; 20 frames each."""
    folder = tmp_path_factory.mktemp("shots")
    speaker = list(demo.frames(0.8, 160, 120))
    room = np.zeros((120, 160, 3), np.uint8)
    room[60:] = 90
    other = [image[..., ::-1].copy() for image in speaker]
    demo._write_wav(folder / "a.wav", demo.speech(2.4))
    video = folder / "shots.mp4"
    with VideoWriter(video, 160, 120, Fraction(25), audio=folder / "a.wav") as writer:
        for image in [*speaker, *[room] * 20, *other]:
            writer.write(image)
    return video


def test_clips_end_with_their_shot_and_places_without_a_face_are_reported(three_shots):
    first, gap, second = read(three_shots)
    assert [first.id[-6:], second.id[-6:]] == ["000000", "000040"]
    assert len(first.frames) == len(second.frames) == 20
    assert gap == Rejection("a/b.mp4", "no face", "", 0.8, 1.6)
    sound = np.rint(load_audio(three_shots) * 2**15)
    np.testing.assert_array_equal(second.audio, sound[40 * 640 : 60 * 640])


def test_a_cut_from_one_face_to_another_ends_a_clip(tmp_path):
    speaker = list(demo.frames(0.6, 160, 120))
    demo._write_wav(tmp_path / "a.wav", demo.speech(1.2))
    video = tmp_path / "two.mp4"
    with VideoWriter(video, 160, 120, Fraction(25), audio=tmp_path / "a.wav") as out:
        for image in [*speaker, *(image[..., ::-1].copy() for image in speaker)]:
            out.write(image)
    shown = read(video)
    assert [clip.id[-6:] for clip in shown] == ["000000", "000015"]


def test_a_whole_video_keeps_its_gaps(three_shots):
    (clip,) = read(three_shots, whole=True)
    assert clip.id == "a_b.mp4"
    np.testing.assert_array_equal(np.flatnonzero(~clip.valid), np.arange(20, 40))
    assert [not frame for frame in clip.frames] == (~clip.valid).tolist()
    assert not clip.box[~clip.valid].any() and clip.box[clip.valid].all(axis=0).any()
    (few,) = read(three_shots, whole=True, min_faces=0.7)
    assert (few.reason, few.detail) == ("few faces", "in 67% of the frames")


@pytest.fixture
def scripted(monkeypatch):
    """Puts a scene of numbered frames and three seconds of sound in a file's place."""

    def put(count, watch=lambda image: image):
        class Reader:
            info = type("Info", (), {"is_image": False})

            def __init__(self, path, fps):
                assert fps == 25

            def frames(self):
                return (watch(image) for image in scene(count))

        silence = (np.zeros(16000, np.float32) for _ in range(1 + count // 25))
        monkeypatch.setattr(module, "VideoReader", Reader)
        monkeypatch.setattr(module, "stream_audio", lambda *args, **options: silence)

    return put


def test_landmarks_of_seen_frames_and_short_gaps_bridged(scripted):
    scripted(60)

    def script(i):
        away = 10 <= i < 10 + MAX_GAP or 30 <= i < 30 + MAX_GAP + 1
        return [] if away else [face(200, landmarks=np.full((478, 2), i, np.float32))]

    (clip,) = read("any", Script(script), whole=True)
    expected = np.where(clip.valid, np.arange(60), 0)
    np.testing.assert_allclose(clip.landmarks[:, 0, 0], expected, atol=1e-4)
    assert np.flatnonzero(~clip.valid).tolist() == list(range(30, 30 + MAX_GAP + 1))
    scripted(60)
    first, gap, second = read("any", Script(script))
    assert (len(first.frames), len(second.frames)) == (30, 24)
    assert (gap.reason, gap.start) == ("no face", 1.2)


def test_memory_does_not_grow_with_the_video(scripted):
    alive = weakref.WeakSet()
    most = 0

    class Tag:
        """Lives as long as its image."""

    class Image(np.ndarray):
        """An array that can carry a tag."""

    def watch(image):
        nonlocal most
        image = image.view(Image)
        image.tag = Tag()
        alive.add(image.tag)
        most = max(most, len(alive))
        return image

    scripted(1500, watch)
    read("any", Script(lambda i: [face(200)]), max_seconds=1)
    assert 1 < most < 25


def test_sound_that_ends_early_ends_the_clip(tmp_path):
    speaker = list(demo.frames(1.2, 160, 120))
    demo._write_wav(tmp_path / "a.wav", demo.speech(0.7))
    video = tmp_path / "a.mp4"
    with VideoWriter(video, 160, 120, Fraction(25), audio=tmp_path / "a.wav") as out:
        for image in speaker:
            out.write(image)
    (clip,) = read(video)
    assert len(clip.frames) == -(-len(clip.audio) // 640) < 20
    (first, second) = read(video, max_seconds=0.8)
    assert isinstance(first, Clip) and second.reason == "no sound"


def test_no_sound_and_no_video(tmp_path, drawn_video):
    mute = tmp_path / "mute.mp4"
    with VideoWriter(mute, 160, 120, Fraction(25)) as writer:
        for image in demo.frames(0.4, 160, 120):
            writer.write(image)
    with pytest.raises(AudioError, match="has no audio stream"):
        read(mute)
    from lipsync_jax.opencv import cv2

    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(MediaError, match="still image"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"size": 8}, "size 8: must be between 32 and 1024 pixels"),
        ({"min_seconds": 0}, "min_seconds 0: must be positive"),
        ({"min_seconds": 3, "max_seconds": 2}, "max_seconds 2: must not be below"),
    ],
)
def test_settings_that_make_no_sense(wrong, message):
    with pytest.raises(OptionError, match=message):
        Settings(**wrong)
