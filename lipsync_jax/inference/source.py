"""The frames that a run redraws, each with its face, in output order."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from lipsync_jax.errors import OptionError
from lipsync_jax.faces.face import FaceRegion
from lipsync_jax.faces.track import TrackedFrame
from lipsync_jax.media.reader import VideoReader
from lipsync_jax.opencv import cv2

_BLOCK = 32  # frames held when a clip is played backwards


@dataclass(frozen=True)
class Transform:
    """The original's changes to video frames, applied before detection.

    Attributes:
      resize_factor: rows and columns are divided by it.
      rotate: turn 90 degrees clockwise.
      crop: top, bottom, left, right in pixels; -1 is the frame's end.
    """

    resize_factor: int = 1
    rotate: bool = False
    crop: tuple[int, int, int, int] = (0, -1, 0, -1)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height after the transform.

        Raises:
          OptionError: nothing would be left.
        """
        w, h = width // self.resize_factor, height // self.resize_factor
        if self.rotate:
            w, h = h, w
        rows, columns = self._slices(w, h)
        left = (columns.stop - columns.start, rows.stop - rows.start)
        if min(left) < 1:
            raise OptionError(
                f"--crop {' '.join(map(str, self.crop))} and --resize_factor "
                f"{self.resize_factor} leave nothing of a {width}x{height} frame"
            )
        return left

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 -> (H', W', 3) uint8."""
        if self.resize_factor > 1:
            size = tuple(n // self.resize_factor for n in image.shape[1::-1])
            image = cv2.resize(image, size)
        if self.rotate:
            image = cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE)
        rows, columns = self._slices(*image.shape[1::-1])
        if image.shape[:2] == (rows.stop - rows.start, columns.stop - columns.start):
            return image
        return np.ascontiguousarray(image[rows, columns])

    def _slices(self, width: int, height: int) -> tuple[slice, slice]:
        top, bottom, left, right = self.crop
        bottom = height if bottom == -1 else min(bottom, height)
        right = width if right == -1 else min(right, width)
        return slice(max(0, top), bottom), slice(max(0, left), right)


def play(
    read: Callable[[int, int | None], Iterable[np.ndarray]],
    count: int,
    track: Callable[[Iterable[np.ndarray]], Iterator[TrackedFrame]],
    loop: str = "restart",
) -> Iterator[TrackedFrame]:
    """Tracked frames of a clip, repeated until there are `count`.

    Faces are looked for once; repeats read the pixels again and reuse the boxes,
    so memory does not grow with the clip but by a few hundred bytes a frame.

    Args:
      read: (start, stop) -> frames of the clip.
      count: output frames.
      track: finds the face in consecutive frames.
      loop: "restart" jumps to the first frame (as the original does), "pingpong"
        plays backwards and forwards.
    """
    regions: list[FaceRegion | None] = []
    for tracked in track(read(0, count)):
        regions.append(tracked.face)
        yield tracked
    n = len(regions)
    left = count - n
    if n == 0 or left <= 0:
        return
    if n == 1:
        image = next(iter(read(0, 1)))
        for _ in range(left):
            yield TrackedFrame(0, image, regions[0], None)
        return
    repeats = _pingpong(read, n) if loop == "pingpong" else _restart(read)
    for index, image in islice(repeats, left):
        yield TrackedFrame(index, image, regions[index], None)


def _restart(read: Callable) -> Iterator[tuple[int, np.ndarray]]:
    while True:
        yield from enumerate(read(0, None))


def _pingpong(read: Callable, n: int) -> Iterator[tuple[int, np.ndarray]]:
    """n-2, n-3, ..., 1, 0, 1, ..., n-1, n-2, ...: the turning frames come once."""
    while True:
        for stop in range(n - 1, 0, -_BLOCK):
            start = max(0, stop - _BLOCK)
            block = list(read(start, stop))
            yield from zip(range(stop - 1, start - 1, -1), reversed(block), strict=True)
        yield from enumerate(read(1, n), start=1)


def frames_of(
    reader: VideoReader, transform: Transform
) -> Callable[[int, int | None], Iterator[np.ndarray]]:
    """The `read` of a video for `play`."""
    return lambda start, stop: map(transform, reader.frames(start, stop))
