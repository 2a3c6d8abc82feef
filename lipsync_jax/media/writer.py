"""Writing a video: H.264 and AAC in MP4, complete or not at all."""

import contextlib
import math
import os
import secrets
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc

from lipsync_jax.errors import OutputError
from lipsync_jax.media.color import RGB, YUV420Converter, usual_matrix
from lipsync_jax.media.sound import SoundReader
from lipsync_jax.opencv import cv2

# AAC's rates up to 48 kHz; other sound is resampled to that.
_AAC_RATES = {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000}
_AAC_BITS_PER_CHANNEL = 96_000  # per second: transparent for speech and music

# FFmpeg's usual layouts for 1, 2, … channels; it knows how to mix them to stereo.
_LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")


class VideoWriter:
    """Writes RGB frames and the sound of a file; use as a context manager.

    The file is written under a temporary name in the same folder and gets its own name
    on success. After an exception, and on `abort`, nothing is left; after a kill, only
    the temporary file (`.lipsync-….part`).

    The sound starts with the first frame and is written to its end, even if that is
    later than the last frame. It is encoded along with the frames, so memory does not
    grow with the length.

    Colours are limited-range BT.709 from 720p on and BT.601 below, tagged as such: what
    players assume anyway. 4:2:0 needs even sizes: an odd width or height grows by one
    column or row that repeats the last.

    Use a writer from one thread at a time.
    """

    def __init__(
        self,
        path: Path | str,
        width: int,
        height: int,
        fps: Fraction | int,
        *,
        audio: Path | str | None = None,
        crf: int = 18,
        preset: str = "ultrafast",
        lossless: bool = False,
    ):
        """Opens the temporary file.

        Args:
            path: of the result; its name must end in .mp4.
            width: of the frames in pixels.
            height: of the frames in pixels.
            fps: frames per second.
            audio: file whose sound goes into the video, in any format.
            crf: quality from 0 (best) to 51; 18 is visually lossless.
            preset: x264's trade of time for file size; quality is the same. At 1080p,
                "superfast" halves the file and takes 1.7 times as long.
            lossless: keep every RGB value exactly, in H.264's RGB profile, which only
                players based on FFmpeg show. Ignores `crf`; odd sizes stay odd.

        Raises:
            OutputError: the file cannot be created there.
            AudioError, MediaError: `audio` cannot be read.
        """
        self._path = Path(path)
        _check_place(self._path)
        self._shape = (height, width, 3)
        self._period = 1 / Fraction(fps)
        self._count = 0
        self._audio = None
        self._sound_end = Fraction(0)  # of what is encoded, in seconds
        self._sound: Iterator[av.AudioFrame] = iter(())
        self._container = None
        self._part = self._path.with_name(f".lipsync-{secrets.token_hex(6)}.part")
        # Before anything is created: a wrong sound file must not leave a trace.
        reader = SoundReader(audio) if audio is not None else None
        try:
            with self._output_errors():
                self._container = av.open(
                    str(self._part.absolute()),
                    "w",
                    format="mp4",
                    options={"movflags": "+faststart"},  # plays while it downloads
                )
                if lossless:
                    self._add_lossless_video(width, height, preset)
                else:
                    self._add_video(width, height, preset, crf)
                if reader is not None:
                    self._add_audio(reader)
        except BaseException:
            self.abort()
            raise

    def write(self, frame: np.ndarray) -> None:
        """Appends one (height, width, 3) RGB uint8 frame.

        Raises:
            OutputError: the disk is full, or the file cannot be written otherwise.
            AudioError, MediaError: the sound is damaged at this time.
        """
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(
                f"frame {self._count} is {frame.dtype} {frame.shape}; "
                f"the writer was opened for uint8 {self._shape}"
            )
        with self._output_errors():
            picture = self._convert(frame)
            picture.pts = self._count
            picture.time_base = self._period
            self._container.mux(self._video.encode(picture))
            self._count += 1
            self._write_sound(until=self._count * self._period)

    def close(self) -> None:
        """Writes what is left of the sound, and gives the file its name.

        Raises:
            OutputError: as `write`, or if there was no frame.
            AudioError, MediaError: as `write`.
        """
        try:
            if self._count == 0:
                raise OutputError(f"{self._path}: not written, as it got no frame")
            with self._output_errors():
                self._container.mux(self._video.encode(None))
                if self._audio is not None:
                    self._write_sound(until=math.inf)
                    self._container.mux(self._audio.encode(None))
                self._container.close()
                os.replace(self._part, self._path)
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Removes what was written so far."""
        self._part.unlink(missing_ok=True)
        if self._container is not None:
            with contextlib.suppress(av.FFmpegError, OSError):
                self._container.close()

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, error_type, error, traceback) -> None:
        if error_type is None:
            self.close()
        else:
            self.abort()

    def _add_video(self, width: int, height: int, preset: str, crf: int) -> None:
        width, height = width + width % 2, height + height % 2
        matrix = usual_matrix(width, height)
        self._video = self._add_stream(
            "libx264", "yuv420p", width, height, {"preset": preset, "crf": str(crf)}
        )
        self._video.codec_context.colorspace = matrix
        self._video.codec_context.color_range = ColorRange.MPEG
        to_yuv = YUV420Converter(width, height, matrix)
        self._convert = lambda frame: to_yuv(_pad(frame, width, height))

    def _add_lossless_video(self, width: int, height: int, preset: str) -> None:
        self._video = self._add_stream(
            "libx264rgb", "rgb24", width, height, {"preset": preset, "qp": "0"}
        )
        self._video.codec_context.colorspace = RGB
        self._video.codec_context.color_range = ColorRange.JPEG
        self._convert = lambda frame: av.VideoFrame.from_ndarray(frame, "rgb24")

    def _add_stream(
        self,
        codec: str,
        pixel_format: str,
        width: int,
        height: int,
        options: dict[str, str],
    ) -> av.VideoStream:
        rate = 1 / self._period
        stream = self._container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        context = stream.codec_context
        context.time_base = self._period
        context.thread_type = "FRAME"  # PyAV's default, slices, compresses worse
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.BT709
        return stream

    def _add_audio(self, reader: SoundReader) -> None:
        rate = reader.rate if reader.rate in _AAC_RATES else 48_000
        stereo = 1 < reader.channels <= len(_LAYOUTS)
        self._audio = self._container.add_stream(
            "aac",
            rate=rate,
            layout="stereo" if stereo else "mono",
            bit_rate=_AAC_BITS_PER_CHANNEL * (2 if stereo else 1),
        )
        self._sound = _audio_frames(reader)

    def _write_sound(self, until: Fraction | float) -> None:
        """Encodes the sound before a time in seconds; converts layout and rate."""
        while self._sound_end < until and (frame := next(self._sound, None)):
            self._container.mux(self._audio.encode(frame))
            self._sound_end = (frame.pts + frame.samples) * frame.time_base

    @contextlib.contextmanager
    def _output_errors(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            raise OutputError(
                f"{self._path}: cannot be written: {error.strerror}"
            ) from None


def _check_place(path: Path) -> None:
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; give a file name ending in .mp4")
    if path.suffix.lower() != ".mp4":
        raise OutputError(f"{path}: MP4 is what is written; end the name in .mp4")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist")


def _pad(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    """Repeats the last row or column until the frame has the given size."""
    bottom, right = height - frame.shape[0], width - frame.shape[1]
    if bottom or right:
        return cv2.copyMakeBorder(frame, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    return frame


def _audio_frames(reader: SoundReader) -> Iterator[av.AudioFrame]:
    position = 0
    for block in reader.blocks():
        if len(block) > len(_LAYOUTS):
            block = block.mean(axis=0, keepdims=True)
        layout = _LAYOUTS[len(block) - 1]
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), "fltp", layout)
        frame.sample_rate = reader.rate
        frame.time_base = Fraction(1, reader.rate)
        frame.pts = position
        position += frame.samples
        yield frame
