"""Which detections are one face: syncnet_python's tracks, and its crops of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lipsync_jax.faces.face import overlap
from lipsync_jax.opencv import cv2

_MAX_GAP = 25  # frames without a detection
_OVERLAP = 0.5  # of a box with the last one
_MEDIAN = 13  # frames
_SCALE = 0.4  # "crop scale": what a crop shows beyond the face, see `crops`
_BORDER = 110  # grey level outside of the frame
_SIZE = 224


@dataclass(frozen=True)
class Rules:
    """Which tracks count; the defaults are the published program's.

    Attributes:
      min_track: a track has more detections than this.
      min_face_size: and a greater mean height or width in pixels than this.
    """

    min_track: int = 100
    min_face_size: int = 100


@dataclass(frozen=True)
class Track:
    """One face in consecutive frames.

    Attributes:
      first: number of the first frame.
      boxes: (T, 4) float64, x1, y1, x2, y2 in pixels; on straight lines between
        detections.
    """

    first: int
    boxes: np.ndarray

    @property
    def stop(self) -> int:
        """Number of the frame after the last."""
        return self.first + len(self.boxes)


def find_tracks(
    scene: Sequence[Sequence[np.ndarray]], first: int, rules: Rules
) -> list[Track]:
    """The tracks of one scene.

    Args:
      scene: for each frame, the boxes (4,) of its faces.
      first: number of the scene's first frame.
      rules: which tracks count.
    """
    pool = [list(boxes) for boxes in scene]
    tracks = []
    while members := _take_track(pool):
        if len(members) <= rules.min_track:
            continue
        seen = np.array([frame for frame, _ in members])
        boxes = np.array([box for _, box in members], float)
        frames = np.arange(seen[0], seen[-1] + 1)
        boxes = np.stack([np.interp(frames, seen, side) for side in boxes.T], axis=1)
        if (boxes[:, 2:] - boxes[:, :2]).mean(axis=0).max() > rules.min_face_size:
            tracks.append(Track(first + int(seen[0]), boxes))
    return tracks


def _take_track(pool: list[list[np.ndarray]]) -> list[tuple[int, np.ndarray]]:
    """Takes the detections of one face, with their frames, out of a scene's."""
    members: list[tuple[int, np.ndarray]] = []
    for frame, boxes in enumerate(pool):
        index = 0
        while index < len(boxes):
            box = boxes[index]
            if members and frame - members[-1][0] > _MAX_GAP:
                break
            if not members or overlap(box, members[-1][1]) > _OVERLAP:
                members.append((frame, box))
                # The original removes from the list it walks over, so the detection
                # that follows a removed one is not looked at.
                del boxes[index]
            index += 1
    return members


def crops(track: Track) -> np.ndarray:
    """The square that SyncNet is shown of each frame of a track.

    2.8 times half the longer side of the face around its centre, shifted down by 0.4
    halves: (T, 3) float64, half side s and centre x, y, each by a median over time.
    """
    x1, y1, x2, y2 = track.boxes.T
    half = np.maximum(y2 - y1, x2 - x1) / 2
    series = np.stack([half, (x1 + x2) / 2, (y1 + y2) / 2], axis=1)
    # Zeros beyond the ends pull the medians down there, as in the original.
    padded = np.pad(series, ((_MEDIAN // 2, _MEDIAN // 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, _MEDIAN, axis=0)
    return np.median(windows, axis=-1)


def cut(image: np.ndarray, crop: np.ndarray) -> np.ndarray:
    """Cuts one of `crops` out of its frame.

    Args:
      image: (H, W, 3) uint8.
      crop: (3,) half side s, centre x, y.

    Returns:
      (224, 224, 3) uint8; grey where the square leaves the frame.
    """
    half, x, y = crop
    border = int(half * (1 + 2 * _SCALE))
    rows = int(y + border - half), int(y + border + half * (1 + 2 * _SCALE))
    reach = half * (1 + _SCALE)
    columns = int(x + border - reach), int(x + border + reach)
    (top, bottom), (left, right) = (
        (max(0, start - border), max(0, stop - border))
        for start, stop in (rows, columns)
    )
    inside = image[top:bottom, left:right]
    square = np.full((rows[1] - rows[0], columns[1] - columns[0], 3), _BORDER, np.uint8)
    y0, x0 = max(0, border - rows[0]), max(0, border - columns[0])
    square[y0 : y0 + inside.shape[0], x0 : x0 + inside.shape[1]] = inside
    return cv2.resize(square, (_SIZE, _SIZE))
