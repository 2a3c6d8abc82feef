"""What the pipeline needs to know to take training examples from clips."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lipsync_jax.data.schema import Clip, ClipMeta

Example = Callable[[Clip, int, np.random.Generator], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Examples:
    """How training examples are taken from clips (`systems/*/examples.py`).

    Attributes:
      starts: meta -> window positions that the method's rules allow, (k,) int64; a
        clip without any is left out before the shuffle.
      example: (clip, start, rng) -> arrays of one example; never fails for a start
        that `starts` allowed. Images are uint8.
      held_out: as `example`, for evaluations, without augmentation; None where there
        is none in training either.
    """

    starts: Callable[[ClipMeta], np.ndarray]
    example: Example
    held_out: Example | None = None
