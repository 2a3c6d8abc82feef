"""LSE-D, LSE-C and offset from the embeddings of picture and sound, as they come.

SyncNet's measure (Chung & Zisserman 2016; "LSE" in Prajwal et al. 2020): the distance
of each window of frames to the windows of sound up to 15 frames before and after it.
"""

from dataclasses import dataclass

import numpy as np

from lipsync_jax.errors import DataError

SPAN = 15  # frames of shift, either way
_EPSILON = 1e-6  # which PyTorch's pairwise_distance adds to every component


@dataclass(frozen=True)
class SyncScore:
    """How picture and sound go together.

    Attributes:
      distance: LSE-D, the mean distance at the best shift; lower is better.
      confidence: LSE-C, the median over all shifts less that; higher is better.
      offset: frames by which the picture is late, as SyncNet counts it: negative if
        the sound is late.
      distances: (31,) mean distance at the shifts of the sound -15, ..., 15; NaN
        where no two windows were that far apart.
      windows: how many windows of frames there were.
    """

    distance: float
    confidence: float
    offset: int
    distances: np.ndarray
    windows: int


class ShiftDistances:
    """Gathers the mean distance at each shift, in constant memory."""

    def __init__(self, beyond: float):
        """Nothing has been seen or heard.

        Args:
          beyond: what the embeddings of sound are taken for before the first and
            after the last window: 0 in SyncNet's own program, NaN to leave such
            pairs out.
        """
        self._beyond = beyond
        self._seen = self._heard = None  # of the last SPAN windows
        self._sums = np.zeros(2 * SPAN + 1)
        self._counts = np.zeros(2 * SPAN + 1, int)
        self._windows = 0

    def add(self, seen: np.ndarray, heard: np.ndarray) -> None:
        """Takes the next windows.

        Args:
          seen: (n, D) embeddings of consecutive windows of frames; NaN where there is
            none.
          heard: (n, D) embeddings of the sound that goes with each.
        """
        self._windows += int(np.isfinite(seen).all(axis=1).sum())
        self._pair(seen, heard)

    def score(self) -> SyncScore:
        """The score of all windows; call it once.

        Raises:
          DataError: there was no window.
        """
        if not self._windows:
            raise DataError(
                "nowhere a face together with sound for 0.24 s, which sync is judged by"
            )
        nothing = np.full((SPAN, self._seen.shape[1]), np.nan)
        self._pair(nothing, np.full_like(nothing, self._beyond))
        with np.errstate(invalid="ignore"):
            distances = self._sums / self._counts
        measured = np.sort(distances[np.isfinite(distances)])
        best = int(np.nanargmin(distances))
        median = measured[(len(measured) - 1) // 2]  # PyTorch's: the lower middle
        return SyncScore(
            distance=float(distances[best]),
            confidence=float(median - distances[best]),
            offset=SPAN - best,
            distances=distances,
            windows=self._windows,
        )

    def _pair(self, seen: np.ndarray, heard: np.ndarray) -> None:
        """Adds the distances between new windows and those up to SPAN before."""
        seen, heard = np.asarray(seen, float), np.asarray(heard, float)
        if self._seen is None:
            self._seen = np.full((SPAN, seen.shape[1]), np.nan)
            self._heard = np.full((SPAN, seen.shape[1]), self._beyond)
        n = len(seen)
        seen = np.concatenate([self._seen, seen])
        heard = np.concatenate([self._heard, heard])
        for shift in range(-SPAN, SPAN + 1):
            # The later of the two is new.
            looked = seen[SPAN - max(shift, 0) :][:n]
            listened = heard[SPAN + min(shift, 0) :][:n]
            apart = np.linalg.norm(looked - listened + _EPSILON, axis=1)
            apart = apart[np.isfinite(apart)]
            self._sums[SPAN + shift] += apart.sum()
            self._counts[SPAN + shift] += len(apart)
        self._seen, self._heard = seen[-SPAN:], heard[-SPAN:]
