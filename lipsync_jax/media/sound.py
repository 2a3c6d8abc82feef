"""Decoding the sound of a file onto its time line, at its own rate and channels."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from lipsync_jax.errors import AudioError, MediaError
from lipsync_jax.media.container import (
    audio_stream,
    check_time_step,
    decode,
    describe_streams,
    open_media,
    start_time,
)
from lipsync_jax.media.images import is_image

# Time stamps may disagree with the sample count by rounding to milliseconds. A larger
# difference is a gap or a drifting clock and is corrected: half a frame at 25 fps.
_TOLERANCE = Fraction(1, 50)  # seconds

_FULL_SCALE = {"u8": 2**7, "s16": 2**15, "s32": 2**31, "flt": 1, "dbl": 1}


class SoundReader:
    """The sound track of a file, decoded in constant memory.

    Sample 0 is the start of the file's earliest stream, as for `VideoReader`: where
    the sound starts later, or has gaps, there is silence. An encoder's padding is left
    out where the container declares it (MP4, MP3, Ogg; not raw ADTS or AVI).

    Attributes:
        path: of the file.
        rate: samples per second.
        channels: of each block.
    """

    def __init__(self, path: Path | str):
        """Opens the file and decodes the first bit of sound.

        Raises:
            AudioError: there is no sound track, or it is empty.
            MediaError: the file is absent, damaged or not a media file.
        """
        self.path = Path(path)
        if self.path.is_file() and is_image(self.path):
            raise AudioError(f"{path}: is a still image; give a file with sound")
        with open_media(path) as container:
            stream = audio_stream(container)
            if stream is None:
                raise AudioError(
                    f"{path}: has no audio stream; found: {describe_streams(container)}"
                )
            frame = next(decode(container, stream), None)
            if frame is None:
                codec = stream.codec_context.name
                raise AudioError(f"{path}: its audio stream ({codec}) is empty")
            self.rate = frame.sample_rate
            self.channels = frame.layout.nb_channels

    def blocks(self) -> Iterator[np.ndarray]:
        """Yields consecutive blocks (channels, n) of float32; full scale is 1.

        Each call is a fresh pass. Integer samples are divided by 2**(bits - 1);
        lossy codecs may overshoot 1.

        Raises:
            AudioError: a sample is NaN or infinite.
            MediaError: the sound is damaged, or ends before its header says.
        """
        position = 0  # samples yielded so far
        tolerance = 0  # the first block is placed exactly
        with open_media(self.path) as container:
            stream = audio_stream(container)
            origin = start_time(container)
            end = _end(container, stream)
            for frame in decode(container, stream):
                samples = self._samples(frame)
                if frame.pts is not None:
                    time = frame.pts * frame.time_base - origin
                    check_time_step(self.path, Fraction(position, self.rate), time)
                    late = round(time * self.rate) - position
                    if late > tolerance:
                        yield from self._silence(late)
                        position += late
                    elif late < -tolerance:
                        samples = samples[:, -late:]
                tolerance = _TOLERANCE * self.rate
                if end is not None:  # an encoder's last frame is padded
                    samples = samples[:, : max(0, round(end * self.rate) - position)]
                self._check_finite(samples, position)
                if samples.shape[1]:
                    yield samples
                position += samples.shape[1]

    def _samples(self, frame: av.AudioFrame) -> np.ndarray:
        """(channels, n) float32 of one decoded frame."""
        found = frame.sample_rate, frame.layout.nb_channels
        if found != (self.rate, self.channels):
            raise MediaError(
                f"{self.path}: its sound changes from {self.rate} Hz, {self.channels} "
                f"channels to {found[0]} Hz, {found[1]} channels at {frame.time:.2f} "
                "s; convert it to WAV first"
            )
        data = frame.to_ndarray()
        if not frame.format.is_planar:
            data = data.reshape(-1, self.channels).T
        kind = frame.format.packed.name
        if kind == "u8":
            data = data - np.float32(128)
        return data.astype(np.float32) / np.float32(_FULL_SCALE[kind])

    def _silence(self, length: int) -> Iterator[np.ndarray]:
        for start in range(0, length, self.rate):
            yield np.zeros((self.channels, min(self.rate, length - start)), np.float32)

    def _check_finite(self, samples: np.ndarray, position: int) -> None:
        finite = np.isfinite(samples).all(axis=0)
        if not finite.all():
            time = (position + int(np.argmin(finite))) / self.rate
            raise AudioError(
                f"{self.path}: the sample at {time:.3f} s is NaN or infinite; "
                "export the sound again, for example as 16-bit WAV"
            )


def _end(
    container: av.container.InputContainer, stream: av.AudioStream
) -> Fraction | None:
    """Where the sound ends, in seconds, if the container knows to the sample."""
    if "mp4" not in container.format.name or stream.duration is None:
        return None
    end = ((stream.start_time or 0) + stream.duration) * stream.time_base
    return end - start_time(container)
