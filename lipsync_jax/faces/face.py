"""What the parts of this package hand to each other."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lipsync_jax.faces.blend import lower_face_mask, paste
from lipsync_jax.faces.crop import crop


@dataclass(frozen=True)
class Face:
    """One detected face.

    Attributes:
        box: (4,) float32, pixels x1, y1, x2, y2; may reach outside the frame.
            Tight as in the WIDER FACE data that S3FD learned from: cheek to
            cheek, upper forehead to chin.
        landmarks: (478, 2) float32, MediaPipe's face mesh in pixels, or None.
    """

    box: np.ndarray
    landmarks: np.ndarray | None


@dataclass(frozen=True)
class FaceRegion:
    """Where one face is in one frame, and how it is cut out and put back.

    Holds no pixels, so a caller can keep one for every frame of a long video
    (under 200 bytes of numbers each) and play it again without detecting again.

    Attributes:
        box: (4,) int32, pixels x1, y1, x2, y2; not empty, inside the frame.
        outline: (20, 2) float32, the lower face as a polygon in frame pixels
            (`landmarks.LOWER_FACE`), or None when landmarks are unknown.
    """

    box: np.ndarray
    outline: np.ndarray | None

    def cut(self, image: np.ndarray, size: int) -> np.ndarray:
        """What a network sees of the frame: (H, W, 3) -> (size, size, 3) uint8."""
        return crop(image, self.box, size)

    def paste(self, image: np.ndarray, patch: np.ndarray, blend: str) -> np.ndarray:
        """Puts what a network has drawn into the frame.

        Args:
            image: (H, W, 3) uint8; left as it is.
            patch: (size, size, 3) uint8, or float32 in [0, 255].
            blend: "feather" shows the lower face through a soft mask, "hard" the whole
                patch.

        Returns:
            (H, W, 3) uint8.
        """
        frame = image.shape[:2]
        mask = lower_face_mask(self, frame) if blend == "feather" else None
        return paste(image, patch, self.box, mask)


class Detector(Protocol):
    """Finds faces. Keeps nothing from one image to the next."""

    name: str

    def search(self, image: np.ndarray) -> list[Face]:
        """Every face of a frame, however small; slow (tens of milliseconds).

        Args:
            image: (H, W, 3) uint8 RGB.
        """

    def near(self, image: np.ndarray, box: np.ndarray) -> list[Face]:
        """The faces around a place where one was a moment ago; fast.

        Args:
            image: (H, W, 3) uint8 RGB.
            box: (4,) x1, y1, x2, y2 in pixels.
        """

    def close(self) -> None:
        """Frees what the detector holds."""


def distinct(faces: Iterable[Face]) -> list[Face]:
    """Drops every face whose box overlaps an earlier one's by more than 30 %."""
    kept: list[Face] = []
    for face in faces:
        if all(overlap(face.box, other.box) <= 0.3 for other in kept):
            kept.append(face)
    return kept


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    shared = np.prod(np.maximum(0, np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])))
    total = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared
    return float(shared / total) if total > 0 else 0.0


def around(
    box: np.ndarray, factor: float, frame: tuple[int, int]
) -> tuple[int, int, int, int]:
    """The square `factor` times the longer side of a box, same centre, clipped.

    Args:
        box: (4,) x1, y1, x2, y2 in pixels.
        factor: side of the square over the box's longer side.
        frame: height and width of the frame.

    Returns:
        Integer x1, y1, x2, y2; empty when the square lies outside the frame.
    """
    height, width = frame
    x, y = (box[:2] + box[2:]) / 2
    half = factor * (box[2:] - box[:2]).max() / 2
    x1, x2 = np.clip([x - half, x + half], 0, width).astype(int).tolist()
    y1, y2 = np.clip([y - half, y + half], 0, height).astype(int).tolist()
    return x1, y1, x2, y2
