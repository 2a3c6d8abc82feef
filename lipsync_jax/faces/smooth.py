"""Filters over time for rows of numbers (boxes, outlines), one row per frame.

Both take and give streams and hold at most a few rows: the k-th row out belongs
to the k-th row in and appears after at most five more rows have been read, or as many
as a wider Gaussian needs.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

WINDOW = 5  # rows the original averages
SIGMA = 1.5  # frames
REACH = 8 / 3  # standard deviations on either side; beyond, weights are below 3 %


def original(rows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Smooths exactly as Wav2Lip does: each row becomes the mean of itself and
    the next four, so boxes run two frames ahead of the face.

    The original works in place. Hence the last four rows are means of the last
    five, rows already smoothed included, and fewer than five rows are averaged
    over whatever its negative slice start leaves. Integers are truncated.

    Args:
        rows: (D,) arrays of one shape and dtype, integer or float.

    Yields:
        (D,) arrays of that dtype.
    """
    rows = iter(rows)
    window = list(islice(rows, WINDOW))
    for row in rows:
        yield _mean(window)
        window = [*window[1:], row]
    for i in range(len(window)):
        window[i] = _mean(window[len(window) - WINDOW :])
        yield window[i]


def _mean(window: list[np.ndarray]) -> np.ndarray:
    return np.mean(window, axis=0).astype(window[0].dtype)


def gaussian(rows: Iterable[np.ndarray], sigma: float = SIGMA) -> Iterator[np.ndarray]:
    """Smooths with a centred Gaussian: no lag, and motion kept at the ends.

    At the first and last rows, where the window is one-sided, a plain mean would
    pull the box back along its path; a line fitted with the same weights does
    not. In the middle the two are equal.

    Args:
        rows: (D,) float arrays of one shape.
        sigma: standard deviation in rows.

    Yields:
        (D,) float64 arrays.
    """
    rows = iter(rows)
    radius = round(REACH * sigma)
    window = deque(islice(rows, radius + 1))
    centre = 0
    while centre < len(window):
        yield _line_at(np.array(window, np.float64), centre, sigma)
        window.extend(islice(rows, 1))
        if centre < radius:
            centre += 1
        else:
            window.popleft()


def _line_at(window: np.ndarray, centre: int, sigma: float) -> np.ndarray:
    """Value at `centre` of the weighted least-squares line through the window."""
    offset = np.arange(len(window)) - centre
    weight = np.exp(-0.5 * (offset / sigma) ** 2)
    mean = (weight @ offset) / weight.sum()
    spread = weight @ (offset - mean) ** 2
    if spread > 0:  # more than one row
        weight = weight * (1 / weight.sum() - mean * (offset - mean) / spread)
    return weight @ window
