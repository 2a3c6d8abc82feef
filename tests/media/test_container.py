"""What the program says about files it cannot use."""

import contextlib

import cv2
import numpy as np
import pytest

from lipsync_jax.errors import AudioError, LipSyncError, MediaError
from lipsync_jax.media.container import open_media
from lipsync_jax.media.reader import VideoReader, probe
from lipsync_jax.media.sound import SoundReader
from lipsync_jax.media.writer import VideoWriter


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Four seconds of noise: large enough for damage to hit frames, not headers."""
    path = tmp_path_factory.mktemp("videos") / "noise.mp4"
    rng = np.random.default_rng(0)
    with VideoWriter(path, 128, 128, 25) as writer:
        for _ in range(100):
            writer.write(rng.integers(0, 256, (128, 128, 3), dtype=np.uint8))
    return path


def message_of(error):
    text = str(error.value)
    assert "\n" not in text
    return text


def test_missing_file(tmp_path):
    path = tmp_path / "nobody.mp4"
    for reading in (probe, SoundReader):
        with pytest.raises(MediaError, match="no such file") as error:
            reading(path)
        assert str(path) in message_of(error)


def test_folder(tmp_path):
    with pytest.raises(MediaError, match="is a folder"):
        probe(tmp_path)


def test_empty_file(tmp_path):
    path = tmp_path / "empty.mp4"
    path.touch()
    with pytest.raises(MediaError, match="is empty"):
        probe(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("notes.txt", "Plain text, which FFmpeg would draw as ANSI art.\n" * 50),
        ("video.mp4", "<html>404 not found</html>"),
        ("list.m3u8", "#EXTM3U\n#EXTINF:3,\n/etc/hostname\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile /etc/hostname\n"),
    ],
)
def test_text_and_play_lists_are_refused(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(MediaError, match="not a video or audio file") as error:
        open_media(path)
    assert str(path) in message_of(error)


def test_photo_of_a_phone(tmp_path):
    path = tmp_path / "photo.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 100)
    with pytest.raises(MediaError, match="HEIC photo; save it as JPEG"):
        probe(path)


def test_mp4_without_its_index(video, tmp_path):
    path = tmp_path / "half.mp4"
    data = video.read_bytes()
    path.write_bytes(data[:20] + data[len(data) // 2 :])  # faststart: index in front
    with pytest.raises(MediaError, match=r"incomplete MP4.*download") as error:
        probe(path)
    message_of(error)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_cut_off_video_tells_where(video, tmp_path, share):
    path = tmp_path / "cut.mp4"
    data = video.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    delivered = 0
    with pytest.raises(MediaError, match="download or copy it again") as error:
        for _ in VideoReader(path).frames():
            delivered += 1
    assert 0.5 * share * 100 < delivered < 100
    assert " s" in message_of(error)


def test_cut_off_matroska(tmp_path, write_video, at_rate):
    whole = write_video(tmp_path / "whole.mkv", at_rate(100, 25))
    path = tmp_path / "cut.mkv"
    data = whole.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(MediaError, match=r"incomplete.*states 4\.00 s of video"):
        list(VideoReader(path).frames())


def test_no_video_stream(tmp_path, write_wav):
    path = write_wav(tmp_path / "speech.wav", np.zeros(1600, np.int16))
    with pytest.raises(MediaError, match="no video stream; found: audio pcm_s16le"):
        probe(path)


def test_no_audio_stream(video):
    with pytest.raises(AudioError, match="no audio stream; found: video h264"):
        SoundReader(video)


def test_image_instead_of_sound(tmp_path):
    path = tmp_path / "face.png"
    cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(AudioError, match="still image"):
        SoundReader(path)


def test_names_with_spaces_and_unicode(video, tmp_path):
    for name in ("a clip é 口型.mp4", "concat:a|b.mp4", "-i %03d.mp4", "https:x.mp4"):
        path = tmp_path / name
        path.write_bytes(video.read_bytes())
        assert probe(path).frame_count == 100


def test_time_stamps_that_jump_back(tmp_path, write_video, at_rate):
    # Two recordings glued together byte by byte, as transport streams allow.
    late = write_video(tmp_path / "late.ts", [60 + t for t in at_rate(50, 25)])
    early = write_video(tmp_path / "early.ts", at_rate(50, 25))
    path = tmp_path / "both.ts"
    path.write_bytes(late.read_bytes() + early.read_bytes())
    with pytest.raises(MediaError, match="time stamps jump from"):
        list(VideoReader(path).frames())


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.flv"])
def test_damaged_bytes_cause_our_errors_only(tmp_path, write_video, at_rate, name):
    sound = np.zeros(48_000, np.float32)
    data = write_video(tmp_path / name, at_rate(25, 25), sound=sound).read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / f"damaged_{name}"
    for _ in range(25):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data), 20):
            damaged[position] = rng.integers(0, 256)
        path.write_bytes(damaged)
        for read in (
            lambda: VideoReader(path).frames(0, 50),
            lambda: SoundReader(path).blocks(),
        ):
            with contextlib.suppress(LipSyncError):
                list(read())
