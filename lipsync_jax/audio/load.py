"""Loading speech from any media file as mono float32."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soxr

from lipsync_jax.media.sound import SoundReader


def stream_audio(
    path: Path | str, sample_rate: int = 16_000, block_seconds: float = 10.0
) -> Iterator[np.ndarray]:
    """Yields the sound of a file in blocks, in constant memory.

    Mono is the mean of the channels. Resampling is soxr's "HQ", which librosa.load uses
    too; n samples at rate r become ceil(n * sample_rate / r). Without resampling,
    16-bit samples are exactly pcm / 32768.

    Args:
        path: an audio or video file; of several sound tracks the default one is taken.
        sample_rate: of the result in Hz.
        block_seconds: length of each block but the last.

    Yields:
        (block_seconds * sample_rate,) float32; full scale is 1.

    Raises:
        AudioError: there is no sound, or a sample is NaN or infinite.
        MediaError: the file is absent, damaged or not a media file.
    """
    reader = SoundReader(path)
    mono = (block.mean(axis=0) for block in reader.blocks())
    if reader.rate != sample_rate:
        mono = _resample(mono, reader.rate, sample_rate)
    return _regroup(mono, round(block_seconds * sample_rate))


def load_audio(path: Path | str, sample_rate: int = 16_000) -> np.ndarray:
    """The whole sound of a file: (S,) float32, mono. Details: `stream_audio`."""
    return np.concatenate(list(stream_audio(path, sample_rate)))


def _resample(
    blocks: Iterable[np.ndarray], rate: int, target_rate: int
) -> Iterator[np.ndarray]:
    stream = soxr.ResampleStream(rate, target_rate, 1, dtype="float32", quality="HQ")
    read = written = 0
    for block in blocks:
        resampled = stream.resample_chunk(block)
        read += len(block)
        written += len(resampled)
        yield resampled
    tail = stream.resample_chunk(np.zeros(0, np.float32), last=True)
    missing = -(-read * target_rate // rate) - written
    yield np.pad(tail[:missing], (0, max(0, missing - len(tail))))


def _regroup(blocks: Iterable[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """Cuts a sequence of blocks into blocks of one length and a rest."""
    kept, count = [], 0
    for block in blocks:
        kept.append(block)
        count += len(block)
        if count >= length:
            joined = np.concatenate(kept)
            whole = count - count % length
            yield from joined[:whole].reshape(-1, length)
            kept, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(kept)
