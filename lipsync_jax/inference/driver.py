"""The faces of a video whose mouth another face is to follow."""

from collections.abc import Iterator
from itertools import repeat

import numpy as np

from lipsync_jax.errors import FaceError
from lipsync_jax.faces.aligned import align
from lipsync_jax.faces.face import Detector
from lipsync_jax.faces.track import track
from lipsync_jax.media.reader import VideoReader


def driving_faces(
    reader: VideoReader, detector: Detector, size: int
) -> Iterator[np.ndarray]:
    """The largest face of a video, aligned, in each frame.

    Where it is not to be seen, it is as it was last, or will be first.

    Args:
      reader: of the video.
      detector: see `faces.detect.make_detector`.
      size: side of the faces in pixels.

    Yields:
      (size, size, 3) RGB uint8.

    Raises:
      FaceError: no frame shows a face.
    """
    last, waiting = None, 0
    for frame in align(track(reader.frames(), detector, pads=(0, 0, 0, 0), every=1)):
        waiting += 1
        if frame.face is not None:
            last = frame.face.cut(frame.image, size)
        if last is not None:
            yield from repeat(last, waiting)
            waiting = 0
    if last is None:
        raise FaceError(
            f"{reader.info.path}: no face in any frame of the driver; try another "
            "--detector, or another video"
        )
