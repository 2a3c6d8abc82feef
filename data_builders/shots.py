"""Shot changes, told by PySceneDetect while the frames go by."""

import numpy as np

from lipsync_jax.opencv import cv2

from scenedetect.detectors import ContentDetector  # isort: skip  (after OpenCV's check)

WIDTH = 256  # pixels; what PySceneDetect itself shrinks frames to


class ShotCounter:
    """Numbers the shots of a video; call it with each frame in turn.

    A cut is a mean change of hue, saturation and brightness beyond PySceneDetect's
    default threshold. Neighbouring cuts are not merged: a clip must not span any.
    """

    def __init__(self) -> None:
        self._detector = ContentDetector(min_scene_len=0)
        self._index = 0
        self._shot = 0

    def __call__(self, image: np.ndarray) -> int:
        """The shot that a (H, W, 3) RGB uint8 frame belongs to, from 0."""
        height, width = image.shape[:2]
        small = (WIDTH, max(1, round(height * WIDTH / width)))
        bgr = cv2.cvtColor(cv2.resize(image, small), cv2.COLOR_RGB2BGR)
        self._shot += len(self._detector.process_frame(self._index, bgr))
        self._index += 1
        return self._shot
