"""Faces in one place, size and rotation, told from eyes and mouth, as DAVS sees them.

Section 6 of DAVS's specification. A similarity takes a frame to a canvas, of which a
square of 268 pixels is scaled to 260; the networks see the middle 256.
"""

import numpy as np

from lipsync_jax.opencv import cv2

# Centre of the left and of the right eye, as seen in the picture, and of the mouth, on
# the canvas.
TARGETS = np.array([(140.0, 224.0), (220.0, 224.0), (180.0, 300.0)])
# The training data's rule, of LRW: as if each eye were two points.
EYES_TWICE = [0, 1, 0, 1, 2]

CANVAS = (356, 436)  # width and height
CORNER = np.array([44, 104])  # of the square on the canvas, x and y
SQUARE = 268
SIDE = 260  # of an aligned picture
SEEN = 256  # of its middle
GREY = (127, 127, 127)  # what is outside the frame

_EYES = (33, 133), (362, 263)  # corners, in MediaPipe's mesh
_MOUTH = (61, 291)
# Where detectors' boxes (`landmarks.face_box`) have eyes and mouth on average, in
# shares of their sides; on real faces within 5 % of it, on drawn ones within 3 %.
IN_BOX = np.array([(0.285, 0.385), (0.715, 0.385), (0.5, 0.74)])


def landmark_points(landmarks: np.ndarray) -> np.ndarray:
    """Eyes and mouth (..., 3, 2) of MediaPipe's mesh (..., 478, 2).

    An eye's centre lies between its corners: the iris moves with the gaze. The mouth's
    is the mean of its corners, as in the original.
    """
    pairs = landmarks[..., [*_EYES, _MOUTH], :].astype(np.float64)
    return pairs.mean(axis=-2)


def box_points(box: np.ndarray) -> np.ndarray:
    """Eyes and mouth (..., 3, 2) as they are on average in boxes (..., 4)."""
    low, high = box[..., None, :2], box[..., None, 2:]
    return low + IN_BOX * (high - low)


def similarity(
    points: np.ndarray,
    targets: np.ndarray = TARGETS,
    scale: float | None = None,
) -> np.ndarray:
    """The similarity that brings points near their targets (Procrustes).

    Args:
      points: (N, 2).
      targets: (N, 2).
      scale: of the similarity; None for `scale_of`.

    Returns:
      (2, 3) float64, takes (x, y, 1).
    """
    centre, target = points.mean(axis=0), targets.mean(axis=0)
    u, _, vt = np.linalg.svd((points - centre).T @ (targets - target))
    scale = scale_of(points, targets) if scale is None else scale
    turned = scale * (u @ vt).T
    return np.column_stack([turned, target - turned @ centre])


def scale_of(points: np.ndarray, targets: np.ndarray = TARGETS) -> float:
    """The original's scale of a similarity: the ratio of the points' spreads."""
    spread = [np.std(p - p.mean(axis=0)) for p in (targets, points)]
    return float(spread[0] / spread[1])


def align_image(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """An aligned picture, made as the original makes it.

    Args:
      image: (H, W, 3) uint8.
      matrix: (2, 3), from pixels of the image to the canvas.

    Returns:
      (260, 260, 3) uint8.
    """
    canvas = cv2.warpAffine(image, matrix, CANVAS, borderValue=GREY)
    x, y = CORNER
    return cv2.resize(canvas[y : y + SQUARE, x : x + SQUARE], (SIDE, SIDE))


def middle(picture: np.ndarray, y: int = 2, x: int = 2) -> np.ndarray:
    """(256, 256, 3) of an aligned picture, or another part of it."""
    return picture[y : y + SEEN, x : x + SEEN]


def to_picture(matrix: np.ndarray) -> np.ndarray:
    """From image pixels to pixels of the aligned picture, at once: (2, 3) -> (2, 3)."""
    moved = np.column_stack([matrix[:, :2], matrix[:, 2] - CORNER])
    return resized(moved, SIDE / SQUARE)


def to_middle(matrix: np.ndarray, size: int = SEEN) -> np.ndarray:
    """From image pixels to those of its `middle`, resized to `size`."""
    picture = to_picture(matrix)
    picture[:, 2] -= (SIDE - SEEN) // 2
    return resized(picture, size / SEEN)


def resized(matrix: np.ndarray, factor: float | np.ndarray) -> np.ndarray:
    """A map (2, 3) to pixels followed by resizing; centres of pixels are at integers.

    Args:
      matrix: the map.
      factor: of the sizes, or (2,) of width and height.
    """
    factor = np.broadcast_to(factor, 2)
    linear = factor[:, None] * matrix[:, :2]
    return np.column_stack([linear, factor * (matrix[:, 2] + 0.5) - 0.5])


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """First `inner`, then `outer`; (2, 3) each."""
    return outer @ np.vstack([inner, (0, 0, 1)])
