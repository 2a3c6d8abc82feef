"""Faces and their landmarks by MediaPipe's Face Landmarker.

Its detector misses faces below a fifth of the image's height and is inaccurate
well above that, so it is always shown a picture in which the face is large: a
tile of the frame when searching, the surroundings of the last box when
following. In return it can run in image mode: nothing is carried from frame to
frame, other faces do not draw it away, and the same frame gives the same box.
"""

import os
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np

from lipsync_jax.errors import AssetError
from lipsync_jax.faces.face import Face, around, distinct
from lipsync_jax.faces.landmarks import face_box
from lipsync_jax.opencv import cannot_load, cv2

# The bundle also holds blendshapes: unused here, yet 10 % of the time when present.
MODELS = (
    "face_detector.tflite",
    "face_landmarks_detector.tflite",
    "geometry_pipeline_metadata_landmarks.binarypb",
)
LARGEST_MODEL = 64 << 20  # bytes; the real ones have 3 MB
MAX_FACES = 8
CONFIDENCE = 0.6  # at the default of 0.5 folded hands pass for a face now and then
INPUT_SIDE = 384  # pixels; the networks look at 128 and 256
SURROUNDINGS = 2.5  # side of the followed square over the face's height
SMALLEST_TILE = 128  # pixels
NATIVE_LOG = (
    *(b"W0000", b"I0000", b"INFO: ", b"WARNING: Logging before"),
    b"WARNING: Read-only tensor",  # the re-packed bundle is not aligned; harmless
)


class MediaPipeDetector:
    """Face Landmarker in image mode (see `face.Detector`).

    Finds faces down to a fourteenth of the frame's shorter side. `near` takes
    about 8 ms on one CPU core, `search` 40 to 100.

    Args:
        model_path: MediaPipe's `face_landmarker.task`.

    Raises:
        AssetError: the file is absent or something else.
        EnvironmentProblem: MediaPipe does not load on this system.
    """

    name = "mediapipe"

    def __init__(self, model_path: Path):
        models = _read_models(model_path)
        try:
            with _native_log_hidden():
                import mediapipe
                from mediapipe.tasks.python import BaseOptions, vision

                self._landmarker = vision.FaceLandmarker.create_from_options(
                    vision.FaceLandmarkerOptions(
                        base_options=BaseOptions(model_asset_buffer=models),
                        num_faces=MAX_FACES,
                        min_face_detection_confidence=CONFIDENCE,
                    )
                )
                self._mediapipe = mediapipe
                # Some of the log comes from threads that start with the first image.
                self._landmarks(np.zeros((8, 8, 3), np.uint8), (0, 0, 8, 8))
        except (ImportError, OSError) as error:
            raise cannot_load("MediaPipe", error) from error
        except (RuntimeError, ValueError) as error:
            raise AssetError(f"{model_path}: MediaPipe refuses it ({error})") from error

    def search(self, image: np.ndarray) -> list[Face]:
        """Every face of a frame: looks at the whole, at tiles, then closely."""
        height, width = image.shape[:2]
        regions = [(0, 0, width, height), *_tiles(height, width)]
        rough = distinct(f for r in regions for f in self._faces(image, r))
        return distinct(f for face in rough for f in self.near(image, face.box))

    def near(self, image: np.ndarray, box: np.ndarray) -> list[Face]:
        """The faces in the surroundings of a box."""
        return self._faces(image, around(box, SURROUNDINGS, image.shape[:2]))

    def close(self) -> None:
        """Frees the networks."""
        self._landmarker.close()

    def _faces(self, image: np.ndarray, region: tuple) -> list[Face]:
        return [Face(face_box(p), p) for p in self._landmarks(image, region)]

    def _landmarks(self, image: np.ndarray, region: tuple) -> list[np.ndarray]:
        """Landmarks, (478, 2) in frame pixels each, of the faces in a region."""
        x1, y1, x2, y2 = region
        if x2 <= x1 or y2 <= y1:
            return []
        part = _shrink(image[y1:y2, x1:x2])
        picture = self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB,
            # MediaPipe reads memory as if rows lay back to back, whatever the strides.
            data=np.ascontiguousarray(part),
        )
        found = self._landmarker.detect(picture).face_landmarks
        origin, extent = np.array([x1, y1]), np.array([x2 - x1, y2 - y1])
        return [
            (origin + extent * [(p.x, p.y) for p in points]).astype(np.float32)
            for points in found
        ]


def _shrink(image: np.ndarray) -> np.ndarray:
    """An image of at most INPUT_SIDE; every pixel of the original counts."""
    height, width = image.shape[:2]
    # Bilinear skips pixels from a factor of two on. Halving is exact and fast, unlike
    # averaging over areas of other sizes; an odd last row or column is not missed.
    while max(image.shape[:2]) >= 2 * INPUT_SIDE and min(image.shape[:2]) > 1:
        h, w = (n // 2 for n in image.shape[:2])
        image = cv2.resize(
            image[: 2 * h, : 2 * w], (w, h), interpolation=cv2.INTER_AREA
        )
    scale = min(1, INPUT_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size)


def _tiles(height: int, width: int) -> Iterator[tuple[int, int, int, int]]:
    """Squares of half the shorter side that overlap by at least 30 %."""
    side = min(height, width) // 2
    if side < SMALLEST_TILE:
        return
    for y in _starts(height, side):
        for x in _starts(width, side):
            yield x, y, x + side, y + side


def _starts(length: int, side: int) -> list[int]:
    count = int(np.ceil((length - side) / (0.7 * side))) + 1
    return np.linspace(0, length - side, count).astype(int).tolist()


def _read_models(path: Path) -> bytes:
    """The bundle without the model that is not needed."""
    again = "fetch it again with `lipsync fetch`"
    try:
        kept = BytesIO()
        with ZipFile(path) as bundle, ZipFile(kept, "w") as target:
            for name in MODELS:
                if bundle.getinfo(name).file_size > LARGEST_MODEL:
                    raise AssetError(f"{path}: {name} is too large; {again}")
                target.writestr(name, bundle.read(name))
        return kept.getvalue()
    except (BadZipFile, KeyError, EOFError, RuntimeError, zlib.error) as error:
        raise AssetError(
            f"{path} is not MediaPipe's face landmarker bundle ({error}, "
            f"{path.stat().st_size} bytes); {again}"
        ) from error
    except OSError as error:
        raise AssetError(
            f"cannot read the face landmarker {path}: {error.strerror}; "
            "fetch it with `lipsync fetch`"
        ) from error


@contextmanager
def _native_log_hidden() -> Iterator[None]:
    """Takes MediaPipe's start-up messages off the error stream.

    Its libraries write to file descriptor 2 and heed no setting. What anyone else
    writes meanwhile is passed on afterwards.
    """
    sys.stderr.flush()
    stream = os.dup(2)
    try:
        with tempfile.TemporaryFile() as caught:
            os.dup2(caught.fileno(), 2)
            try:
                yield
            finally:
                sys.stderr.flush()
                os.dup2(stream, 2)
                caught.seek(0)
                for line in caught:
                    if not line.startswith(NATIVE_LOG):
                        os.write(2, line)
    finally:
        os.close(stream)
