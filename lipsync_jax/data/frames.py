"""Pixels of a clip: only the frames that are asked for are decoded."""

from collections.abc import Sequence

import numpy as np

from lipsync_jax.data.record import DamagedRecord
from lipsync_jax.data.schema import Clip
from lipsync_jax.opencv import cv2


def read_frames(clip: Clip, first: int, count: int, resolution: int) -> np.ndarray:
    """Decodes consecutive frames, resized as the originals do (bilinear).

    Args:
      clip: frames first, ..., first + count - 1 are valid.
      first: number of the first frame.
      count: how many.
      resolution: side of the result.

    Returns:
      (count, resolution, resolution, 3) uint8 RGB.

    Raises:
      DamagedRecord: a frame that should be there is no picture.
    """
    size = (resolution, resolution)
    kept = clip.frames if isinstance(clip.frames, KeptFrames) else None
    pixels = np.empty((count, *size, 3), np.uint8)
    for out, index in zip(pixels, range(first, first + count), strict=True):
        if kept is not None and kept.recall(index, out):
            continue
        image = decode(clip.frames[index])
        if image is None:
            raise DamagedRecord(f"frame {index} of clip {clip.id} is no picture")
        cv2.resize(image, size, dst=out)
        if kept is not None:
            kept.keep(index, out)
    return pixels


def decode(data: bytes) -> np.ndarray | None:
    """Decodes an encoded picture: (H, W, 3) uint8 RGB, or None if it is none."""
    if not data:
        return None
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)


class Room:
    """Bytes that may still be filled; shared by the clips of a source."""

    def __init__(self, limit: int):
        self._left = limit

    def take(self, size: int) -> bool:
        """Whether there was room for `size` more bytes.

        Threads may overdraw it by a frame each, which does no harm.
        """
        if size > self._left:
            return False
        self._left -= size
        return True


class KeptFrames(Sequence[bytes]):
    """Encoded frames that remember what they looked like decoded, in one size each."""

    def __init__(self, encoded: Sequence[bytes], room: Room):
        self._encoded = encoded
        self._room = room
        self._pixels: dict[tuple[int, int], np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._encoded)

    def __getitem__(self, index: int) -> bytes:
        return self._encoded[index]

    def recall(self, index: int, out: np.ndarray) -> bool:
        """Copies a frame into `out` (R, R, 3) if it is known at that resolution."""
        pixels = self._pixels.get((index, len(out)))
        if pixels is not None:
            out[...] = pixels
        return pixels is not None

    def keep(self, index: int, pixels: np.ndarray) -> None:
        """Remembers a decoded frame (R, R, 3) if there is room."""
        if self._room.take(pixels.nbytes):
            self._pixels[index, len(pixels)] = pixels.copy()
