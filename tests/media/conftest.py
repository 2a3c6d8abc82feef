"""Small videos whose frames carry their number as a picture."""

import wave
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

SIZE = 64
BITS = 10


def _numbered(number: int) -> np.ndarray:
    """(64, 64, 3) frame: one bright or dark band of rows per bit of its number."""
    frame = np.full((SIZE, SIZE, 3), 20, np.uint8)
    for bit in range(BITS):
        if number >> bit & 1:
            frame[6 * bit : 6 * bit + 6] = 230
    return frame


def _number_of(frame: np.ndarray) -> int:
    bands = frame[: 6 * BITS].reshape(BITS, 6, -1).mean(axis=(1, 2))
    return sum(1 << bit for bit, value in enumerate(bands) if value > 128)


def _write_video(
    path: Path,
    times: Sequence[Fraction | float],
    *,
    codec: str = "libx264",
    rate: Fraction | int = 25,
    unit: Fraction = Fraction(1, 90_000),
    container_options: dict[str, str] | None = None,
    codec_options: dict[str, str] | None = None,
    sound: np.ndarray | None = None,
    set_up: Callable[[av.VideoStream], None] = lambda stream: None,
) -> Path:
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=codec_options or {})
        stream.width = stream.height = SIZE
        stream.codec_context.time_base = unit
        set_up(stream)
        if sound is not None:
            audio = container.add_stream("aac", rate=48_000, layout="mono")
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(_numbered(number), "rgb24")
            frame.pts, frame.time_base = round(Fraction(time) / unit), unit
            container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode(None))
        if sound is not None:
            block = av.AudioFrame.from_ndarray(sound[None], "fltp", "mono")
            block.sample_rate, block.pts = 48_000, 0
            block.time_base = Fraction(1, 48_000)
            container.mux(audio.encode(block))
            container.mux(audio.encode(None))
    return path


def _write_wav(path: Path, pcm: np.ndarray, rate: int = 16_000) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if pcm.ndim == 1 else pcm.shape[1])
        file.setsampwidth(pcm.dtype.itemsize)
        file.setframerate(rate)
        file.writeframes(pcm.tobytes())
    return path


@pytest.fixture
def write_video() -> Callable[..., Path]:
    """Encodes frames 0, 1, … (up to 1023), shown from the given times (seconds).

    `sound`, if given, is mono float32 at 48 kHz and starts at time 0.
    """
    return _write_video


@pytest.fixture
def number_of() -> Callable[[np.ndarray], int]:
    """Reads the number in a frame of `write_video`."""
    return _number_of


@pytest.fixture
def write_wav() -> Callable[..., Path]:
    """Writes int16 samples (n,) or (n, channels) as WAV."""
    return _write_wav


@pytest.fixture
def at_rate() -> Callable[[int, Fraction | int], list[Fraction]]:
    """Times of `count` frames at a constant rate."""
    return lambda count, rate: [Fraction(n) / rate for n in range(count)]
