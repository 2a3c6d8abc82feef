"""Training examples of the sync expert: five frames with their sound, or another's.

The original draws a clip and two frames until all its rules hold. Here the clips and
positions that can hold are known beforehand, so that a draw never fails:

- `start` is drawn among the windows that have sound, the other window among all windows
  of the clip; in the original, either may come up more often where the clip has gaps.
- A window in sync and one out of sync need the same of a clip: the original would
  also use a clip's only window, in sync.
"""

from functools import partial

import numpy as np

from lipsync_jax.audio.mel import WAV2LIP, mel_columns
from lipsync_jax.data.examples import Examples
from lipsync_jax.data.frames import read_frames
from lipsync_jax.data.schema import Clip, ClipMeta

WINDOW = 5  # frames of one example
MEL_STEPS = 16  # mel columns that go with a frame: 0.2 s
MIN_FRAMES = 16  # with a face, in a clip worth using


def examples(resolution: int, min_distance: int = 1) -> Examples:
    """How the expert takes examples from clips.

    Args:
      resolution: side of the network's pictures.
      min_distance: frames between a window and the one that is out of sync with it.
        The original's 1 lets them overlap, and be hard to tell apart.
    """
    return Examples(
        partial(starts, min_distance=min_distance),
        partial(example, resolution=resolution, min_distance=min_distance),
    )


def mel_start(frame: np.ndarray | int, fps: float) -> np.ndarray:
    """First mel column that goes with a frame, truncated as the original does."""
    seconds = np.asarray(frame) / fps
    return (WAV2LIP.frames_per_second * seconds).astype(np.int64)


def windows(valid: np.ndarray) -> np.ndarray:
    """First frames (k,) of all runs of `WINDOW` frames with a face."""
    if len(valid) < WINDOW:
        return np.zeros(0, np.int64)
    runs = np.lib.stride_tricks.sliding_window_view(valid, WINDOW)
    return np.flatnonzero(runs.all(axis=1))


def has_sound(frame: np.ndarray, samples: int, fps: float) -> np.ndarray:
    """Whether all mel columns that go with a frame are there: bool like `frame`."""
    columns = 1 + samples // WAV2LIP.hop
    return mel_start(frame, fps) + MEL_STEPS <= columns


def with_partner(
    candidates: np.ndarray, partners: np.ndarray, min_distance: int
) -> np.ndarray:
    """Those of `candidates` that a window of `partners` is far enough from.

    Args:
      candidates, partners: ascending first frames.
      min_distance: in frames.
    """
    if not len(partners):
        return candidates[:0]
    reach = np.maximum(candidates - partners[0], partners[-1] - candidates)
    return candidates[reach >= min_distance]


def other_window(
    clip: Clip, start: int, rng: np.random.Generator, min_distance: int
) -> int:
    """A window of the same clip at least `min_distance` frames away, uniformly."""
    all_windows = windows(clip.valid)
    return int(rng.choice(all_windows[abs(all_windows - start) >= min_distance]))


def starts(meta: ClipMeta, *, min_distance: int = 1) -> np.ndarray:
    """First frames (k,) int64 of the windows that can be examples.

    Five frames with a face and sixteen mel columns of sound, in a clip that shows a
    face in at least sixteen frames and has another window `min_distance` away.
    """
    found = windows(meta.valid)
    if meta.valid.sum() < MIN_FRAMES:
        return found[:0]
    heard = found[has_sound(found, meta.samples, meta.fps)]
    return with_partner(heard, found, min_distance)


def example(
    clip: Clip,
    start: int,
    rng: np.random.Generator,
    *,
    resolution: int,
    min_distance: int = 1,
) -> dict[str, np.ndarray]:
    """One example: with even odds the window's own frames, or another window's.

    The sound is that of `start` either way.

    Args:
      clip: the record.
      start: one of `starts`.
      rng: decides the label and the other window.
      resolution: side of the pictures.
      min_distance: as for `starts`.

    Returns:
      face: (5, resolution, resolution, 3) uint8 RGB, the whole crop; the network looks
        at its lower half.
      mel: (80, 16) float32.
      label: () float32, 1 in sync, 0 not.
    """
    in_sync = bool(rng.integers(2))
    shown = start if in_sync else other_window(clip, start, rng, min_distance)
    column = int(mel_start(start, clip.fps))
    return {
        "face": read_frames(clip, shown, WINDOW, resolution),
        "mel": mel_columns(clip.audio, column, column + MEL_STEPS),
        "label": np.float32(in_sync),
    }
