"""Which detector: MediaPipe where its model is at hand, Haar, or a fixed box."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lipsync_jax.errors import EnvironmentProblem, FaceError, OptionError
from lipsync_jax.faces.face import Detector
from lipsync_jax.faces.haar_detector import HaarDetector
from lipsync_jax.faces.mediapipe_detector import MediaPipeDetector

KINDS = ("auto", "mediapipe", "haar")


@dataclass(frozen=True)
class FixedBox:
    """The user's own box, the same in every frame (the original's `--box`).

    Raises:
        OptionError: the box is empty.
    """

    top: int
    bottom: int
    left: int
    right: int

    def __post_init__(self):
        if self.top >= self.bottom or self.left >= self.right:
            raise OptionError(
                f"box {self} is empty: expected top < bottom and left < right"
            )

    def __str__(self) -> str:
        return f"{self.top} {self.bottom} {self.left} {self.right}"

    def within(self, height: int, width: int) -> np.ndarray:
        """The box as (4,) int32 x1, y1, x2, y2.

        Raises:
            FaceError: part of it lies outside the frame.
        """
        if min(self.top, self.left) < 0 or self.bottom > height or self.right > width:
            raise FaceError(
                f"box {self} (top bottom left right) lies outside the "
                f"{width}x{height} frame"
            )
        return np.array([self.left, self.top, self.right, self.bottom], np.int32)


def make_detector(kind: str, model_path: Path | None) -> tuple[Detector, str]:
    """Opens a detector.

    Args:
        kind: "mediapipe", "haar", or "auto": MediaPipe if its model is there and
            it loads, else Haar. A damaged model is an error even then.
        model_path: MediaPipe's `face_landmarker.task`, or None if there is none.

    Returns:
        The detector, and a sentence saying which one was taken and why.

    Raises:
        OptionError: unknown kind.
        AssetError: the model is needed and absent, or damaged.
        EnvironmentProblem: a system library is missing.
    """
    if kind not in KINDS:
        raise OptionError(f"detector {kind!r}: expected one of {', '.join(KINDS)}")
    if kind == "haar":
        return HaarDetector(), "haar (asked for)"
    if kind == "mediapipe":
        if model_path is None:
            raise OptionError(
                "detector mediapipe needs face_landmarker.task; get it with "
                "`lipsync fetch` or use --detector haar"
            )
        return MediaPipeDetector(model_path), "mediapipe (asked for)"
    if model_path is None or not model_path.exists():
        where = f" at {model_path}" if model_path else ""
        return HaarDetector(), f"haar (no MediaPipe model{where}; less precise)"
    try:
        return MediaPipeDetector(model_path), f"mediapipe ({model_path})"
    except EnvironmentProblem as problem:
        return HaarDetector(), f"haar ({problem})"
