"""Putting a generated face back into its frame without a visible border."""

from typing import TYPE_CHECKING

import numpy as np

from lipsync_jax.opencv import cv2

if TYPE_CHECKING:
    from lipsync_jax.faces.face import FaceRegion

SIDE = 96  # pixels; masks are drawn this small, then enlarged
# Shares of the box's side.
GROW = 0.06  # how far the mask reaches beyond the outline
SOFT = 0.08  # width of the outline's soft edge, and of the left and right border's
SOFT_BOTTOM = 0.04  # narrower: between chin and border there is only the padding


def lower_face_mask(face: "FaceRegion", frame: tuple[int, int]) -> np.ndarray:
    """How much of the generated face to show: all of mouth and chin, no eyes.

    The mask grows a little beyond the jaw, so that a generated chin hides the
    original one where the two differ. It is zero in the upper half, which the
    generators are shown and only copy, and falls to zero at the border of the box,
    except where that is the border of the frame.

    Args:
        face: box and outline; without an outline an ellipse stands in for it.
        frame: height and width of the frame.

    Returns:
        (box height, box width) float32 in [0, 1].
    """
    x1, y1, x2, y2 = face.box
    extent = np.array([x2 - x1, y2 - y1])
    outline = standard_outline(face.box) if face.outline is None else face.outline
    polygon = (outline - face.box[:2]) / extent * SIDE
    mask = np.zeros((SIDE, SIDE), np.float32)
    cv2.fillPoly(mask, [np.rint(polygon).astype(np.int32)], 1.0)
    grow = 2 * round(GROW * SIDE) + 1
    mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (grow, grow)))
    blur = 2 * round(SOFT * SIDE / 2) + 1
    mask = cv2.blur(cv2.blur(mask, (blur, blur)), (blur, blur))
    height, width = frame
    place = np.linspace(0, 1, SIDE, dtype=np.float32)
    left = _rise(place / SOFT) if x1 > 0 else 1
    right = _rise((1 - place) / SOFT) if x2 < width else 1
    top = _rise((place - 0.5) / SOFT)
    bottom = _rise((1 - place) / SOFT_BOTTOM) if y2 < height else 1
    mask *= left * right * (top * bottom)[:, None]
    return cv2.resize(mask, tuple(extent.tolist()))


def standard_outline(box: np.ndarray) -> np.ndarray:
    """The lower face (21, 2) in a box (4,): half an ellipse, for upright faces."""
    angle = np.linspace(0, np.pi, 21)
    shares = np.stack([0.5 + 0.5 * np.cos(angle), 0.45 + 0.5 * np.sin(angle)], axis=1)
    return box[:2] + shares * (box[2:] - box[:2])


def paste(
    image: np.ndarray, patch: np.ndarray, box: np.ndarray, mask: np.ndarray | None
) -> np.ndarray:
    """Pastes a patch over a box.

    Args:
        image: (H, W, 3) uint8; left as it is.
        patch: (h, w, 3) of any size, resized to the box (bilinear): uint8, or float32
            in [0, 255], which is truncated afterwards.
        box: (4,) integer x1, y1, x2, y2 inside the frame.
        mask: (box height, box width) float32 in [0, 1], the patch's share; None
            for the hard rectangle of the original.

    Returns:
        (H, W, 3) uint8; equal to `image` outside the box.
    """
    x1, y1, x2, y2 = box
    result = image.copy()
    patch = cv2.resize(patch, (int(x2 - x1), int(y2 - y1))).astype(np.uint8)
    if mask is not None:
        patch = cv2.blendLinear(patch, image[y1:y2, x1:x2], mask, 1 - mask)
    result[y1:y2, x1:x2] = patch
    return result


def _rise(t: np.ndarray) -> np.ndarray:
    """From 0 at t <= 0 smoothly to 1 at t >= 1."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)
