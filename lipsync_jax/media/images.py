"""Still images: reading one, and writing a video's frames as numbered PNG files."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from lipsync_jax.errors import MediaError, OutputError
from lipsync_jax.opencv import cv2


def is_image(path: Path | str) -> bool:
    """Whether a file holds one still picture, judged by content, not by name.

    An animation (GIF, APNG, WebP) is a video; a GIF of one frame is an image.
    """
    path = str(path)
    with _quiet():
        # A damaged image counts 0 pictures.
        return cv2.haveImageReader(path) and cv2.imcount(path) <= 1


def read_image(path: Path | str) -> np.ndarray:
    """Reads a still image, turned upright by its EXIF orientation.

    Grey and palette images become RGB, 16 bits become 8, alpha is dropped.

    Returns:
        (H, W, 3) RGB uint8.

    Raises:
        MediaError: the file cannot be decoded.
    """
    try:
        data = np.fromfile(path, np.uint8)
        with _quiet():
            image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    except OSError as error:
        raise MediaError(f"{path}: cannot be read: {error.strerror}") from None
    except cv2.error:  # too many pixels, or a broken header
        image = None
    if image is None:
        raise MediaError(
            f"{path}: is a damaged or unsupported image; save it as PNG or JPEG again"
        )
    return image


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """OpenCV's own messages about damaged images would precede ours."""
    log = cv2.utils.logging
    level = log.getLogLevel()
    log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        log.setLogLevel(level)


class FrameFolder:
    """Writes frames as 000000.png, 000001.png, … into a new folder.

    Each file appears under its name only when it is complete.
    """

    def __init__(self, path: Path | str):
        """Creates the folder.

        Raises:
            OutputError: it cannot be created, or already holds something, which would
                mix with the new frames.
        """
        self._path = Path(path)
        self._count = 0
        self._guarded(lambda: self._path.mkdir(parents=True, exist_ok=True))
        if any(self._path.iterdir()):
            raise OutputError(
                f"{path}: already holds files; give a new folder or empty this one"
            )

    def write(self, frame: np.ndarray) -> None:
        """Appends one (H, W, 3) RGB uint8 frame.

        Raises:
            OutputError: the file cannot be written (disk full, no permission).
        """
        _, data = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        path = self._path / f"{self._count:06d}.png"
        part = path.with_suffix(".part")
        try:
            self._guarded(lambda: part.write_bytes(data))
            self._guarded(lambda: os.replace(part, path))
        except OutputError:
            part.unlink(missing_ok=True)
            raise
        self._count += 1

    def _guarded(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            raise OutputError(
                f"{self._path}: cannot be written: {error.strerror}"
            ) from None
