"""Face boxes by OpenCV's Haar cascade: no download, no landmarks, frontal only."""

from pathlib import Path

import numpy as np

from lipsync_jax.errors import EnvironmentProblem
from lipsync_jax.faces.face import Face, around, distinct
from lipsync_jax.opencv import cv2

# Of the three frontal cascades the one without a false face on the test clips.
CASCADE = "haarcascade_frontalface_alt2.xml"
# Cascade squares cut the chin and include the ears. Corners of a face box in units
# of the square (x1, y1, x2, y2), fitted to `landmarks.face_box` on four clips; the
# residual is 2 to 5 % of the square, more across for turned heads.
BOX = np.array([0.10, -0.01, 0.94, 1.09], np.float32)
SEARCH_SIDE = 360  # pixels, shorter side of the frame while searching
SMALLEST = 1 / 12  # of the shorter side
FOLLOW_SIDE = 160  # pixels, side of the followed square
SURROUNDINGS = 1.8  # side of the followed square over the face's height
NEIGHBOURS = 5  # hits that must agree on a face


class HaarDetector:
    """Haar cascade (see `face.Detector`).

    Finds upright frontal faces down to a twelfth of the frame's shorter side.

    Raises:
        EnvironmentProblem: this OpenCV comes without cascades.
    """

    name = "haar"

    def __init__(self):
        path = Path(cv2.__file__).parent / "data" / CASCADE
        if not path.is_file():
            raise EnvironmentProblem(
                f"OpenCV {cv2.__version__} has no {CASCADE}; "
                "pip install 'opencv-contrib-python<5'"
            )
        self._cascade = cv2.CascadeClassifier(str(path))

    def search(self, image: np.ndarray) -> list[Face]:
        """Every face of a frame that a second look at another scale confirms."""
        height, width = image.shape[:2]
        side = min(height, width)
        rough = self._faces(
            image, (0, 0, width, height), SEARCH_SIDE / side, side * SMALLEST, side
        )
        return distinct(f for face in rough for f in self.near(image, face.box))

    def near(self, image: np.ndarray, box: np.ndarray) -> list[Face]:
        """The faces around a box that are about as large."""
        region = around(box, SURROUNDINGS, image.shape[:2])
        square = (box[2] - box[0]) / (BOX[2] - BOX[0])
        scale = FOLLOW_SIDE / (SURROUNDINGS * (box[2:] - box[:2]).max())
        return self._faces(image, region, scale, 0.75 * square, 1.33 * square)

    def close(self) -> None:
        """Nothing to free."""

    def _faces(
        self,
        image: np.ndarray,
        region: tuple[int, int, int, int],
        scale: float,
        smallest: float,
        largest: float,
    ) -> list[Face]:
        """Faces in a region; `smallest` and `largest` square in frame pixels."""
        x1, y1, x2, y2 = region
        size = (round((x2 - x1) * scale), round((y2 - y1) * scale))
        if min(size) < 20:  # the cascade's own window
            return []
        grey = cv2.cvtColor(
            cv2.resize(image[y1:y2, x1:x2], size, interpolation=cv2.INTER_AREA),
            cv2.COLOR_RGB2GRAY,
        )
        squares = self._cascade.detectMultiScale(
            grey,
            scaleFactor=1.1,
            minNeighbors=NEIGHBOURS,
            minSize=(round(smallest * scale),) * 2,
            maxSize=(round(largest * scale),) * 2,
        )
        return [
            Face(
                (np.array([x, y] * 2) / scale + [x1, y1] * 2 + BOX * w / scale).astype(
                    np.float32
                ),
                None,
            )
            for x, y, w, _ in squares
        ]
