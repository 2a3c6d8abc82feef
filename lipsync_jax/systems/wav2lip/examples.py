"""Training examples of Wav2Lip: a window to redraw, and another that shows the face.

The original draws a clip and two frames until all its rules hold. Here the first is
drawn among the windows for which they hold, the second among the clip's other windows:
within a clip the same distribution, without a draw that can fail. Each clip comes once
in an epoch; the original draws clips with replacement, those with gaps less often.

Kept from the original: the sound of frame j in `mels` starts with frame j - 1, 40 ms
earlier than what inference feeds for that frame, so a window cannot start at frame 0.
"""

from functools import partial

import numpy as np

from lipsync_jax.audio.mel import mel_columns
from lipsync_jax.data.examples import Examples
from lipsync_jax.data.frames import read_frames
from lipsync_jax.data.schema import Clip, ClipMeta
from lipsync_jax.systems.expert.examples import (
    MEL_STEPS,
    MIN_FRAMES,
    WINDOW,
    has_sound,
    mel_start,
    other_window,
    windows,
    with_partner,
)


def examples(resolution: int, min_distance: int = 1) -> Examples:
    """How Wav2Lip takes examples from clips.

    Args:
      resolution: side of the network's pictures.
      min_distance: frames between a window and its reference. The original's 1 lets
        them overlap, and the answer be copied.
    """
    return Examples(
        partial(starts, min_distance=min_distance),
        partial(example, resolution=resolution, min_distance=min_distance),
    )


def starts(meta: ClipMeta, *, min_distance: int = 1) -> np.ndarray:
    """First frames (k,) int64 of the windows that can be redrawn.

    Five frames with a face, sixteen mel columns of sound for the window and for each of
    its frames, in a clip that shows a face in at least sixteen frames and has another
    window `min_distance` away.
    """
    found = windows(meta.valid)
    if meta.valid.sum() < MIN_FRAMES:
        return found[:0]
    # The window's last frame hears from the frame before it on; the window itself
    # hears from its first frame.
    last = found + WINDOW - 2
    heard = found[(found > 0) & has_sound(last, meta.samples, meta.fps)]
    return with_partner(heard, found, min_distance)


def example(
    clip: Clip,
    start: int,
    rng: np.random.Generator,
    *,
    resolution: int,
    min_distance: int = 1,
) -> dict[str, np.ndarray]:
    """One example.

    Args:
      clip: the record.
      start: one of `starts`.
      rng: decides the reference window.
      resolution: side of the pictures.
      min_distance: as for `starts`.

    Returns:
      target: (5, resolution, resolution, 3) uint8 RGB, what is to be drawn, unmasked.
      reference: (5, resolution, resolution, 3) uint8 RGB, the other window.
      mels: (5, 80, 16) float32, the sound of each frame.
      mel: (80, 16) float32, the sound of the window, which the expert hears.
    """
    wrong = other_window(clip, start, rng, min_distance)
    columns = mel_start(np.arange(start - 1, start + WINDOW - 1), clip.fps)
    first, last = columns[0], columns[-1] + MEL_STEPS
    heard = mel_columns(clip.audio, int(first), int(last))
    mels = [heard[:, c : c + MEL_STEPS] for c in columns - first]
    return {
        "target": read_frames(clip, start, WINDOW, resolution),
        "reference": read_frames(clip, wrong, WINDOW, resolution),
        "mels": np.stack(mels),
        "mel": mels[1],
    }
