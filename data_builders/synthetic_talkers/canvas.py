"""Anti-aliased shapes in face coordinates, drawn with sub-pixel accuracy."""

import numpy as np

from lipsync_jax.opencv import cv2

Colour = tuple[int, int, int]

_SHIFT = 4  # fractional bits of OpenCV's coordinates
_ANGLE = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLE), np.sin(_ANGLE)], axis=1)


class Pose:
    """Where a face stands in the image.

    Face coordinates: the origin lies between the cheeks, x to the right, y down, and
    1 is half the width of an average face.
    """

    def __init__(self, centre: np.ndarray, unit: float, roll: float, turn: np.ndarray):
        """Places a face.

        Args:
          centre: (2,) pixel of the origin.
          unit: pixels per unit.
          roll: rotation in the image plane in radians.
          turn: (2,) of the head to the side and down, about [-1, 1]; moves what
            stands out of the face further than what lies at its edge.
        """
        cos, sin = unit * np.cos(roll), unit * np.sin(roll)
        self.unit = unit
        self._matrix = np.array([[cos, sin], [-sin, cos]])
        self._centre = centre
        self._shift = turn @ self._matrix

    def pixels(self, points: np.ndarray, depth: float = 0.0) -> np.ndarray:
        """Pixels (N, 2) of points (N, 2) that stand out towards us by `depth`."""
        return points @ self._matrix + (self._centre + depth * self._shift)


class Canvas:
    """Draws on an image (H, W, 3), in place."""

    def __init__(self, image: np.ndarray, pose: Pose):
        self._image = image
        self._pose = pose

    def fill(self, points: np.ndarray, colour: Colour, depth: float = 0.0) -> None:
        """A filled polygon (N, 2)."""
        fixed = self._fixed(points, depth)
        cv2.fillPoly(self._image, [fixed], colour, cv2.LINE_AA, _SHIFT)

    def disc(
        self, centre: tuple[float, float], radius: float, colour: Colour, depth: float
    ) -> None:
        """A filled circle."""
        x, y = self._fixed(np.array([centre]), depth)[0]
        size = round(radius * self._pose.unit * 2**_SHIFT)
        cv2.circle(self._image, (int(x), int(y)), size, colour, -1, cv2.LINE_AA, _SHIFT)

    def soften(self, points: np.ndarray, width: float) -> None:
        """Blurs the part of the image around points (N, 2)."""
        pixels = self._pose.pixels(points)
        low = np.maximum(np.floor(pixels.min(axis=0)).astype(int), 0)
        high = np.maximum(np.ceil(pixels.max(axis=0)).astype(int), low + 1)
        part = self._image[low[1] : high[1], low[0] : high[0]]
        size = 2 * round(width * self._pose.unit / 2) + 1
        if part.size:
            cv2.blur(part, (size, size), part)

    def _fixed(self, points: np.ndarray, depth: float) -> np.ndarray:
        pixels = self._pose.pixels(points, depth)
        return np.rint(pixels * 2**_SHIFT).astype(np.int32)


def shade(colour: Colour, factor: float) -> Colour:
    """A colour made lighter or darker."""
    return tuple(int(min(255, factor * c)) for c in colour)


def mix(a: Colour, b: Colour, part: float) -> Colour:
    """A colour on the way from `a` (part 0) to `b` (part 1)."""
    return tuple(int(x + part * (y - x)) for x, y in zip(a, b, strict=True))


def oval(centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    """Points (24, 2) of an ellipse."""
    return _CIRCLE * radii + centre


def ribbon(x: np.ndarray, above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Outline (2 N, 2) of what lies between two curves over the same (N,) x."""
    count = len(x)
    outline = np.empty((2 * count, 2))
    outline[:count, 0], outline[count:, 0] = x, x[::-1]
    outline[:count, 1], outline[count:, 1] = above, below[::-1]
    return outline
