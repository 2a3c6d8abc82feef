"""Scene cuts, told from thumbnails."""

import numpy as np

from lipsync_jax.opencv import cv2

SIDE = 24  # pixels of a thumbnail
# Neighbouring frames of the test clips correlate at 0.95 or more, frames of
# different shots below 0.3; a pan by 5 % of the width per frame or a jump cut to a
# 15 % closer view lie between. A flash changes the level, not the correlation.
CORRELATION = 0.6
DIFFERENCE = 8.0  # grey levels; below, it is noise on an even picture


def thumbnail(image: np.ndarray) -> np.ndarray:
    """(24, 24) float32 of a frame's green channel."""
    step = max(1, min(image.shape[:2]) // (4 * SIDE))
    sample = np.ascontiguousarray(image[::step, ::step, 1])
    return cv2.resize(sample, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(
        np.float32
    )


def is_cut(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether two neighbouring frames, given by their thumbnails, belong apart."""
    if np.abs(after - before).mean() < DIFFERENCE:
        return False
    a, b = before - before.mean(), after - after.mean()
    return float((a * b).sum()) < CORRELATION * float(
        np.sqrt((a * a).sum() * (b * b).sum())
    )
