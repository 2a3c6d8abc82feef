"""What the pipeline needs to know to take training examples from clips."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lipsync_jax.data.schema import Clip, ClipMeta


@dataclass(frozen=True)
class Examples:
    """How training examples are taken from clips (`systems/*/examples.py`).

    Attributes:
      starts: meta -> window positions that the method's rules allow, (k,) int64; a
        clip without any is left out before the shuffle.
      example: (clip, start, rng) -> arrays of one example; never fails for a start
        that `starts` allowed. Images are uint8.
    """

    starts: Callable[[ClipMeta], np.ndarray]
    example: Callable[[Clip, int, np.random.Generator], dict[str, np.ndarray]]
