"""Training examples of DAVS: 25 aligned frames around a word, and what is heard.

Section 7 of its specification. Of LRW's 29 frames the original takes numbers 2 to 26,
those in the middle; here they are the middle of any clip that is a word.

Records hold crops of faces, so the aligned pictures are cut from those: what lies
beside the crop repeats its border. Sizes are steady within a clip, where the original's
jump with each frame's landmarks (Q18). A record's sound ends with its last picture, so
two of the 500 columns of an LRW clip are repeated (`features`).
"""

from collections.abc import Mapping
from functools import partial

import numpy as np

from lipsync_jax.data.examples import Examples
from lipsync_jax.data.frames import decode
from lipsync_jax.data.record import DamagedRecord
from lipsync_jax.data.schema import SAMPLE_RATE, Clip, ClipMeta
from lipsync_jax.faces.align import (
    EYES_TWICE,
    SEEN,
    SIDE,
    TARGETS,
    box_points,
    compose,
    landmark_points,
    resized,
    to_picture,
)
from lipsync_jax.faces.aligned import steady
from lipsync_jax.opencv import cv2
from lipsync_jax.systems.davs.features import MIN_SAMPLES, blocks

FRAMES = 25
PLAY = SIDE - SEEN  # pixels by which a crop can be moved


def examples(resolution: int, people: Mapping[str, int] | None = None) -> Examples:
    """How DAVS takes examples from clips.

    Args:
      resolution: side of the networks' pictures.
      people: name of a speaker -> number, if examples are to say who speaks.
    """
    taken = partial(example, resolution=resolution, people=people)
    return Examples(starts, taken, partial(taken, augmented=False))


def starts(meta: ClipMeta) -> np.ndarray:
    """First frame of the 25 in the middle, (1,) int64, or none.

    None if the clip is no word, is too short, lacks a face in one of the frames or
    sound for one of them.
    """
    first = (len(meta.valid) - FRAMES) // 2
    samples = max(MIN_SAMPLES, (first + FRAMES) / meta.fps * SAMPLE_RATE)
    usable = first >= 0 and meta.label >= 0 and meta.samples >= samples
    if usable and meta.valid[first : first + FRAMES].all():
        return np.array([first])
    return np.zeros(0, np.int64)


def example(
    clip: Clip,
    start: int,
    rng: np.random.Generator,
    *,
    resolution: int,
    people: Mapping[str, int] | None = None,
    augmented: bool = True,
) -> dict[str, np.ndarray]:
    """One example.

    Args:
      clip: the record.
      start: one of `starts`.
      rng: decides whether the clip is mirrored, and where its pictures are cut.
      resolution: side of the pictures.
      people: name of a speaker -> number.
      augmented: in training; otherwise pictures are as they are in use.

    Returns:
      video: (25, resolution, resolution, 3) uint8 RGB.
      mfcc: (25, 20, 12) float32.
      label: () int32, the word.
      person: () int32, who speaks, -1 for others than `people`; only if that is given.
    """
    person = {}
    if people:
        person["person"] = np.int32(people.get(clip.speaker, -1))
    return {
        "video": pictures(clip, start, FRAMES, placement(rng, augmented), resolution),
        "mfcc": blocks(clip.audio, start, FRAMES, clip.fps),
        "label": np.int32(clip.label),
        **person,
    }


def placement(rng: np.random.Generator, augmented: bool) -> np.ndarray:
    """Which 256 of the 260 pixels of a clip's pictures are seen, perhaps mirrored.

    Args:
      rng: makes the choice.
      augmented: whether there is one; otherwise the middle is seen.

    Returns:
      (2, 3) float64, from the pixels of a picture to those that are seen.
    """
    mirrored, y, x = False, PLAY // 2, PLAY // 2
    if augmented:
        mirrored = bool(rng.integers(2))
        y, x = rng.integers(0, PLAY, 2, endpoint=True)
    sign, left = (-1, SIDE - 1) if mirrored else (1, 0)
    return np.array([(sign, 0, left - x), (0, 1, -y)], np.float64)


def pictures(
    clip: Clip, start: int, count: int, place: np.ndarray, resolution: int
) -> np.ndarray:
    """Aligned faces of consecutive frames.

    Args:
      clip: the record.
      start: number of the first frame.
      count: how many.
      place: see `placement`.
      resolution: side of the pictures.

    Returns:
      (count, resolution, resolution, 3) uint8 RGB.

    Raises:
      DamagedRecord: a frame cannot be decoded.
    """
    found = []
    for index, matrix in enumerate(_matrices(clip, start, count), start):
        image = decode(clip.frames[index])
        if image is None:
            raise DamagedRecord(f"frame {index} of clip {clip.id} is no picture")
        seen = compose(compose(place, matrix), _from_crop(clip.box[index], len(image)))
        found.append(_warp(image, seen, resolution))
    return np.stack(found)


def _matrices(clip: Clip, start: int, count: int) -> list[np.ndarray]:
    """From source pixels to aligned pictures of 260 pixels, (2, 3) for each frame."""
    shown = slice(start, start + count)
    if len(clip.landmarks):
        points = landmark_points(clip.landmarks[shown])
    else:
        points = box_points(clip.box[shown].astype(np.float64))
    matrices = steady(points[:, EYES_TWICE], TARGETS[EYES_TWICE])
    return [to_picture(matrix) for matrix in matrices]


def _from_crop(box: np.ndarray, size: int) -> np.ndarray:
    """From pixels of a crop of side `size` to those of its source: (2, 3)."""
    matrix = resized(np.eye(2, 3), (box[2:] - box[:2]) / size)
    matrix[:, 2] += box[:2]
    return matrix


def _warp(image: np.ndarray, matrix: np.ndarray, resolution: int) -> np.ndarray:
    """(resolution, resolution, 3) uint8, made of one of 256 pixels."""
    border = cv2.BORDER_REPLICATE
    picture = cv2.warpAffine(image, matrix, (SEEN, SEEN), borderMode=border)
    if resolution == SEEN:
        return picture
    size = (resolution, resolution)
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
