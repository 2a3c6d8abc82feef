"""How far a mouth is open, measured in pixels."""

import numpy as np

_ROWS = slice(0.58, 1.0)  # shares of the crop in which a mouth can be
_COLUMNS = slice(0.25, 0.75)
_CHEEK_ROWS = slice(0.5, 0.68)
_CHEEKS = (slice(0.15, 0.3), slice(0.7, 0.85))
_MIDDLE = 0.1  # share of the crop's width that is taken for the middle of the mouth


def mouth_opening(crops: np.ndarray) -> np.ndarray:
    """Height of what is seen between the lips of a drawn talker, in each frame.

    Every pixel of the lower face is divided by the colour of the cheeks, which takes
    out skin tone and light. What is then much darker is the inside of a mouth; what
    is bluer are teeth. Lips are neither. The pixels are counted column by column, and
    the columns with most of them averaged, wherever in the crop they are: so neither
    the width of the mouth nor the movement of the head matters.

    The measure grows with the opening, but not quite in proportion, since the tongue
    is not counted. It is meant for comparing clips of one person over time.

    Args:
      crops: (T, H, W, 3) uint8 RGB, face crops as in a clip record.

    Returns:
      (T,) float32, as a share of the crop's height.
    """
    cheeks = [_part(crops, _CHEEK_ROWS, columns) for columns in _CHEEKS]
    cheeks = np.concatenate(cheeks, axis=2).reshape(-1, 3)
    skin = np.maximum(np.median(cheeks, axis=0), 8)
    colour = _part(crops, _ROWS, _COLUMNS) / skin.astype(np.float32)
    red, blue = colour[..., 0], colour[..., 2]
    dark = _ramp(-colour.mean(axis=-1), -0.6, -0.4)
    teeth = _ramp(blue / np.maximum(red, 0.05), 1.15, 1.4)
    # In very dark pixels noise decides on the hue; they count as dark anyway.
    inside = np.maximum(dark, teeth * _ramp(blue, 0.5, 0.7))
    heights = np.sort(inside.sum(axis=1), axis=1)
    widest = heights[:, -max(1, round(_MIDDLE * crops.shape[2])) :]
    return widest.mean(axis=1) / crops.shape[1]


def _part(crops: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    height, width = crops.shape[1:3]
    top, bottom = round(rows.start * height), round(rows.stop * height)
    left, right = round(columns.start * width), round(columns.stop * width)
    return crops[:, top:bottom, left:right]


def _ramp(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 up to `low`, 1 from `high` on."""
    return np.clip((value - low) / (high - low), 0, 1)
