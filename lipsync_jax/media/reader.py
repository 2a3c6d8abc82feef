"""Reading a video, or a still image, as RGB frames at a constant rate."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.sidedata.sidedata import Type

from lipsync_jax.errors import MediaError, OptionError
from lipsync_jax.media.color import RGBConverter
from lipsync_jax.media.container import (
    audio_stream,
    check_time_step,
    decode,
    describe_streams,
    open_media,
    start_time,
    video_stream,
)
from lipsync_jax.media.images import is_image, read_image
from lipsync_jax.opencv import cv2

IMAGE_RATE = Fraction(25)

_COMMON_RATES = [
    *(Fraction(rate) for rate in (10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 100, 120)),
    *(Fraction(rate, 1001) for rate in (24_000, 30_000, 48_000, 60_000, 120_000)),
    Fraction(25, 2),
]
# Outside, a "rate" is the unit of the time stamps, or that of a slide show.
_LOWEST_RATE, _HIGHEST_RATE = 1, 240

# How far before the wanted frame to seek, in seconds, until the key frame found is not
# after it: containers are searched by decoding time, some only roughly.
_SEEK_MARGINS = (0.5, 3, 15)


@dataclass(frozen=True)
class VideoInfo:
    """What a video file or still image holds.

    Attributes:
        path: of the file.
        width, height: of the frames in pixels: upright, with square pixels.
        fps: constant rate of the frames.
        duration: in seconds as the file states it; None for an image or if unknown.
        frame_count: about how many frames there will be; exact for an image.
        rotation: degrees clockwise the stored picture is turned to be upright.
        is_image: one still picture.
        has_audio: there is a sound track.
        codec: FFmpeg's name of the video codec, or "image".
    """

    path: Path
    width: int
    height: int
    fps: Fraction
    duration: float | None
    frame_count: int | None
    rotation: int
    is_image: bool
    has_audio: bool
    codec: str


@dataclass(frozen=True)
class _Orientation:
    """How a stored picture becomes upright: transposed first, then mirrored."""

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame) -> "_Orientation":
        """Reads the display matrix, which players obey: phones film lying down."""
        for data in frame.side_data:
            if data.type == Type.DISPLAYMATRIX:
                # x' = a x + c y, y' = b x + d y, in multiples of 2**-16
                a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
                if abs(b) + abs(c) > abs(a) + abs(d):
                    return cls(True, c < 0, b < 0)
                return cls(False, a < 0, d < 0)
        return cls()

    def apply(self, image: np.ndarray) -> np.ndarray:
        if self.transpose:
            image = cv2.transpose(image)
        if self.mirror_x or self.mirror_y:
            code = -1 if self.mirror_x and self.mirror_y else int(self.mirror_x)
            image = cv2.flip(image, code)
        return image


class VideoReader:
    """RGB frames of a video or still image at a constant rate, in constant memory.

    Output frame k is what a player shows at k / fps seconds: each source frame goes to
    the output frame nearest to its time stamp and stays until the next one, so
    variable frame rates, gaps and late starts keep their time (to half a frame). Time
    0 is the start of the file's earliest stream, as for `lipsync_jax.audio.load`.

    The picture is turned upright by the file's display matrix, non-square pixels are
    made square, the colour matrix and range of the file are honoured (see `color`).
    Interlaced video stays interlaced. An image is a video of one frame.

    Use a reader from one thread at a time.
    """

    info: VideoInfo

    def __init__(self, path: Path | str, fps: Fraction | int | None = None):
        """Opens the file and decodes its first frame.

        Args:
            path: a video in any common container, or a still image.
            fps: rate of the frames; by default the video's own average rate, and 25
                for an image.

        Raises:
            MediaError: the file is absent, damaged or holds no picture.
            OptionError: fps is not positive.
        """
        path = Path(path)
        if fps is not None and fps <= 0:
            raise OptionError(f"the frame rate is {fps}; it must be positive")
        if is_image(path):
            height, width, _ = read_image(path).shape
            self.info = VideoInfo(
                path=path,
                width=width,
                height=height,
                fps=Fraction(fps or IMAGE_RATE),
                duration=None,
                frame_count=1,
                rotation=0,
                is_image=True,
                has_audio=False,
                codec="image",
            )
            return

        with open_media(path) as container:
            stream = video_stream(container)
            if stream is None:
                raise MediaError(
                    f"{path}: has no video stream; found: {describe_streams(container)}"
                )
            codec = stream.codec_context.name
            frame = next(decode(container, stream), None)
            if frame is None:
                raise MediaError(
                    f"{path}: not one frame of its video ({codec}) can be decoded; "
                    "download or copy it again"
                )
            fps = Fraction(fps or _constant_rate(path, stream))
            origin = start_time(container)
            timed = frame.pts is not None
            self._seekable = timed and container.format.name not in ("gif", "apng")
            self._first_time = frame.pts * frame.time_base if timed else origin
            check_time_step(path, origin, self._first_time)
            self._first_slot = _nearest((self._first_time - origin) * fps)
            self._period = 1 / (stream.average_rate or fps)
            self._stored_size = (_display_width(frame, stream), frame.height)
            self._orientation = _Orientation.of(frame)

            width, height = self._stored_size
            if self._orientation.transpose:
                width, height = height, width
            duration = _stated_duration(container, stream)
            count = self._first_slot + round(duration * fps) if duration else None
            self.info = VideoInfo(
                path=path,
                width=width,
                height=height,
                fps=fps,
                duration=duration,
                frame_count=count,
                rotation=-frame.rotation % 360,
                is_image=False,
                has_audio=audio_stream(container) is not None,
                codec=codec,
            )

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Yields output frames start, start + 1, … up to stop (not included).

        Each call is a fresh pass over the file; an index always gives the same pixels.

        Yields:
            (height, width, 3) RGB uint8, owned by the caller.

        Raises:
            MediaError: the video is damaged, or ends before its header says.
        """
        if stop is not None and start >= stop:
            return
        if self.info.is_image:
            if start == 0:
                yield read_image(self.info.path)
            return
        convert = RGBConverter(*self._stored_size)
        index = start
        for frame, end in self._intervals(start):
            while index < end:
                try:
                    rgb = convert(frame)
                except av.FFmpegError as error:
                    raise MediaError(
                        f"{self.info.path}: frame {index} ({frame.format.name}) cannot "
                        f"be converted to RGB: {error.strerror}"
                    ) from None
                yield self._orientation.apply(rgb)
                index += 1
                if index == stop:
                    return

    def _intervals(self, start: int) -> Iterator[tuple[av.VideoFrame, int]]:
        """Source frames, and the output index at which each leaves the screen."""
        shown, end = None, 0
        for time, frame in self._source_frames(start):
            slot = self._slot(time)
            if shown is not None:
                yield shown, slot
            duration = (frame.duration or 0) * frame.time_base or self._period
            shown, end = frame, max(slot + 1, self._slot(time + duration))
        if shown is not None:
            yield shown, end

    def _slot(self, time: Fraction) -> int:
        """Output frame nearest to a time stamp.

        Counted from the first frame's slot: if the video starts half an output frame
        after the sound, jitter must not round neighbours in different directions.
        """
        return self._first_slot + _nearest((time - self._first_time) * self.info.fps)

    def _source_frames(self, start: int) -> Iterator[tuple[Fraction, av.VideoFrame]]:
        """Decodes from a key frame at or before an output index, with time stamps."""
        wanted = self._first_time + (start - self._first_slot) / self.info.fps
        for margin in _SEEK_MARGINS:
            if not self._seekable or wanted - margin <= self._first_time:
                break
            frames = self._decode(seek_to=wanted - margin)
            try:
                first = next(frames, None)
            except (av.FFmpegError, MediaError):  # not seekable after all
                break
            if first is not None and self._slot(first[0]) <= start:
                return itertools.chain([first], frames)
        return self._decode()

    def _decode(
        self, seek_to: Fraction | None = None
    ) -> Iterator[tuple[Fraction, av.VideoFrame]]:
        path = self.info.path
        with open_media(path) as container:
            stream = video_stream(container)
            stream.thread_type = "AUTO"
            if seek_to is not None:
                container.seek(math.floor(seek_to / stream.time_base), stream=stream)
            before = None
            for frame in decode(container, stream):
                if before is None and seek_to is not None and not frame.key_frame:
                    continue  # refers to frames before the seek point
                if frame.pts is not None:
                    time = frame.pts * frame.time_base
                else:
                    time = self._first_time if before is None else before + self._period
                if before is not None:
                    check_time_step(path, before, time)
                before = time
                yield time, frame


def probe(path: Path | str) -> VideoInfo:
    """What a video or still image holds. Raises MediaError as VideoReader does."""
    return VideoReader(path).info


def _nearest(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def _display_width(frame: av.VideoFrame, stream: av.VideoStream) -> int:
    """Width with square pixels. Deviations of under 1 % are rounding in the header."""
    aspect = stream.sample_aspect_ratio
    if aspect and Fraction(1, 100) < abs(aspect - 1) < 3:
        return max(1, round(frame.width * aspect))
    return frame.width


def _stated_duration(
    container: av.container.InputContainer, stream: av.VideoStream
) -> float | None:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None:
        return container.duration / av.time_base
    return None


def _constant_rate(path: Path, stream: av.VideoStream) -> Fraction:
    """The rate a video is meant to have.

    Averages are a little off (a long last frame, time stamps in milliseconds), so a
    common rate nearby wins: within rounding, or within 2 % if it is also the unit that
    FFmpeg found in the time stamps.
    """
    average = stream.average_rate
    if average is None or average > _HIGHEST_RATE:
        average = _median_rate(path)
    if not _LOWEST_RATE <= average <= _HIGHEST_RATE:
        return IMAGE_RATE
    nearest = min(_COMMON_RATES, key=lambda rate: abs(rate - average))
    if abs(nearest / average - 1) < Fraction(4, 10_000):
        return nearest
    base = stream.base_rate
    if base in _COMMON_RATES and abs(base / average - 1) < Fraction(2, 100):
        return base
    return average.limit_denominator(1001)


def _median_rate(path: Path) -> Fraction:
    """Rate of the first time stamps, for headers without one (browser recordings)."""
    with open_media(path) as container:
        packets = itertools.islice(container.demux(video_stream(container)), 120)
        times = sorted(p.pts * p.time_base for p in packets if p.pts is not None)
    steps = sorted(b - a for a, b in itertools.pairwise(times) if b > a)
    return 1 / steps[len(steps) // 2] if steps else IMAGE_RATE
