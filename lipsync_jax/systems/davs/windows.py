"""Which frames of a batch's clips a training step uses; section 7 of DAVS's
specification.

A step chooses once for the whole batch, as the original does (Q22). Its identity frame
may be drawn behind the clip's end, which ends the run (Q12); here it may not.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lipsync_jax.systems.davs.examples import FRAMES

STRIDE = 2  # frames between those that are recognised and drawn


@dataclass(frozen=True)
class Lengths:
    """How many frames of a clip a step uses.

    Attributes:
      person: consecutive ones, whose identity code must not tell the word.
      word: every other one, from which the word is told.
      drawn: of these, consecutive ones, that are drawn.
    """

    person: int = 20
    word: int = 12
    drawn: int = 6


class Starts(NamedTuple):
    """First frames, () int32 each; `drawn` counts among those of the word."""

    person: jax.Array
    identity: jax.Array
    word: jax.Array
    drawn: jax.Array


class Windows(NamedTuple):
    """What a step sees and hears of B clips.

    Attributes:
      person: (B, K, R, R, 3), to be told apart from the word.
      identity: (B, R, R, 3), who is to be drawn.
      video: (B, T, R, R, 3), the word as it looks.
      mfcc: (B, T, 20, 12), and as it sounds.
      drawn: () int32, the first of the T that is to be drawn.
    """

    person: jax.Array
    identity: jax.Array
    video: jax.Array
    mfcc: jax.Array
    drawn: jax.Array


def draw(key: jax.Array, lengths: Lengths) -> Starts:
    """Chooses at random, evenly; the last place for `person` is never chosen."""
    ends = [
        FRAMES - lengths.person,
        FRAMES,
        STRIDE,
        lengths.word - lengths.drawn + 1,
    ]
    return Starts(*jax.random.randint(key, (len(ends),), 0, jnp.array(ends)))


def take(
    video: jax.Array, mfcc: jax.Array, starts: Starts, lengths: Lengths
) -> Windows:
    """Cuts windows out of clips.

    Args:
      video: (B, 25, R, R, 3).
      mfcc: (B, 25, 20, 12).
      starts: where windows begin.
      lengths: of the windows.
    """
    return Windows(
        person=consecutive(video, starts.person, lengths.person),
        identity=video[:, starts.identity],
        video=consecutive(video, starts.word, lengths.word, STRIDE),
        mfcc=consecutive(mfcc, starts.word, lengths.word, STRIDE),
        drawn=starts.drawn,
    )


def consecutive(
    clips: jax.Array, start: jax.Array, count: int, stride: int = 1
) -> jax.Array:
    """Every `stride`-th frame of clips (B, T, ...): (B, count, ...)."""
    span = stride * (count - 1) + 1
    return jax.lax.dynamic_slice_in_dim(clips, start, span, axis=1)[:, ::stride]
