"""Tracked faces turned upright and to one size, without zooming in and out.

Aligning each frame by itself makes faces breathe: the mouth's corners move with the
speech and all points with the detector's noise (DAVS's specification, Q18). Here sizes
are averaged over half a second, places and rotations as boxes are.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby, tee

import numpy as np

from lipsync_jax.faces.align import (
    SEEN,
    TARGETS,
    align_image,
    box_points,
    landmark_points,
    middle,
    scale_of,
    similarity,
    to_middle,
)
from lipsync_jax.faces.blend import lower_face_mask, standard_outline
from lipsync_jax.faces.face import FaceRegion
from lipsync_jax.faces.smooth import gaussian
from lipsync_jax.faces.track import TrackedFrame
from lipsync_jax.opencv import cv2

SIZE_SIGMA = 5  # frames; syllables come every five to eight


@dataclass(frozen=True)
class AlignedFace(FaceRegion):
    """A face that a network sees aligned.

    Attributes:
        matrix: (2, 3) float64, from frame pixels to the canvas of `align`.
    """

    matrix: np.ndarray

    def cut(self, image: np.ndarray, size: int) -> np.ndarray:
        """See `FaceRegion`."""
        face = middle(align_image(image, self.matrix))
        if size == SEEN:
            return face
        return cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA)

    def paste(self, image: np.ndarray, patch: np.ndarray, blend: str) -> np.ndarray:
        """See `FaceRegion`; undoes the alignment."""
        size = len(patch)
        matrix = to_middle(self.matrix, size)
        x1, y1, x2, y2 = _extent(matrix, size, image.shape[:2])
        if x1 >= x2 or y1 >= y2:
            return image
        matrix[:, 2] += matrix[:, :2] @ (x1, y1)

        def back(picture: np.ndarray, border: int) -> np.ndarray:
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            shape = x2 - x1, y2 - y1
            return cv2.warpAffine(
                picture, matrix, shape, flags=flags, borderMode=border
            )

        mask = np.ones((size, size), np.float32)
        if blend == "feather":
            mask = self._mask(size)
        mask = back(mask, cv2.BORDER_CONSTANT)
        drawn = back(patch, cv2.BORDER_REPLICATE).astype(np.uint8)
        result = image.copy()
        place = result[y1:y2, x1:x2]
        place[...] = cv2.blendLinear(drawn, place, mask, 1 - mask)
        return result

    def _mask(self, size: int) -> np.ndarray:
        """The lower face in the patch, soft to all sides: (size, size) float32."""
        outline = standard_outline(self.box) if self.outline is None else self.outline
        matrix = to_middle(self.matrix, size)
        scale = np.hypot(*matrix[:, 0])
        centre = _transformed((self.box[:2] + self.box[2:]) / 2, matrix)
        half = scale * (self.box[2:] - self.box[:2]) / 2
        low = np.rint(centre - half).clip(0, size - 2).astype(int)
        high = np.rint(centre + half).clip(low + 2, size).astype(int)
        # As if the patch were the middle of a larger frame: its border is one, too.
        region = FaceRegion(
            np.concatenate([low, high]) + size, _transformed(outline, matrix) + size
        )
        mask = np.zeros((size, size), np.float32)
        part = mask[low[1] : high[1], low[0] : high[0]]
        part[...] = lower_face_mask(region, (3 * size, 3 * size))
        return mask


def align(frames: Iterable[TrackedFrame]) -> Iterator[TrackedFrame]:
    """Replaces each face by an `AlignedFace`, steady within a stretch of one face.

    Without landmarks, eyes and mouth are taken to be where they mostly are in the box.

    Args:
        frames: of `track.track`.

    Yields:
        The same frames, at most 14 late.
    """
    for track, run in groupby(frames, lambda f: None if f.face is None else f.track):
        if track is None:
            yield from run
            continue
        waiting: deque[TrackedFrame] = deque()
        for matrix in steady(_points(run, waiting)):
            frame = waiting.popleft()
            face = AlignedFace(frame.face.box, frame.face.outline, matrix)
            yield replace(frame, face=face)


def steady(
    points: Iterable[np.ndarray], targets: np.ndarray = TARGETS
) -> Iterator[np.ndarray]:
    """Similarities that follow a face smoothly.

    Args:
        points: eyes and mouth (N, 2) in each frame.
        targets: (N, 2), where they belong.

    Yields:
        (2, 3) float64, from image pixels to the canvas.
    """
    places, sizes = tee(points)
    places = gaussian(p.ravel() for p in places)
    sizes = gaussian((np.log([scale_of(p, targets)]) for p in sizes), SIZE_SIGMA)
    for place, (size,) in zip(places, sizes, strict=True):
        yield similarity(place.reshape(-1, 2), targets, float(np.exp(size)))


def zoom_jitter(matrices: np.ndarray) -> float:
    """How much similarities (T, 2, 3) zoom in and out.

    Returns:
        Standard deviation of the change of scale from frame to frame, relative to it.
    """
    scale = np.hypot(matrices[:, 0, 0], matrices[:, 1, 0])
    return float(np.std(np.diff(np.log(scale))))


def _transformed(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def _points(
    run: Iterable[TrackedFrame], waiting: deque[TrackedFrame]
) -> Iterator[np.ndarray]:
    """Feeds a filter and keeps the frames until their alignment comes out of it."""
    for frame in run:
        waiting.append(frame)
        if frame.landmarks is None:
            yield box_points(frame.face.box.astype(np.float64))
        else:
            yield landmark_points(frame.landmarks)


def _extent(
    matrix: np.ndarray, size: int, frame: tuple[int, int]
) -> tuple[int, int, int, int]:
    """The part x1, y1, x2, y2 of a frame that a patch reaches."""
    corners = np.array([(-1, -1), (size, -1), (-1, size), (size, size)])
    inside = np.linalg.solve(matrix[:, :2], (corners - matrix[:, 2]).T)
    height, width = frame
    low, high = np.floor(inside.min(axis=1)), np.ceil(inside.max(axis=1)) + 1
    x1, y1 = np.clip(low, 0, (width, height)).astype(int).tolist()
    x2, y2 = np.clip(high, 0, (width, height)).astype(int).tolist()
    return x1, y1, x2, y2
