"""LMD: how far the landmarks of a generated face are from the real one's.

Chen et al., "Lip movements generation at a glance", 2018: mean distance after both sets
of points are moved onto each other's mean. Here in percent of the distance between the
real face's outer eye corners, so that it does not depend on the size of the picture.
"""

import numpy as np

# MediaPipe's face mesh.
LIPS = (
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375),
    *(291, 409, 270, 269, 267, 0, 37, 39, 40, 185),
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324),
    *(308, 415, 310, 311, 312, 13, 82, 81, 80, 191),
)
_EYE_CORNERS = (33, 263)
_MESH = 468  # points of the skin; those after it are the irises


def landmark_distance(
    reference: np.ndarray, generated: np.ndarray, lips: bool
) -> float:
    """LMD of one frame in percent; 0 is best.

    Args:
      reference, generated: (478, 2) MediaPipe's landmarks in pixels.
      lips: compare the lips alone, else the whole face.
    """
    points = list(LIPS) if lips else slice(_MESH)
    a, b = (mesh[points].astype(float) for mesh in (reference, generated))
    apart = np.linalg.norm((a - a.mean(axis=0)) - (b - b.mean(axis=0)), axis=1).mean()
    eyes = reference[list(_EYE_CORNERS)].astype(float)
    return float(100 * apart / np.linalg.norm(eyes[0] - eyes[1]))
