"""A head and shoulders, from back to front."""

import numpy as np

from data_builders.synthetic_talkers.canvas import (
    Canvas,
    Pose,
    mix,
    oval,
    ribbon,
    shade,
)
from data_builders.synthetic_talkers.lips import JAW_DROP, draw_lips
from data_builders.synthetic_talkers.look import Look

_FOREHEAD = -1.12  # where the box of a face begins
_REST = 0.3  # opening of the mouth on average
# How far things stand out of the face, in half face widths.
_BEHIND, _CHEEK, _EYE, _BROW_RIDGE, _NOSE = -0.2, 0.06, 0.06, 0.08, 0.18
_WHITE, _BLACK = (240, 238, 234), (14, 12, 12)
_BLUSH, _SHINE, _RIM = (224, 96, 88), (255, 246, 238), (40, 36, 40)
_ANGLE = 2 * np.pi * np.arange(48) / 48
_LID = np.linspace(-1.15, 1.15, 13)  # across an eye
_LID_ARCH = np.maximum(1 - _LID**2, 0)
_BROW = np.linspace(-1, 1, 9)  # from the nose outwards


def face_box(look: Look, pose: Pose) -> np.ndarray:
    """The box (4,) x1, y1, x2, y2 in pixels that a face detector would give.

    From cheek to cheek and from the upper forehead to the chin, as `faces.landmarks`
    has it. The jaw is taken at rest: the box says nothing of the mouth.
    """
    outline = _outline(look, _REST)
    pixels = pose.pixels(outline[outline[:, 1] >= _FOREHEAD])
    return np.concatenate([pixels.min(axis=0), pixels.max(axis=0)]).astype(np.float32)


def draw_face(
    image: np.ndarray,
    look: Look,
    pose: Pose,
    mouth: np.ndarray,
    *,
    lids: float,
    brows: float,
    gaze: np.ndarray,
) -> None:
    """Draws a person over the background, in place.

    Args:
      image: (H, W, 3) uint8 RGB.
      look: of the person.
      pose: of the head.
      mouth: (4,) opening, width, rounding, teeth in [0, 1].
      lids: how far the eyes are open, in [0, 1].
      brows: how far the brows are raised, about [-1, 1].
      gaze: (2,) direction of the eyes, about [-1, 1].
    """
    canvas = Canvas(image, pose)
    _body(canvas, look)
    _head(canvas, look, float(mouth[0]))
    for side in (-1, 1):
        _eye(canvas, look, side, lids, gaze)
        _brow(canvas, look, side, brows)
    _nose(canvas, look)
    draw_lips(canvas, look, mouth)
    if look.glasses:
        _glasses(canvas, look)


def _outline(look: Look, opening: float) -> np.ndarray:
    """The head without hair (48, 2); the chin hangs lower in an open mouth."""
    x, y = np.cos(_ANGLE), np.sin(_ANGLE)
    below = y > 0
    wide = np.sign(x) * np.abs(x) ** np.where(below, look.jaw, 0.85)
    # Nothing of the upper half of a crop may move with the mouth.
    drop = JAW_DROP * (opening - _REST) * np.maximum(1.3 * y - 0.3, 0) ** 2
    high = np.where(below, look.chin, -look.crown) * y + drop
    return np.stack([wide, high], axis=1)


def _body(canvas: Canvas, look: Look) -> None:
    if look.long_hair:
        canvas.fill(oval((0, 0.1), (1.28, 1.75)), shade(look.hair, 0.75), _BEHIND)
    canvas.fill(oval((0, 2.9), (2.2, 1.35)), look.shirt, _BEHIND)
    neck = np.array([(-0.55, 0.7), (0.55, 0.7), (0.68, 1.85), (-0.68, 1.85)])
    canvas.fill(neck, shade(look.skin, 0.72), _BEHIND)
    for side in (-1, 1):
        canvas.fill(oval((side, -0.05), (0.14, 0.26)), shade(look.skin, 0.85))


def _head(canvas: Canvas, look: Look, opening: float) -> None:
    if not look.long_hair:
        canvas.fill(oval((0, -0.55), (1.08, 0.98)), shade(look.hair, 0.85))
    outline = _outline(look, opening)
    canvas.fill(outline, shade(look.skin, 0.86))
    canvas.fill(outline * (0.93, 0.95), look.skin)
    blush, shadow = mix(look.skin, _BLUSH, 0.16), shade(look.skin, 0.88)
    for side in (-1, 1):
        canvas.fill(oval((side * 0.6, 0.3), (0.24, 0.2)), blush, _CHEEK)
        socket = oval((side * look.eye_gap, look.eye_y), (0.27, 0.2))
        canvas.fill(socket, shadow, _EYE)
    canvas.soften(outline * (0.85, 0.8), 0.12)
    scalp = outline[outline[:, 1] < -0.45] * (1.06, 1.08)
    fringe = [(0.88, -0.5), (0.5, look.fringe), (-0.55, look.fringe - 0.08)]
    canvas.fill(np.concatenate([scalp, fringe]), look.hair)


def _eye(canvas: Canvas, look: Look, side: int, lids: float, gaze: np.ndarray) -> None:
    x, y, size = side * look.eye_gap, look.eye_y, look.eye_size
    canvas.fill(oval((x, y), (size, 0.62 * size)), _WHITE, _EYE)
    px, py = x + 0.35 * size * gaze[0], y + 0.15 * size * gaze[1]
    canvas.disc((px, py), 0.52 * size, look.iris, _EYE)
    canvas.disc((px, py), 0.26 * size, _BLACK, _EYE)
    canvas.disc((px - 0.15 * size, py - 0.2 * size), 0.1 * size, _WHITE, _EYE)
    # Lids of skin: each covers what is between its edge and beyond the white.
    across = x + size * _LID
    middle = y + side * look.eye_slant * _LID
    upper = middle - size * (0.62 * lids - 0.1 * (1 - lids)) * _LID_ARCH
    lower = middle + 0.5 * size * _LID_ARCH
    above = ribbon(across, np.full_like(across, y - 0.95 * size), upper)
    below = ribbon(across, lower, np.full_like(across, y + 0.95 * size))
    canvas.fill(above, shade(look.skin, 0.9), _EYE)
    canvas.fill(below, shade(look.skin, 0.92), _EYE)
    lashes = ribbon(across, upper - 0.018, upper + 0.018)
    canvas.fill(lashes, shade(look.hair, 0.45), _EYE)


def _brow(canvas: Canvas, look: Look, side: int, brows: float) -> None:
    across = side * _BROW
    high = look.brow_y - 0.06 * brows - 0.06 * (1 - _BROW**2) - look.brow_slant * _BROW
    thickness = look.brow_size * (1 - 0.6 * np.maximum(_BROW, 0))
    outline = ribbon(side * look.eye_gap + 0.25 * across, high, high + thickness)
    canvas.fill(outline, shade(look.hair, 0.8), _BROW_RIDGE)


def _nose(canvas: Canvas, look: Look) -> None:
    size, y = look.nose_size, look.nose_y
    light = mix(look.skin, _SHINE, 0.25)
    canvas.fill(oval((0, y), (size, 0.62 * size)), shade(look.skin, 0.9), _NOSE)
    bridge = [(-0.06, look.eye_y), (0.05, look.eye_y), (0.07, y), (-0.09, y)]
    canvas.fill(np.array(bridge), light, _NOSE)
    canvas.fill(oval((0, y - 0.02), (0.55 * size, 0.45 * size)), light, _NOSE)
    for side in (-1, 1):
        nostril = oval((side * 0.5 * size, y + 0.36 * size), (0.26 * size, 0.13 * size))
        canvas.fill(nostril, shade(look.skin, 0.62), _NOSE)


def _glasses(canvas: Canvas, look: Look) -> None:
    y, gap = look.eye_y, look.eye_gap - 0.3
    for side in (-1, 1):
        rim = oval((side * look.eye_gap, y), (0.32, 0.26))
        hole = oval((side * look.eye_gap, y), (0.28, 0.22))
        canvas.fill(np.concatenate([rim, rim[:1], hole, hole[:1]]), _RIM, _NOSE)
    bridge = [(-gap, y - 0.015), (gap, y - 0.015), (gap, y + 0.015), (-gap, y + 0.015)]
    canvas.fill(np.array(bridge), _RIM, _NOSE)
