"""From a row of sounds to a quantity that glides from one to the next."""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d

from data_builders.synthetic_talkers.phonemes import Phone

CONTROL_RATE = 500  # Hz at which gliding quantities are computed
MOUTH_GLIDE = 0.026  # seconds: standard deviation of the lips' inertia
MOUTH_LEAD = 0.015  # seconds by which the lips are ahead of the sound


def glide(
    phones: Sequence[Phone],
    values: np.ndarray,
    grips: np.ndarray,
    times: np.ndarray,
    spread: float,
) -> np.ndarray:
    """Weighted average of the phones' values around each moment.

    A firm grip lets a short sound reach its own value in spite of its neighbours, as
    the lips of an [m] do; a weak one takes on theirs, as those of an [h] do.

    Args:
      phones: P phones, without gaps.
      values: (P, D) of each phone.
      grips: (P,) weight of each phone, > 0.
      times: (N,) seconds.
      spread: standard deviation of the average in seconds.

    Returns:
      (N, D).
    """
    first, last = phones[0].start, phones[-1].stop
    grid = np.arange(first, last, 1 / CONTROL_RATE)
    index = np.searchsorted([phone.stop for phone in phones], grid, side="right")
    sigma = spread * CONTROL_RATE
    weight = grips[index, None]
    total = gaussian_filter1d(weight * values[index], sigma, axis=0, mode="nearest")
    total /= gaussian_filter1d(weight, sigma, axis=0, mode="nearest")
    columns = [np.interp(times, grid, column) for column in total.T]
    return np.stack(columns, axis=1)


def mouth_track(phones: Sequence[Phone], count: int, fps: float) -> np.ndarray:
    """The mouth in each video frame, taken at the middle of the frame's time.

    Returns:
      (count, 4) float32 in [0, 1], in the order of `schema.MOUTH`.
    """
    values = np.array([phone.phoneme.mouth for phone in phones])
    grips = np.array([phone.phoneme.grip for phone in phones])
    times = (np.arange(count) + 0.5) / fps + MOUTH_LEAD
    return glide(phones, values, grips, times, MOUTH_GLIDE).astype(np.float32)
