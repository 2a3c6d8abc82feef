"""What DAVS hears: blocks of 20 MFCC columns, 200 ms that begin 80 ms before a frame.

Section 5 of its specification. The original's clips lack the frames whose blocks are
not whole, the first two and the last; here the first and the last column are repeated
where there is no sound.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from lipsync_jax.audio.htk_mfcc import DAVS, htk_mfcc_columns, stream_htk_mfcc
from lipsync_jax.errors import AudioError

BLOCK = 20  # columns
LEAD = 8  # columns by which a block begins before its frame
MIN_SAMPLES = DAVS.frame + (BLOCK - 1) * DAVS.hop  # 0.215 s, one whole block


def block_start(frame: np.ndarray | int, fps: float) -> np.ndarray:
    """First columns, int64, of the blocks of frames; may be negative."""
    columns = np.asarray(frame) * (DAVS.frames_per_second / fps)
    return np.floor(columns + 1e-6).astype(np.int64) - LEAD


def blocks(wav: np.ndarray, first: int, count: int, fps: float) -> np.ndarray:
    """The blocks of consecutive frames.

    Args:
      wav: (S,) mono at 16 kHz: float in [-1, 1], or int16.
      first: number of the first frame.
      count: how many frames.
      fps: frames per second.

    Returns:
      (count, 20, 12) float32.

    Raises:
      AudioError: the sound is shorter than a block.
    """
    if wav.size < MIN_SAMPLES:
        raise AudioError(
            f"{wav.size / DAVS.sample_rate:.3f} s of sound is too short for DAVS; it "
            f"hears {MIN_SAMPLES / DAVS.sample_rate:g} s at a time"
        )
    starts = block_start(first + np.arange(count), fps)
    wanted = starts[:, None] + np.arange(BLOCK)
    wanted = wanted.clip(0, DAVS.count(wav.size) - 1)
    low, high = int(wanted[0, 0]), int(wanted[-1, -1]) + 1
    columns = htk_mfcc_columns(wav, low, high, DAVS).T
    return columns[wanted - low].astype(np.float32)


def stream_blocks(
    wav: Iterable[np.ndarray], fps: float, shift: int = 0
) -> Iterator[np.ndarray]:
    """The block of each frame, without end and in constant memory.

    Args:
      wav: consecutive pieces of a waveform, in all at least one column.
      fps: frames per second.
      shift: frames by which blocks are moved.

    Yields:
      (20, 12) float32.
    """
    pieces = stream_htk_mfcc(wav, DAVS)
    first = min(0, int(block_start(shift, fps)))
    held = next(pieces)  # columns first, first + 1, ...
    held = np.concatenate([_repeated(held[:, :1], -first), held], axis=1)
    frame = 0
    while True:
        start = int(block_start(frame + shift, fps))
        while (missing := start + BLOCK - first - held.shape[1]) > 0:
            piece = next(pieces, _repeated(held[:, -1:], missing))
            done = min(start - first, held.shape[1] - 1)
            held = np.concatenate([held[:, done:], piece], axis=1)
            first += done
        block = held[:, start - first : start - first + BLOCK]
        yield block.T.astype(np.float32)
        frame += 1


def _repeated(column: np.ndarray, count: int) -> np.ndarray:
    return np.repeat(column, count, axis=1)
