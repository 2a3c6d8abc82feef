"""Training examples of the identity encoder: two aligned faces, and whose they are."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from lipsync_jax.data.examples import Examples
from lipsync_jax.data.schema import Clip, ClipMeta
from lipsync_jax.systems.davs.examples import pictures, placement


def identity_examples(resolution: int, people: Mapping[str, int]) -> Examples:
    """How the identity encoder takes examples from clips.

    Args:
      resolution: side of the pictures.
      people: name of a speaker -> number.
    """
    taken = partial(example, resolution=resolution, people=people)
    return Examples(
        partial(starts, people=people), taken, partial(taken, augmented=False)
    )


def starts(meta: ClipMeta, people: Mapping[str, int]) -> np.ndarray:
    """Frames with a face, (k,) int64; none of a speaker who is not in `people`."""
    return np.flatnonzero(meta.valid & (meta.speaker in people))


def example(
    clip: Clip,
    start: int,
    rng: np.random.Generator,
    *,
    resolution: int,
    people: Mapping[str, int],
    augmented: bool = True,
) -> dict[str, np.ndarray]:
    """One example.

    Args:
      clip: the record.
      start: one of `starts`.
      rng: decides on the other frame; whether and how each picture is moved.
      resolution: side of the pictures.
      people: name of a speaker -> number.
      augmented: in training; otherwise pictures are as they are in use.

    Returns:
      faces: (2, resolution, resolution, 3) uint8 RGB.
      person: () int32.
    """
    other = int(rng.choice(np.flatnonzero(clip.valid)))
    faces = [
        pictures(clip, frame, 1, placement(rng, augmented), resolution)
        for frame in (start, other)
    ]
    return {
        "faces": np.concatenate(faces),
        "person": np.int32(people[clip.speaker]),
    }
