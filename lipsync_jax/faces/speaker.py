"""Which of several faces speaks: the user's rule."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lipsync_jax.errors import OptionError
from lipsync_jax.faces.face import Face

EXPECTED = "largest, left, right, an index from the left (0, 1, ...) or a point x,y"


@dataclass(frozen=True)
class Speaker:
    """A rule that names one face among those in sight.

    Attributes:
        rank: position counted from the left; negative from the right; or None.
        point: pixel x, y; the nearest face; or None. Without either: the largest.
    """

    rank: int | None = None
    point: tuple[float, float] | None = None

    def choose(self, faces: Sequence[Face]) -> Face | None:
        """The face meant, or None when it is not among `faces`."""
        if self.rank is not None:
            in_order = sorted(faces, key=lambda face: _centre(face)[0])
            enough = -len(faces) <= self.rank < len(faces)
            return in_order[self.rank] if enough else None
        if self.point is not None:
            return min(faces, key=self._distance, default=None)
        return max(faces, key=_area, default=None)

    def _distance(self, face: Face) -> float:
        return float(np.hypot(*(_centre(face) - self.point)))


def parse_speaker(text: str) -> Speaker:
    """Reads the value of `--speaker`.

    Raises:
        OptionError: it is none of the known forms.
    """
    words = {"largest": Speaker(), "left": Speaker(rank=0), "right": Speaker(rank=-1)}
    if text in words:
        return words[text]
    if text.isascii() and text.isdigit():
        return Speaker(rank=int(text))
    try:
        x, y = (float(number) for number in text.split(","))
    except ValueError:
        x = y = np.nan
    if not (np.isfinite(x) and np.isfinite(y)):
        raise OptionError(f"speaker {text!r}: expected {EXPECTED}")
    return Speaker(point=(x, y))


def _centre(face: Face) -> np.ndarray:
    return (face.box[:2] + face.box[2:]) / 2


def _area(face: Face) -> float:
    return float(np.prod(face.box[2:] - face.box[:2]))
