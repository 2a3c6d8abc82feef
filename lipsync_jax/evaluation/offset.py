"""How many frames sound and picture are apart, as a sync expert perceives them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from lipsync_jax.audio.mel import mel_spectrogram
from lipsync_jax.errors import DataError
from lipsync_jax.nn.pixels import from_levels
from lipsync_jax.opencv import cv2
from lipsync_jax.systems.expert.examples import MEL_STEPS, WINDOW, mel_start
from lipsync_jax.systems.expert.model import Expert, mouths

_BATCH = 32  # windows per call: one compiled shape, whatever the length


@dataclass(frozen=True)
class Offset:
    """What was found.

    Attributes:
      frames: positive if the sound is late: what belongs to frame i is heard at frame
        i + frames.
      confidence: how far the best shift stands out: its similarity less the median over
        all shifts; 0 for sound that fits nowhere better than elsewhere.
      similarity: (2 * span + 1,) float64, mean cosine of the embeddings at the shifts
        -span, ..., span; NaN where picture and sound do not overlap.
    """

    frames: int
    confidence: float
    similarity: np.ndarray


def av_offset(
    expert: Expert,
    variables: Any,
    crops: np.ndarray,
    wav: np.ndarray,
    fps: float = 25.0,
    span: int = 15,
) -> Offset:
    """Shifts the sound against the mouth until they fit best.

    The protocol of SyncNet's offset with this expert's windows: five frames against
    0.2 s of sound. Windows that reach past either end take no part.

    Args:
      expert: the module.
      variables: its params and batch statistics.
      crops: (T, H, W, 3) uint8 RGB face crops, as the expert was trained on; of any
        size, T >= 5.
      wav: (S,) float32 at 16 kHz in [-1, 1], S >= 3000.
      fps: frames per second.
      span: largest shift, in frames, either way.

    Raises:
      DataError: too short.
    """
    starts = np.arange(len(crops) - WINDOW + 1)
    mel = mel_spectrogram(wav) if len(wav) else np.zeros((80, 0), np.float32)
    heard = np.arange(-span, len(crops) + span)
    columns = mel_start(heard, fps)
    inside = (heard >= 0) & (columns + MEL_STEPS <= mel.shape[1])
    heard, columns = heard[inside], columns[inside]
    if not len(starts) or not len(heard):
        raise DataError(
            f"{len(crops)} frames with {len(wav) / 16000:.2f} s of sound are too short "
            f"to compare; it takes {WINDOW} frames and 0.2 s"
        )
    size = (expert.resolution, expert.resolution)
    faces = np.stack([cv2.resize(crop, size) for crop in crops])
    look, listen = encoders(expert)
    seen = _embed(look, variables, (faces[s : s + WINDOW] for s in starts))
    sound = _embed(listen, variables, (mel[:, c : c + MEL_STEPS] for c in columns))
    cosines = seen @ sound.T  # picture window x sound window

    shifts = np.arange(-span, span + 1)
    similarity = np.full(len(shifts), np.nan)
    for index, shift in enumerate(shifts):
        diagonal = np.diagonal(cosines, shift - heard[0])
        if diagonal.size:
            similarity[index] = diagonal.mean()
    best = int(np.nanargmax(similarity))
    confidence = similarity[best] - np.nanmedian(similarity)
    return Offset(int(shifts[best]), float(confidence), similarity)


@lru_cache(maxsize=2)
def encoders(expert: Expert) -> tuple[Callable, Callable]:
    """An expert's two halves, compiled, each giving embeddings of unit length.

    The first takes (variables, faces): (B, 5, S, S, 3) uint8 RGB crops; the second
    (variables, mel): (B, 80, 16) float32.
    """
    mel_shape, face_shape = expert.input_shapes

    @jax.jit
    def look(variables: Any, faces: jax.Array) -> jax.Array:
        mel = np.zeros((len(faces), *mel_shape), np.float32)
        return expert.apply(variables, mel, mouths(from_levels(faces)))[1]

    @jax.jit
    def listen(variables: Any, mel: jax.Array) -> jax.Array:
        faces = np.zeros((len(mel), *face_shape), np.float32)
        return expert.apply(variables, mel[..., None], faces)[0]

    return look, listen


def _embed(
    encode: Callable, variables: Any, windows: Iterator[np.ndarray]
) -> np.ndarray:
    """Embeddings (n, D) of windows, computed in batches of one size."""
    stacked = np.stack(list(windows))
    missing = -len(stacked) % _BATCH
    padded = np.pad(stacked, [(0, missing)] + [(0, 0)] * (stacked.ndim - 1))
    parts = [
        np.asarray(encode(variables, padded[i : i + _BATCH]), np.float64)
        for i in range(0, len(padded), _BATCH)
    ]
    return np.concatenate(parts)[: len(stacked)]
