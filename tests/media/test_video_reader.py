"""Frames at the right time, upright, in the right colours, in constant memory."""

import itertools
import subprocess
import sys
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from lipsync_jax.errors import MediaError, OptionError
from lipsync_jax.media.reader import VideoReader, probe

NTSC, FILM = Fraction(30_000, 1001), Fraction(24_000, 1001)
MILLISECONDS = Fraction(1, 1000)


@pytest.fixture
def numbers(number_of):
    """The number of every output frame of a video."""

    def read(path, **options):
        return [number_of(frame) for frame in VideoReader(path, **options).frames()]

    return read


# ------------------------------------------------------------------ rate and time


@pytest.mark.parametrize(
    ("name", "rate", "options"),
    [
        ("a.mp4", 25, {}),
        ("a.mp4", NTSC, {}),
        ("a.mkv", FILM, {"unit": MILLISECONDS}),
        ("no_rate.mkv", NTSC, {"unit": MILLISECONDS, "rate": 1000}),
        ("a.ts", 25, {}),
        ("raw.h264", 25, {}),
        ("b_frames.avi", 25, {"codec": "mpeg4", "unit": Fraction(1, 25)}),
        (
            "a.webm",
            30,
            {"codec": "libvpx-vp9", "codec_options": {"deadline": "realtime"}},
        ),
    ],
)
def test_constant_rate_gives_every_frame_once(
    tmp_path, write_video, numbers, at_rate, name, rate, options
):
    options = {"rate": rate} | options
    path = write_video(tmp_path / name, at_rate(100, rate), **options)
    assert probe(path).fps == rate
    assert numbers(path) == list(range(100))


def test_variable_rate_follows_the_time_stamps(tmp_path, write_video, numbers):
    steps = np.random.default_rng(0).choice([10, 20, 33, 40, 100, 700], 120)
    times = [Fraction(int(t), 1000) for t in np.cumsum(steps)]
    times = [t - times[0] for t in times]
    path = write_video(tmp_path / "phone.mp4", times, rate=30)
    shown = numbers(path, fps=25)
    # The last frame whose time stamp is less than half an output frame ahead.
    expected = [
        max(n for n, t in enumerate(times) if t < (k + Fraction(1, 2)) / 25)
        for k in range(len(shown))
    ]
    assert shown == expected
    assert len(shown) == pytest.approx(25 * times[-1], abs=3)


def test_rate_conversion_keeps_time(tmp_path, write_video, numbers, at_rate):
    path = write_video(tmp_path / "30.mp4", at_rate(300, 30), rate=30)
    shown = numbers(path, fps=25)
    assert len(shown) == 250
    assert all(abs(n / 30 - k / 25) <= 0.5 / 25 for k, n in enumerate(shown))


def test_video_that_starts_after_its_sound(tmp_path, write_video, numbers, at_rate):
    silence = np.zeros(2 * 48_000, np.float32)
    times = [t + Fraction(1, 2) for t in at_rate(25, 20)]
    path = write_video(tmp_path / "late.mp4", times, rate=20, sound=silence)
    # The first frame is held; nothing that follows moves.
    assert numbers(path) == [0] * 10 + list(range(25))
    assert probe(path).frame_count == 35


def test_jitter_at_half_a_frame_drops_nothing(tmp_path, write_video, numbers, at_rate):
    """Matroska rounds to milliseconds; here each true time lies between two frames."""
    silence = np.zeros(48_000, np.float32)
    times = [t + 1 / NTSC / 2 for t in at_rate(90, NTSC)]
    path = write_video(
        tmp_path / "half.mkv", times, rate=NTSC, unit=MILLISECONDS, sound=silence
    )
    assert numbers(path) == [0, *range(90)]


@pytest.mark.parametrize("start", [5, 10_000])
def test_time_stamps_that_do_not_start_at_zero(
    tmp_path, write_video, numbers, at_rate, start
):
    path = write_video(tmp_path / "cut.ts", [start + t for t in at_rate(30, 25)])
    assert numbers(path) == list(range(30))


def test_edit_list_hides_the_trimmed_beginning(tmp_path, write_video, numbers, at_rate):
    path = write_video(
        tmp_path / "trimmed.mp4",
        [t - 1 for t in at_rate(75, 25)],
        container_options={"avoid_negative_ts": "disabled", "use_editlist": "1"},
        codec_options={"g": "1000"},
    )
    assert numbers(path) == list(range(25, 75))


def test_b_frames_without_edit_list(tmp_path, write_video, numbers, at_rate):
    path = write_video(
        tmp_path / "b.mp4", at_rate(50, 25), container_options={"use_editlist": "0"}
    )
    assert numbers(path) == list(range(50))


def test_gif_keeps_its_pace(tmp_path, write_video, numbers, at_rate):
    def rgb8(stream):
        stream.pix_fmt = "rgb8"

    path = write_video(
        tmp_path / "a.gif", at_rate(20, 10), codec="gif", rate=10, set_up=rgb8
    )
    assert probe(path).fps == 10
    assert numbers(path, fps=30) == [n for n in range(20) for _ in range(3)]


def test_rate_must_be_positive(tmp_path):
    with pytest.raises(OptionError, match="frame rate is 0"):
        VideoReader(tmp_path / "a.mp4", fps=Fraction(0))


# --------------------------------------------------------------------------- seeking

OPEN_GOP = {"x264-params": "keyint=20:open-gop=1:bframes=3", "preset": "medium"}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {"codec_options": {"g": "20"}}),
        ("open_gop.mp4", {"codec_options": OPEN_GOP}),
        (
            "refresh.mp4",
            {"codec_options": {"x264-params": "intra-refresh=1:keyint=20"}},
        ),
        ("a.mkv", {"codec_options": {"g": "20"}, "unit": MILLISECONDS}),
        ("a.ts", {"codec_options": {"g": "20"}}),
        ("a.flv", {"codec_options": {"g": "20"}}),
        ("raw.h264", {"codec_options": {"g": "20"}}),
        (
            "a.mpg",
            {
                "codec": "mpeg2video",
                "unit": Fraction(1, 25),
                "codec_options": {"bf": "2"},
            },
        ),
    ],
)
def test_any_start_gives_the_same_pixels(tmp_path, write_video, at_rate, name, options):
    reader = VideoReader(write_video(tmp_path / name, at_rate(150, 25), **options))
    whole = list(reader.frames())
    assert len(whole) == 150
    for start in (1, 19, 20, 21, 77, 100, 149):
        part = list(reader.frames(start, start + 2))
        assert len(part) == len(whole[start : start + 2])
        for a, b in zip(part, whole[start:], strict=False):
            np.testing.assert_array_equal(a, b)
    assert list(reader.frames(150)) == []
    assert list(reader.frames(10, 10)) == []


def test_seeking_reads_little(tmp_path, write_video, at_rate, monkeypatch):
    path = write_video(
        tmp_path / "long.mp4", at_rate(1000, 25), codec_options={"g": "50"}
    )
    reader = VideoReader(path)
    decoded = 0
    plain_decode = VideoReader._decode

    def counted(*args, **kwargs):
        nonlocal decoded
        for item in plain_decode(*args, **kwargs):
            decoded += 1
            yield item

    monkeypatch.setattr(VideoReader, "_decode", counted)
    assert len(list(reader.frames(900, 903))) == 3
    assert decoded < 80


# ---------------------------------------------------------------- size and orientation


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("clockwise", [0, 90, 180, 270])
def test_turned_upright(tmp_path, clockwise, flip):
    stored = np.zeros((32, 64, 3), np.uint8)
    stored[:16, :16] = 255  # a mark in one corner
    path = tmp_path / "phone.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "1"})
        stream.width, stream.height = 64, 32
        stream.set_display_rotation(-clockwise, hflip=flip)
        frame = av.VideoFrame.from_ndarray(stored, "rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    expected = np.rot90(stored, -clockwise // 90)
    expected = expected[:, ::-1] if flip else expected
    reader = VideoReader(path)
    (shown,) = reader.frames()
    assert shown.shape == expected.shape == (reader.info.height, reader.info.width, 3)
    assert np.abs(shown.astype(int) - expected).max() < 20
    if not flip:
        assert reader.info.rotation == clockwise


def test_non_square_pixels_become_square(tmp_path, write_video, number_of):
    def anamorphic(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)

    path = write_video(tmp_path / "dv.mp4", [0], set_up=anamorphic)
    (frame,) = VideoReader(path).frames()
    assert frame.shape == (64, 96, 3)
    assert (probe(path).width, probe(path).height) == (96, 64)


def test_size_change_within_the_stream(tmp_path, write_video, at_rate):
    """Web conferences do that; every frame gets the first one's size."""
    path = tmp_path / "call.h264"
    for size in (64, 128):
        with av.open(str(path) + str(size), "w", format="h264") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width = stream.height = size
            for _ in range(3):
                gray = np.full((size, size, 3), 128, np.uint8)
                frame = av.VideoFrame.from_ndarray(gray, "rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    path.write_bytes(
        b"".join((tmp_path / f"call.h264{s}").read_bytes() for s in (64, 128))
    )
    frames = list(VideoReader(path).frames())
    assert [frame.shape for frame in frames] == [(64, 64, 3)] * 6
    assert all(np.abs(frame.astype(int) - 128).max() <= 2 for frame in frames)


# ----------------------------------------------------------------------------- colours


def coded_video(path, frame, codec="libx264", **tags):
    """One frame, stored without loss as it is, with the given colour tags."""
    options = {"qp": "0"} if codec == "libx264" else {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = frame.width, frame.height
        stream.pix_fmt = frame.format.name
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("size", "tags", "pixel", "rgb"),
    [
        # Textbook values of 75 % red in 8 bits.
        ((64, 64), {"colorspace": 6, "color_range": 1}, (65, 100, 212), (191, 0, 0)),
        ((64, 64), {"colorspace": 1, "color_range": 1}, (51, 109, 212), (191, 0, 0)),
        ((64, 64), {"colorspace": 6, "color_range": 2}, (57, 96, 223), (191, 0, 0)),
        ((64, 64), {"colorspace": 9, "color_range": 1}, (59, 105, 212), (191, 0, 0)),
        # No tags: by size, as players do.
        ((64, 64), {}, (65, 100, 212), (191, 0, 0)),
        ((1280, 720), {}, (51, 109, 212), (191, 0, 0)),
        # Black and white of both ranges.
        ((64, 64), {"color_range": 1}, (16, 128, 128), (0, 0, 0)),
        ((64, 64), {"color_range": 1}, (235, 128, 128), (255, 255, 255)),
        ((64, 64), {"color_range": 2}, (255, 128, 128), (255, 255, 255)),
    ],
)
def test_matrix_and_range_are_honoured(tmp_path, size, tags, pixel, rgb):
    frame = av.VideoFrame(*size, "yuv420p")
    for plane, value in zip(frame.planes, pixel, strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    path = coded_video(tmp_path / "a.mp4", frame, **tags)
    (shown,) = VideoReader(path).frames()
    assert np.abs(shown.astype(int) - rgb).max() <= 1


@pytest.mark.parametrize(
    ("codec", "pixel_format", "tolerance"),
    [
        ("ffv1", "yuv444p", 2),
        ("ffv1", "yuv422p10le", 2),
        ("libx264", "yuv420p10le", 3),
        ("prores_ks", "yuva444p10le", 4),  # alpha is dropped
        ("qtrle", "argb", 0),
        ("ffv1", "bgra", 0),
        ("ffv1", "gbrp10le", 0),
        ("rawvideo", "nv12", 2),
        ("mjpeg", "yuvj420p", 3),  # full range by its name
    ],
)
def test_pixel_formats(tmp_path, codec, pixel_format, tolerance):
    rgb = np.full((48, 64, 3), (200, 120, 40), np.uint8)
    frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(
        format=pixel_format, dst_color_range=2 if pixel_format.startswith("yuvj") else 1
    )
    name = "a.mkv" if codec == "ffv1" else "a.nut" if codec == "rawvideo" else "a.mov"
    path = coded_video(tmp_path / name, frame, codec)
    (shown,) = VideoReader(path).frames()
    assert np.abs(shown.astype(int) - rgb).max() <= tolerance


def test_grey_video(tmp_path):
    ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))
    frame = av.VideoFrame.from_ndarray(ramp, "gray")
    frame.color_range = 2
    path = coded_video(tmp_path / "a.mkv", frame, "ffv1", color_range=2)
    (shown,) = VideoReader(path).frames()
    assert np.abs(shown.astype(int) - ramp[..., None]).max() <= 1


def test_hdr_becomes_standard_range(tmp_path):
    """PQ code 0.58 is diffuse white (203 nits), not a dull 58 % grey."""
    frame = av.VideoFrame(64, 64, "yuv420p10le")
    for plane, value in zip(
        frame.planes, (64 + round(0.58 * 876), 512, 512), strict=True
    ):
        plane.update(np.full(plane.buffer_size // 2, value, np.uint16).tobytes())
    tags = {"colorspace": 9, "color_primaries": 9, "color_trc": 16, "color_range": 1}
    path = coded_video(tmp_path / "hdr.mkv", frame, "ffv1", **tags)
    (shown,) = VideoReader(path).frames()
    assert shown.min() > 240


def test_agrees_with_opencv_on_real_clips(clips):
    """OpenCV truncates and takes BT.601 where nothing is stated."""
    for name in ("hdtf_khill.mp4", "retalk_3.mp4"):
        capture = cv2.VideoCapture(str(clips / name))
        for frame in itertools.islice(VideoReader(clips / name).frames(), 10):
            other = capture.read()[1][..., ::-1]
            assert np.abs(frame.astype(int) - other).mean() < 2
        capture.release()


# ------------------------------------------------------------------------------ images


def random_image(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype)


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("a.png", random_image(20, 31, 3)),
        ("a.jpg", random_image(21, 30, 3)),
        ("a.webp", random_image(20, 30, 3)),
        ("a.bmp", random_image(20, 30, 3)),
        ("alpha.png", random_image(20, 30, 4)),
        ("grey.png", random_image(20, 30)),
        ("deep.png", random_image(20, 30, 3, dtype=np.uint16)),
    ],
)
def test_images_as_opencv_reads_them(tmp_path, name, pixels):
    path = tmp_path / name
    cv2.imwrite(str(path), pixels)
    reader = VideoReader(path)
    assert reader.info.is_image and reader.info.fps == 25
    assert reader.info.frame_count == 1 and reader.info.duration is None
    (shown,) = reader.frames()
    np.testing.assert_array_equal(shown[..., ::-1], cv2.imread(str(path)))
    assert shown.shape == (reader.info.height, reader.info.width, 3)


def test_image_is_known_by_its_content(tmp_path, write_video, at_rate):
    cv2.imwrite(str(tmp_path / "a.png"), random_image(20, 30, 3))
    (tmp_path / "a.png").rename(tmp_path / "picture.mp4")
    write_video(tmp_path / "a.mp4", at_rate(3, 25)).rename(tmp_path / "video.png")
    assert probe(tmp_path / "picture.mp4").is_image
    assert not probe(tmp_path / "video.png").is_image


def test_exif_orientation(tmp_path):
    path = tmp_path / "phone.jpg"
    _, jpeg = cv2.imencode(".jpg", random_image(16, 32, 3))
    # A minimal EXIF block: one tag, orientation 6 (turn clockwise to be upright).
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    path.write_bytes(jpeg.tobytes()[:2] + segment + jpeg.tobytes()[2:])
    assert (probe(path).width, probe(path).height) == (16, 32)


def test_damaged_image(tmp_path, capfd):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), random_image(40, 40, 3))
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(MediaError, match="damaged or unsupported image"):
        probe(path)
    assert capfd.readouterr().err == ""


# ------------------------------------------------------------------------ repeatability


def test_passes_are_independent(tmp_path, write_video, at_rate, number_of):
    reader = VideoReader(write_video(tmp_path / "a.mp4", at_rate(10, 25)))
    first, second = reader.frames(), reader.frames()
    frame = next(first)
    frame[:] = 0  # the caller's to change
    assert [number_of(f) for f in second] == list(range(10))
    assert [number_of(f) for f in first] == list(range(1, 10))


def test_held_frames_are_separate_arrays(tmp_path, write_video, at_rate, number_of):
    path = write_video(tmp_path / "slow.mp4", at_rate(4, 5), rate=5)
    for index, frame in enumerate(VideoReader(path, fps=25).frames()):
        assert number_of(frame) == index // 5
        frame[:] = 0


MEMORY = """
import itertools, resource, sys
from lipsync_jax.media.reader import VideoReader
from lipsync_jax.media.writer import VideoWriter
import numpy as np

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

path = sys.argv[1]
frame = np.zeros((240, 320, 3), np.uint8)
with VideoWriter(path, 320, 240, 25) as writer:
    for index in range(1500):
        if index == 300:
            early = peak()
        frame[:] = index % 256
        writer.write(frame)
print(peak() - early)
reader = VideoReader(path)
for index, _ in enumerate(reader.frames()):
    if index == 300:
        early = peak()
print(peak() - early)
"""


def test_memory_does_not_grow_with_length(tmp_path):
    """1200 more frames are 270 MiB."""
    output = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "long.mp4")],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert all(int(growth) < 30 for growth in output.split()), output
