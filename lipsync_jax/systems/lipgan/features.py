"""What LipGAN hears: windows of mel or MFCC columns, and where they lie in time.

A window goes with one picture. Its first column is found from the picture's number by
the original's truncation; `audio_offset` says how many 25ths of a second it lies from
the picture. Training and use must agree on it, so it is an attribute of the network:

-4: the window is centred on the picture.
 0: it starts at the picture, as the original's mel program has it in use.
-8: it starts 8 frames earlier, as in the original's mel training: its pictures are
    numbered from the clip's fifth frame, and four more are subtracted (quirk 8).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lipsync_jax.audio.htk_mfcc import LIPGAN, htk_mfcc_columns, stream_htk_mfcc
from lipsync_jax.audio.mel import WAV2LIP, mel_columns, stream_mel
from lipsync_jax.data.schema import FPS

CENTRED = -4  # audio_offset, for both kinds of features: to less than a frame


@dataclass(frozen=True)
class Features:
    """A front end as a sequence of columns.

    Attributes:
      rows: numbers in a column.
      width: columns of a window.
      rate: columns per second.
      silence: what digital silence gives.
      count: samples -> columns.
      columns: (waveform, start, stop) -> (rows, stop - start).
      stream: blocks of a waveform -> pieces (rows, t), in constant memory.
    """

    rows: int
    width: int
    rate: float
    silence: float
    count: Callable[[int], int]
    columns: Callable[[np.ndarray, int, int], np.ndarray]
    stream: Callable[[Iterable[np.ndarray]], Iterator[np.ndarray]]


MEL = Features(
    rows=80,
    width=27,
    rate=WAV2LIP.frames_per_second,
    silence=-WAV2LIP.max_abs,
    count=lambda samples: 1 + samples // WAV2LIP.hop if samples else 0,
    columns=mel_columns,
    stream=stream_mel,
)
MFCC = Features(
    rows=12,
    width=35,
    rate=LIPGAN.frames_per_second,
    silence=0.0,
    count=LIPGAN.count,
    columns=htk_mfcc_columns,
    stream=stream_htk_mfcc,
)
_BY_SHAPE = {(kind.rows, kind.width, 1): kind for kind in (MEL, MFCC)}


def features_of(module: Any) -> Features:
    """What a network hears, by the shape of its first input."""
    return _BY_SHAPE[module.input_shapes[0]]


def window_start(
    frame: Any, fps: float, features: Features, audio_offset: int = 0
) -> np.ndarray:
    """First columns, int64, of the windows of frames; may be negative.

    Args:
      frame: number or numbers of frames.
      fps: frames per second.
      features: the front end.
      audio_offset: see above.
    """
    # Whole frames at 25 fps: the product is the original's to the last bit.
    moved = np.asarray(frame) + audio_offset * (fps / FPS)
    return np.floor(moved * (features.rate / fps)).astype(np.int64)


def windows(
    blocks: Iterable[np.ndarray],
    fps: float,
    features: Features,
    audio_offset: int = 0,
    shift: int = 0,
) -> Iterator[np.ndarray]:
    """The window of each frame, in constant memory.

    Before the speech and after it there is silence, which never ends; columns that the
    original has are untouched by it.

    Args:
      blocks: consecutive pieces of a waveform.
      fps: frames per second of the video.
      features: the front end.
      audio_offset: see above.
      shift: frames by which windows are moved further.

    Yields:
      (rows, width) float32.
    """

    def silent(count: int) -> np.ndarray:
        return np.full((features.rows, count), features.silence, np.float32)

    pieces = features.stream(blocks)
    first = min(0, int(window_start(shift, fps, features, audio_offset)))
    held = silent(-first)  # columns first, first + 1, ...
    frame = 0
    while True:
        start = int(window_start(frame + shift, fps, features, audio_offset))
        while (missing := start + features.width - first - held.shape[1]) > 0:
            piece = next(pieces, silent(missing)).astype(np.float32, copy=False)
            done = min(start - first, held.shape[1])
            held = np.concatenate([held[:, done:], piece], axis=1)
            first += done
        yield held[:, start - first : start - first + features.width]
        frame += 1
