"""Right colours, exact losslessness, sound in time, and no half-written files."""

import errno
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import Interpolation

from lipsync_jax.audio.load import load_audio
from lipsync_jax.errors import AudioError, MediaError, OutputError
from lipsync_jax.media.images import FrameFolder
from lipsync_jax.media.reader import VideoReader, probe
from lipsync_jax.media.sound import SoundReader
from lipsync_jax.media.writer import VideoWriter

NTSC = Fraction(30_000, 1001)
GREY = np.full((64, 64, 3), 128, np.uint8)


def colour_bars(width, height):
    bars = [
        *((191, 191, 191), (191, 191, 0), (0, 191, 191), (0, 191, 0)),
        *((191, 0, 191), (191, 0, 0), (0, 0, 191), (255, 255, 255)),
    ]
    return np.repeat(np.array(bars, np.uint8)[None], width // 8, axis=1).repeat(
        height, 0
    )


def inner(frame):
    """The middles of the bars, where chroma is not shared with a neighbour."""
    width = frame.shape[1] // 8
    return frame[::8].reshape(-1, 8, width, 3)[:, :, 4:-4].astype(int)


# ----------------------------------------------------------------------------- pictures


@pytest.mark.parametrize(
    ("size", "matrix"),
    [((320, 240), 6), ((320, 250), 6), ((1280, 720), 1), ((720, 1280), 1)],
)
def test_colour_bars_survive(tmp_path, size, matrix):
    bars = colour_bars(*size)
    path = tmp_path / "bars.mp4"
    with VideoWriter(path, *size, 25) as writer:
        writer.write(bars)
        writer.write(bars)
    for frame in VideoReader(path).frames():
        assert np.abs(inner(frame) - inner(bars)).max() <= 3

    # Another way to decode, with FFmpeg's own matrices, sees the same colours.
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    tags = frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range
    assert tags == (matrix, 1, 1, 1)
    exact = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    other = frame.to_ndarray(
        format="rgb24", interpolation=Interpolation.BILINEAR | exact
    )
    assert np.abs(inner(other) - inner(bars)).max() <= 4


def test_sd_is_what_programs_without_tags_assume(tmp_path):
    bars = colour_bars(320, 240)
    path = tmp_path / "bars.mp4"
    with VideoWriter(path, 320, 240, 25) as writer:
        writer.write(bars)
    frame = cv2.VideoCapture(str(path)).read()[1][..., ::-1]
    assert np.abs(inner(frame) - inner(bars)).max() <= 5


def test_rewriting_does_not_fade(tmp_path):
    """Ten generations of decode and encode: no drift of brightness or colour."""
    rng = np.random.default_rng(0)
    frame = first = cv2.resize(
        rng.integers(30, 220, (6, 8, 3), dtype=np.uint8), (128, 96), interpolation=3
    )
    for generation in range(10):
        path = tmp_path / f"{generation}.mp4"
        with VideoWriter(path, 128, 96, 25, crf=1) as writer:
            writer.write(frame)
        (frame,) = VideoReader(path).frames()
    difference = frame.astype(int) - first
    assert np.abs(difference.mean(axis=(0, 1))).max() < 0.5


@pytest.mark.parametrize("size", [(64, 48), (63, 47), (1, 3)])
def test_lossless_is_exact(tmp_path, size):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (5, size[1], size[0], 3), dtype=np.uint8)
    path = tmp_path / "exact.mp4"
    with VideoWriter(path, *size, 25, lossless=True) as writer:
        for frame in frames:
            writer.write(frame)
    np.testing.assert_array_equal(list(VideoReader(path).frames()), frames)


def test_odd_sizes_repeat_the_last_row_and_column(tmp_path):
    ramp = np.zeros((47, 63, 3), np.uint8)
    ramp[:, :, :] = np.linspace(0, 255, 63).astype(np.uint8)[None, :, None]
    path = tmp_path / "odd.mp4"
    with VideoWriter(path, 63, 47, 25, crf=5) as writer:
        writer.write(ramp)
    (frame,) = VideoReader(path).frames()
    assert frame.shape == (48, 64, 3)
    assert np.abs(frame[:47, :63].astype(int) - ramp).max() < 12
    assert np.abs(frame[:, 63].astype(int) - frame[:, 62]).max() < 6


def test_views_and_their_reuse(tmp_path):
    """A frame may be a view, and may be overwritten as soon as write returns."""
    canvas = np.zeros((100, 100, 3), np.uint8)
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 64, 64, 25, lossless=True) as writer:
        for value in range(0, 200, 10):
            canvas[:] = value
            writer.write(canvas[10:74, 20:84])
    values = [int(frame.mean()) for frame in VideoReader(path).frames()]
    assert values == list(range(0, 200, 10))


def test_wrong_frame_shape(tmp_path):
    writer = VideoWriter(tmp_path / "a.mp4", 64, 64, 25)
    with pytest.raises(ValueError, match=r"frame 0 is uint8 \(32, 64, 3\)"), writer:
        writer.write(GREY[:32])
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("fps", [25, NTSC, Fraction(24_000, 1001), Fraction(8626, 459)])
def test_rate_and_count(tmp_path, fps):
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 64, 64, fps) as writer:
        for _ in range(50):
            writer.write(GREY)
    info = probe(path)
    assert info.fps == fps and info.frame_count == 50 and not info.has_audio
    assert info.duration == pytest.approx(50 / fps, abs=0.002)


# -------------------------------------------------------------------------------- sound


def beeps(rate, times, seconds):
    """Silence with a 1 kHz beep of 50 ms at each time."""
    pcm = np.zeros(int(rate * seconds), np.int16)
    tone = 20_000 * np.sin(2 * np.pi * 1000 * np.arange(rate // 20) / rate)
    for start in times:
        first = round(start * rate)
        pcm[first : first + len(tone)] = tone.astype(np.int16)
    return pcm


def onsets(samples):
    loud = np.flatnonzero(np.abs(samples) > 0.15)
    return loud[np.diff(loud, prepend=-16_000) > 4000] / 16_000


def flash_video(path, fps, seconds, every, audio):
    """White frames every so many seconds; returns the times they should be seen."""
    flashes = {round(t * fps) for t in range(every // 2, seconds, every)}
    with VideoWriter(path, 64, 64, fps, audio=audio) as writer:
        for index in range(round(seconds * fps)):
            writer.write(np.full_like(GREY, 255 if index in flashes else 0))
    return [index / fps for index in sorted(flashes)]


def seen_and_heard(path):
    reader = VideoReader(path)
    seen = [
        k / reader.info.fps for k, f in enumerate(reader.frames()) if f.mean() > 128
    ]
    return np.array(seen, float), onsets(load_audio(path))


@pytest.mark.parametrize("fps", [Fraction(25), NTSC])
@pytest.mark.parametrize(
    "seconds", [120, pytest.param(3600, marks=pytest.mark.slow, id="an hour")]
)
def test_flash_and_beep_stay_together(tmp_path, write_wav, fps, seconds):
    times = [round(t * fps) / fps for t in range(5, seconds, 10)]
    wav = write_wav(tmp_path / "beeps.wav", beeps(44_100, times, seconds), 44_100)
    path = tmp_path / "flashes.mp4"
    assert flash_video(path, fps, seconds, 10, wav) == times
    seen, heard = seen_and_heard(path)
    assert len(seen) == len(heard) == len(times)
    np.testing.assert_allclose(seen, [float(t) for t in times], atol=1e-9)
    np.testing.assert_allclose(heard, seen, atol=0.002)  # a frame is 0.033


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv", "late.ts"])
def test_sound_that_starts_late_keeps_its_place(tmp_path, write_wav, name):
    """The sound of a video whose sound track starts 0.7 s after its pictures."""
    pcm = beeps(48_000, [0.3, 1.3], 2).astype(np.float32)[None] / 2**15
    source = tmp_path / name
    with av.open(str(source), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width = video.height = 64
        audio = container.add_stream("aac", rate=48_000, layout="mono")
        for _ in range(75):
            container.mux(video.encode(av.VideoFrame.from_ndarray(GREY, "rgb24")))
        container.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(pcm, "fltp", "mono")
        frame.sample_rate, frame.time_base = 48_000, Fraction(1, 48_000)
        frame.pts = round(0.7 * 48_000)
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    path = tmp_path / "result.mp4"
    with VideoWriter(path, 64, 64, 25, audio=source) as writer:
        for _ in range(75):
            writer.write(GREY)
    # Transport streams count the encoder's priming as time before the first picture.
    priming = 1024 / 48_000 if name.endswith(".ts") else 0
    heard = onsets(load_audio(source))
    np.testing.assert_allclose(heard, [1.0 + priming, 2.0 + priming], atol=0.03)
    np.testing.assert_allclose(onsets(load_audio(path)), heard, atol=0.001)


@pytest.mark.parametrize(
    ("rate", "channels", "expected"),
    [
        (44_100, 2, (44_100, "stereo")),
        (16_000, 1, (16_000, "mono")),
        (8_000, 1, (8_000, "mono")),
        (96_000, 2, (48_000, "stereo")),
        (37_800, 1, (48_000, "mono")),
        (48_000, 6, (48_000, "stereo")),
        (48_000, 11, (48_000, "mono")),
    ],
)
def test_rates_and_channels(tmp_path, write_wav, rate, channels, expected):
    pcm = np.repeat(beeps(rate, [0.5, 1.0], 1.5)[:, None], channels, axis=1)
    wav = write_wav(tmp_path / "a.wav", pcm, rate)
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 64, 64, 25, audio=wav) as writer:
        writer.write(GREY)
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        assert (stream.rate, stream.layout.name) == expected
    sound = load_audio(path)
    assert len(sound) == pytest.approx(1.5 * 16_000, abs=2)
    np.testing.assert_allclose(onsets(sound), [0.5, 1.0], atol=0.002)


def test_the_longer_of_sound_and_pictures_stays_whole(tmp_path, write_wav):
    wav = write_wav(tmp_path / "a.wav", beeps(16_000, [0.1], 3))
    for frames in (5, 150):
        path = tmp_path / f"{frames}.mp4"
        with VideoWriter(path, 64, 64, 25, audio=wav) as writer:
            for _ in range(frames):
                writer.write(GREY)
        assert probe(path).frame_count == frames
        assert len(load_audio(path)) == 48_000


def test_sound_is_read_along_with_the_frames(tmp_path, write_wav, monkeypatch):
    wav = write_wav(tmp_path / "long.wav", np.zeros(16_000 * 60, np.int16))
    read = 0
    blocks = SoundReader.blocks

    def counted(self):
        nonlocal read
        for block in blocks(self):
            read += block.shape[1]
            yield block

    monkeypatch.setattr(SoundReader, "blocks", counted)
    with VideoWriter(tmp_path / "a.mp4", 64, 64, 25, audio=wav) as writer:
        for index in range(50):
            writer.write(GREY)
            assert (index + 1) / 25 <= read / 16_000 < (index + 1) / 25 + 0.3


def test_sound_that_is_none(tmp_path, write_video):
    silent = write_video(tmp_path / "silent.mp4", [0])
    with pytest.raises(AudioError, match="no audio stream; found: video h264"):
        VideoWriter(tmp_path / "a.mp4", 64, 64, 25, audio=silent)
    with pytest.raises(MediaError, match="no such file"):
        VideoWriter(tmp_path / "a.mp4", 64, 64, 25, audio=tmp_path / "no.wav")
    assert os.listdir(tmp_path) == ["silent.mp4"]


# -------------------------------------------------------- complete file, or none at all


def test_result_may_replace_its_own_source(tmp_path, write_video, at_rate, number_of):
    path = write_video(tmp_path / "clip ü.mp4", at_rate(20, 25))
    reader = VideoReader(path)
    with VideoWriter(path, 64, 64, 25) as writer:
        for frame in reader.frames():
            writer.write(frame)
    assert [number_of(frame) for frame in VideoReader(path).frames()] == list(range(20))
    assert os.listdir(tmp_path) == ["clip ü.mp4"]


def test_an_exception_leaves_nothing(tmp_path):
    old = tmp_path / "a.mp4"
    old.write_bytes(b"the result of yesterday")
    with pytest.raises(KeyboardInterrupt), VideoWriter(old, 64, 64, 25) as writer:
        writer.write(GREY)
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ["a.mp4"]
    assert old.read_bytes() == b"the result of yesterday"


def test_damaged_sound_leaves_nothing(tmp_path, write_wav):
    wav = write_wav(tmp_path / "a.wav", np.zeros(32_000, np.int16))
    data = bytearray(wav.read_bytes())
    data[20:22], data[34:36] = b"\x03\0", b"\x20\0"  # now 32-bit float …
    data[28:32], data[32:34] = (64_000).to_bytes(4, "little"), b"\x04\0"
    data[44 + 4 * 8000 : 44 + 4 * 8000 + 4] = np.float32("nan").tobytes()  # … at 0.5 s
    wav.write_bytes(data)
    writer = VideoWriter(tmp_path / "a.mp4", 64, 64, 25, audio=wav)
    with pytest.raises(AudioError, match=r"sample at 0\.500 s is NaN"), writer:
        for _ in range(25):
            writer.write(GREY)
    assert os.listdir(tmp_path) == ["a.wav"]


def test_no_frames(tmp_path):
    with pytest.raises(OutputError, match="got no frame"):
        VideoWriter(tmp_path / "a.mp4", 64, 64, 25).close()
    assert os.listdir(tmp_path) == []


class FullDisk:
    """A container whose disk fills up after some packets."""

    def __init__(self, container, room):
        self._container, self._room = container, room

    def mux(self, packets):
        self._room -= 1
        if self._room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._container.mux(packets)

    def close(self):
        self._container.close()


@pytest.mark.parametrize("room", [0, 5])
def test_full_disk(tmp_path, monkeypatch, room):
    path = tmp_path / "a.mp4"
    writer = VideoWriter(path, 64, 64, 25)
    monkeypatch.setattr(writer, "_container", FullDisk(writer._container, room))
    with pytest.raises(OutputError, match="No space left") as error, writer:
        for _ in range(20):
            writer.write(GREY)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert os.listdir(tmp_path) == []


LIMITED = """
import resource, sys
import numpy as np
from lipsync_jax.errors import OutputError
from lipsync_jax.media.writer import VideoWriter

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
rng = np.random.default_rng(0)
try:
    with VideoWriter(sys.argv[1], 128, 128, 25, lossless=True) as writer:
        for _ in range(50):
            writer.write(rng.integers(0, 256, (128, 128, 3), dtype=np.uint8))
except OutputError as error:
    print(error)
"""


def test_file_system_that_really_refuses(tmp_path):
    output = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "a.mp4")],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "a.mp4: cannot be written: File too large" in output
    assert os.listdir(tmp_path) == []


ENDLESS = """
import sys
import numpy as np
from lipsync_jax.media.writer import VideoWriter

with VideoWriter(sys.argv[1], 64, 64, 25) as writer:
    print("started", flush=True)
    while True:
        writer.write(np.zeros((64, 64, 3), np.uint8))
"""


def test_kill_leaves_only_the_temporary_name(tmp_path):
    path = tmp_path / "a.mp4"
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "started\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".lipsync-") and left.endswith(".part")


def test_places_that_cannot_be_written(tmp_path):
    folder = tmp_path / "folder.mp4"
    folder.mkdir()
    file = tmp_path / "file"
    file.touch()
    for path, message in (
        (folder, "is a folder"),
        (tmp_path / "a.avi", r"end the name in \.mp4"),
        (tmp_path / "absent" / "a.mp4", "folder .*absent does not exist"),
        (file / "a.mp4", "folder .*file does not exist"),
    ):
        with pytest.raises(OutputError, match=message):
            VideoWriter(path, 64, 64, 25)


def test_no_permission(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise av.error.PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(OutputError, match="cannot be written: Permission denied"):
        VideoWriter(tmp_path / "a.mp4", 64, 64, 25)


# ------------------------------------------------------------------------ frame folders


def test_frame_folder(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    folder = FrameFolder(tmp_path / "new" / "frames")
    for frame in frames:
        folder.write(frame)
    names = sorted(os.listdir(tmp_path / "new" / "frames"))
    assert names == ["000000.png", "000001.png", "000002.png"]
    for name, frame in zip(names, frames, strict=True):
        (read,) = VideoReader(tmp_path / "new" / "frames" / name).frames()
        np.testing.assert_array_equal(read, frame)


def test_frame_folder_does_not_mix_with_old_files(tmp_path):
    (tmp_path / "000007.png").touch()
    with pytest.raises(OutputError, match="already holds files"):
        FrameFolder(tmp_path)
    with pytest.raises(OutputError, match="cannot be written"):
        FrameFolder(tmp_path / "000007.png")


def test_frame_folder_on_a_full_disk(tmp_path, monkeypatch):
    folder = FrameFolder(tmp_path)

    def refuse(self, data):
        self.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(type(tmp_path), "write_bytes", refuse)
    with pytest.raises(OutputError, match="No space left"):
        folder.write(GREY)
    assert os.listdir(tmp_path) == []
