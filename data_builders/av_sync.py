"""Checks and mends how far a clip's sound is off its mouth."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from data_builders.jpeg import decode
from data_builders.video import Unusable
from lipsync_jax.data.schema import FPS, SAMPLE_RATE, Clip


class Offset(Protocol):
    """What `evaluation.offset.av_offset` returns, as far as it matters here.

    Attributes:
        frames: how late the sound is: frame i's is heard at frame i + `frames`.
        confidence: larger is surer.
    """

    frames: int
    confidence: float


@dataclass(frozen=True)
class Aligner:
    """Moves a clip's sound onto its mouth by whole frames.

    Attributes:
        measure: crops (T, S, S, 3) RGB uint8 and sound (S,) float32 to their offset.
        max_offset: largest offset that is mended, in frames.
        min_confidence: least confidence of an offset.
    """

    measure: Callable[[np.ndarray, np.ndarray], Offset]
    max_offset: int
    min_confidence: float

    def __call__(self, clip: Clip) -> tuple[Clip, int]:
        """The clip with its sound moved, and by how many frames.

        Raises:
            Unusable: too far off, or the offset cannot be told.
        """
        crops = np.stack([decode(jpeg) for jpeg in clip.frames])
        offset = self.measure(crops, clip.audio / np.float32(2**15))
        if offset.confidence < self.min_confidence:
            raise Unusable("sync unclear", f"confidence {offset.confidence:.2f}")
        if abs(offset.frames) > self.max_offset:
            raise Unusable("out of sync", f"by {offset.frames} frames")
        return move_sound(clip, offset.frames), offset.frames


def open_aligner(folder: Path, max_offset: int, min_confidence: float) -> Aligner:
    """An aligner that listens with the sync expert of a model folder.

    Raises:
        ModelError: the folder holds no usable expert.
    """
    from lipsync_jax import models_io
    from lipsync_jax.evaluation.offset import av_offset

    model = models_io.load(folder, system="expert")
    measure = partial(av_offset, model.module, model.variables)
    return Aligner(measure, max_offset, min_confidence)


def move_sound(clip: Clip, frames: int) -> Clip:
    """Gives frame i the sound that frame i + `frames` had.

    Frames left without a sound of their own are dropped: `frames` at the end, or at
    the start if it is negative.
    """
    if frames == 0:
        return clip
    samples = abs(frames) * round(SAMPLE_RATE / FPS)
    if frames > 0:
        kept, audio = slice(None, -frames), clip.audio[samples:]
    else:
        kept, audio = slice(-frames, None), clip.audio[:-samples]
    return replace(
        clip,
        frames=clip.frames[kept],
        box=clip.box[kept],
        landmarks=clip.landmarks[kept],
        valid=clip.valid[kept],
        audio=audio,
        source=f"{clip.source} (sound moved by {frames} frames)",
    )
