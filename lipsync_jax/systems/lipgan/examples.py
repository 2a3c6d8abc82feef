"""Training examples of LipGAN: a picture, another of that person, a window of sound.

Kept from the original: twelve pictures a clip, six frames to the reference, windows
that are whole, and with `audio_offset=-8` their arithmetic. Its picture k is frame
k + 4 of the clip; it leaves out three frames at the end, too, which count here if they
have sound. Windows are centred unless told otherwise; its own are not.
Each usable clip comes once in an epoch, with one picture; there, with every picture.
"""

import zlib
from functools import partial

import numpy as np

from lipsync_jax.data.examples import Examples
from lipsync_jax.data.frames import read_frames
from lipsync_jax.data.schema import Clip, ClipMeta
from lipsync_jax.systems.lipgan.features import CENTRED, MEL, Features, window_start

MIN_FRAMES = 12  # with a face; then every frame has one MIN_DISTANCE away
MIN_DISTANCE = 6  # frames to the reference


def examples(
    resolution: int, features: Features = MEL, audio_offset: int = CENTRED
) -> Examples:
    """How LipGAN takes examples from clips.

    Args:
      resolution: side of the network's pictures.
      features: what the network hears.
      audio_offset: where its windows lie, see `features`.
    """
    heard = {"features": features, "audio_offset": audio_offset}
    return Examples(
        partial(starts, **heard), partial(example, resolution=resolution, **heard)
    )


def starts(
    meta: ClipMeta, *, features: Features = MEL, audio_offset: int = CENTRED
) -> np.ndarray:
    """Frames (k,) int64 with a face and a whole window of sound."""
    found = np.flatnonzero(meta.valid)
    if len(found) < MIN_FRAMES:
        return found[:0]
    columns = window_start(found, meta.fps, features, audio_offset)
    last = features.count(meta.samples) - features.width
    return found[(columns >= 0) & (columns <= last)]


def example(
    clip: Clip,
    start: int,
    rng: np.random.Generator,
    *,
    resolution: int,
    features: Features = MEL,
    audio_offset: int = CENTRED,
) -> dict[str, np.ndarray]:
    """One example.

    Args:
      clip: the record.
      start: one of `starts`.
      rng: decides the reference.
      resolution: side of the pictures.
      features: what the network hears.
      audio_offset: where its windows lie.

    Returns:
      target: (resolution, resolution, 3) uint8 RGB, what is to be drawn, unmasked.
      reference: the same of a frame at least six away.
      mel: (rows, width) float32, the window of sound: (80, 27), MFCCs (12, 35).
      clip, frame: () int32, a number for the clip's name and that of the frame: two
        examples with equal ones, or nearly equal frames, are no pair out of sync.
    """
    found = np.flatnonzero(clip.valid)
    reference = int(rng.choice(found[abs(found - start) >= MIN_DISTANCE]))
    column = int(window_start(start, clip.fps, features, audio_offset))
    heard = features.columns(clip.audio, column, column + features.width)
    return {
        "target": read_frames(clip, start, 1, resolution)[0],
        "reference": read_frames(clip, reference, 1, resolution)[0],
        "mel": heard.astype(np.float32, copy=False),
        "clip": np.int32(zlib.crc32(clip.id.encode()) & 0x7FFFFFFF),
        "frame": np.int32(start),
    }
