"""The part of a frame a network sees: which pixels, at which size."""

import numpy as np

from lipsync_jax.opencv import cv2


def padded_box(
    box: np.ndarray, pads: tuple[int, int, int, int], frame: tuple[int, int]
) -> np.ndarray | None:
    """Enlarges a box and clips it to the frame.

    Args:
        box: (4,) x1, y1, x2, y2 in pixels, any number type.
        pads: pixels to add at the top, bottom, left and right; may be negative.
        frame: height and width of the frame.

    Returns:
        (4,) of the type of `box`, or None when too little of it is left to
        survive rounding (under two pixels).
    """
    top, bottom, left, right = pads
    height, width = frame
    padded = box + np.array([-left, -top, right, bottom], box.dtype)
    clipped = np.clip(padded, 0, np.array([width, height] * 2, box.dtype))
    return clipped if (clipped[2:] - clipped[:2] >= 2).all() else None


def crop(image: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:
    """Cuts a box out of a frame and resizes it as the originals do (bilinear).

    Args:
        image: (H, W, 3) uint8.
        box: (4,) integer x1, y1, x2, y2 inside the frame.
        size: height and width of the result.

    Returns:
        (size, size, 3) uint8.
    """
    x1, y1, x2, y2 = box
    return cv2.resize(image[y1:y2, x1:x2], (size, size))
