"""Random movement of a head that knows nothing of what is said."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d


@dataclass(frozen=True)
class Motion:
    """How a face moves over T frames.

    Attributes:
      place: (T, 2) shift of the head, in half face widths.
      roll: (T,) in radians.
      turn: (T, 2) to the side and down, about [-1, 1].
      zoom: (T,) factor on the size.
      lids: (T,) how far the eyes are open, in [0, 1].
      brows: (T,) how far the brows are raised, about [-1, 1].
      gaze: (T, 2) direction of the eyes, about [-1, 1].
    """

    place: np.ndarray
    roll: np.ndarray
    turn: np.ndarray
    zoom: np.ndarray
    lids: np.ndarray
    brows: np.ndarray
    gaze: np.ndarray

    @staticmethod
    def random(rng: np.random.Generator, count: int) -> "Motion":
        """Movement over `count` frames at 25 a second."""
        liveliness = rng.uniform(0.4, 1.0)

        def sway(frames: float) -> np.ndarray:
            return liveliness * smooth_noise(rng, count, frames)

        return Motion(
            place=0.10 * np.stack([sway(15), sway(15)], axis=1),
            roll=0.07 * sway(14) + rng.uniform(-0.06, 0.06),
            turn=np.stack([0.5 * sway(14), 0.4 * sway(11)], axis=1),
            zoom=np.exp(0.03 * sway(25)),
            lids=_lids(rng, count),
            brows=0.6 * sway(8),
            gaze=_gaze(rng, count),
        )


def smooth_noise(rng: np.random.Generator, count: int, spread: float) -> np.ndarray:
    """Stationary Gaussian noise (count,) of unit variance.

    Its correlation falls off over about 1.4 `spread` steps.
    """
    margin = int(4 * spread) + 1
    white = rng.standard_normal(count + 2 * margin)
    smooth = gaussian_filter1d(white, spread)[margin : margin + count]
    return smooth * np.sqrt(2 * np.sqrt(np.pi) * spread)


def _lids(rng: np.random.Generator, count: int) -> np.ndarray:
    """Open eyes with a blink every few seconds."""
    lids = np.ones(count + 6)
    time = rng.exponential(50)
    while time < count:
        lids[int(time) : int(time) + 5] = (0.5, 0.05, 0.0, 0.4, 0.8)
        time += 8 + rng.exponential(60)
    return lids[:count]


def _gaze(rng: np.random.Generator, count: int) -> np.ndarray:
    """Eyes that rest, then jump."""
    jumps = rng.random(count) < 0.04
    spots = np.clip(0.4 * rng.standard_normal((count, 2)), -1, 1)
    return spots[np.maximum.accumulate(np.where(jumps, np.arange(count), 0))]
