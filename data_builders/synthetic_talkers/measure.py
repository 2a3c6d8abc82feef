"""How far a mouth is open, measured in pixels."""

import numpy as np

_ROWS = slice(0.58, 0.96)  # shares of the crop in which a mouth can be
_COLUMNS = slice(0.28, 0.72)
_CHEEK_ROWS = slice(0.5, 0.68)
_CHEEKS = (slice(0.15, 0.3), slice(0.7, 0.85))
_MIDDLE = 0.25  # share of the crop's width that is taken for the middle of the mouth
_SKIN, _INSIDE = 0.8, 0.3  # redness at which a pixel is all face, or all mouth


def mouth_opening(crops: np.ndarray) -> np.ndarray:
    """Height of what is seen between the lips of a drawn talker, in each frame.

    Skin and lips are more red than blue; teeth and the dark inside of a mouth are
    neither. So the share of a pixel that lies inside the mouth is what it lacks in
    redness (red minus blue) compared with the cheeks, which takes out skin tone and
    light. Shares are summed down each column, and the columns with most averaged,
    wherever in the crop they are: neither the width of the mouth nor the movement of
    the head matters. Blur does not matter much either, as it preserves the sums.

    Args:
      crops: (T, H, W, 3) uint8 RGB, face crops of one clip.

    Returns:
      (T,) float32, as a share of the crop's height. It compares frames of a clip: a
      constant offset and factor depend on the person.
    """
    redness = crops[..., 0].astype(np.float32) - crops[..., 2]
    cheeks = [_part(redness, _CHEEK_ROWS, columns) for columns in _CHEEKS]
    skin = max(float(np.median(np.concatenate(cheeks, axis=2))), 1.0)
    face = _part(redness, _ROWS, _COLUMNS) / skin
    inside = np.clip((_SKIN - face) / (_SKIN - _INSIDE), 0, 1)
    heights = np.sort(inside.sum(axis=1), axis=1)
    widest = heights[:, -max(1, round(_MIDDLE * crops.shape[2])) :]
    return widest.mean(axis=1) / crops.shape[1]


def _part(frames: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    height, width = frames.shape[1:3]
    top, bottom = round(rows.start * height), round(rows.stop * height)
    left, right = round(columns.start * width), round(columns.stop * width)
    return frames[:, top:bottom, left:right]
