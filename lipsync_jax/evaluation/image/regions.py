"""The parts of a frame that are measured: all of it, the face, the mouth."""

import numpy as np

REGIONS = ("frame", "face", "mouth")

# Of a face's box: mouth and chin. Detectors without landmarks have it, too.
_MOUTH = np.array([0.2, 0.55, 0.8, 1.0])


def region_boxes(frame: tuple[int, int], face: np.ndarray | None) -> np.ndarray:
    """Where the regions are: (3, 4) int64 x1, y1, x2, y2 in the order of `REGIONS`.

    Args:
      frame: height and width.
      face: (4,) box of the face inside the frame; None makes face and mouth empty.
    """
    height, width = frame
    boxes = np.zeros((3, 4), int)
    boxes[0] = 0, 0, width, height
    if face is not None:
        boxes[1] = face
        side = np.tile(face[2:] - face[:2], 2)
        boxes[2] = np.rint(np.tile(face[:2], 2) + _MOUTH * side)
    return boxes
