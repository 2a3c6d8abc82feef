"""What the points of MediaPipe's face mesh mean, and the box derived from them."""

import numpy as np

# The silhouette of the whole face, clockwise from the forehead.
FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378),
    *(400, 377, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21),
    *(54, 103, 67, 109),
)
# The jaw from below one ear to below the other, closed over the tip of the nose.
LOWER_FACE = (
    *(323, 361, 288, 397, 365, 379, 378, 400, 377, 152),
    *(148, 176, 149, 150, 136, 172, 58, 132, 93, 5),
)
FOREHEAD = 0.12


def face_box(landmarks: np.ndarray) -> np.ndarray:
    """A box such as S3FD would draw, which published weights were trained on.

    Left, right and bottom are the extremes of the oval. The mesh ends in the
    middle of the forehead, WIDER FACE boxes end higher: published boxes with eye
    and mouth points put the top 1.0 to 1.1 eye-to-mouth distances above the eyes,
    the mesh 0.75; 12 % of the oval's height makes up for it and gives frontal
    faces the height to width ratio of 1.3 known from that data. Against S3FD
    itself the rule is unchecked; expect 5 % of the face's height either way, the
    chin rather generous.

    Args:
        landmarks: (478, 2) pixels.

    Returns:
        (4,) float32 x1, y1, x2, y2.
    """
    oval = landmarks[list(FACE_OVAL)]
    (x1, y1), (x2, y2) = oval.min(axis=0), oval.max(axis=0)
    return np.array([x1, y1 - FOREHEAD * (y2 - y1), x2, y2], np.float32)
