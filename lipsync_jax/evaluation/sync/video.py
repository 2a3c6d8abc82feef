"""Sync of a video file, by either protocol of the Wav2Lip evaluation.

"lrs" takes the whole video for one face. "real" cuts scenes, follows every face, and
scores each track by itself, as syncnet_python's pipeline does. Differences: frames and
sound are read once instead of being encoded three times on the way, at 25 frames a
second whatever the file's rate; faces are detected by MediaPipe instead of S3FD.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lipsync_jax.audio.load import stream_audio
from lipsync_jax.errors import DataError, FaceError, MediaError
from lipsync_jax.evaluation.sync.judges import FPS, Judge, score
from lipsync_jax.evaluation.sync.scenes import SceneCuts
from lipsync_jax.evaluation.sync.shifts import SyncScore
from lipsync_jax.evaluation.sync.tracks import Rules, Track, crops, cut, find_tracks
from lipsync_jax.faces.crop import crop, padded_box
from lipsync_jax.faces.face import Detector, distinct
from lipsync_jax.faces.track import track as follow
from lipsync_jax.inference.prefetch import prefetch
from lipsync_jax.media.reader import VideoReader
from lipsync_jax.opencv import cv2

PROTOCOLS = ("lrs", "real")

_SAMPLES = 16_000 // FPS  # per frame
_AHEAD = 16  # frames that are read ahead
_MAX_GAP = 5  # frames without the face that are bridged, as when datasets are built
_SEARCH_EVERY = 25  # frames, while the known faces are in sight
_SEARCH_AGAIN = 5  # while nobody is


@dataclass(frozen=True)
class TrackScore:
    """The score of one face in a stretch of a video.

    Attributes:
      first, stop: its frames, at 25 per second, `stop` not included.
      score: see `SyncScore`.
    """

    first: int
    stop: int
    score: SyncScore


def score_whole(
    path: Path, judge: Judge, detector: Detector | None = None
) -> SyncScore:
    """Scores a video as one talking face ("lrs").

    Args:
      path: of the video.
      judge: who decides.
      detector: for judges that have to be shown the face.

    Raises:
      MediaError, AudioError: the file cannot be used.
      DataError: too short, or no face.
    """
    frames = _open(path).frames()
    if judge.whole_frame:
        faces = _whole_frames(frames, judge)
    else:
        faces = _largest_face(frames, judge, detector)
    with closing(prefetch(faces, _AHEAD)) as ahead:
        return _named(path, judge, ahead, stream_audio(path))


def score_tracks(
    path: Path, judge: Judge, detector: Detector, rules: Rules
) -> list[TrackScore]:
    """Scores every face of a video that is long and large enough ("real").

    Args:
      path: of the video.
      judge: who decides.
      detector: see `faces.detect.make_detector`.
      rules: which faces count.

    Raises:
      MediaError, AudioError: the file cannot be used.
      FaceError: no face is long and large enough.
    """
    reader = _open(path)
    tracks = [
        track
        for first, boxes in _scenes(reader.frames(), detector)
        for track in find_tracks(boxes, first, rules)
    ]
    if not tracks:
        raise FaceError(
            f"{path}: no face is followed for more than {rules.min_track} frames and "
            f"larger than {rules.min_face_size} pixels; see --min_track and "
            "--min_face_size, or --protocol lrs for videos of one face"
        )
    scored = []
    for track in tracks:
        with closing(prefetch(_followed(reader, track, judge), _AHEAD)) as faces:
            heard = _between(
                stream_audio(path), track.first * _SAMPLES, track.stop * _SAMPLES
            )
            found = _named(path, judge, faces, heard)
        scored.append(TrackScore(track.first, track.stop, found))
    return scored


def _open(path: Path) -> VideoReader:
    reader = VideoReader(path, fps=FPS)
    if reader.info.is_image:
        raise MediaError(f"{path}: is a still image, not a video")
    return reader


def _named(path: Path, judge: Judge, faces: Iterable, sound: Iterable) -> SyncScore:
    try:
        return score(judge, faces, sound)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _whole_frames(frames: Iterable[np.ndarray], judge: Judge) -> Iterator[np.ndarray]:
    for image in frames:
        yield cv2.resize(image, (judge.size, judge.size))


def _largest_face(
    frames: Iterable[np.ndarray], judge: Judge, detector: Detector
) -> Iterator[np.ndarray | None]:
    """Crops as `lipsync build` makes them for the expert's training."""
    options = {"pads": (0, 0, 0, 0), "max_gap": _MAX_GAP, "every": 1}
    for frame in follow(frames, detector, **options):
        face = frame.face
        yield None if face is None else face.cut(frame.image, judge.size)


def _scenes(
    frames: Iterable[np.ndarray], detector: Detector
) -> Iterator[tuple[int, list[list[np.ndarray]]]]:
    """First frame of each scene, and the boxes of all faces in each of its frames."""
    is_cut = SceneCuts()
    first, boxes = 0, []
    faces, next_search = [], 0
    for index, image in enumerate(frames):
        if is_cut(image):
            yield first, boxes
            first, boxes, faces, next_search = index, [], [], index
        known = len(faces)
        faces = distinct(f for face in faces for f in detector.near(image, face.box))
        if len(faces) < known or index >= next_search:
            faces = distinct([*faces, *detector.search(image)])
            next_search = index + (_SEARCH_EVERY if faces else _SEARCH_AGAIN)
        boxes.append([face.box for face in faces])
    yield first, boxes


def _followed(
    reader: VideoReader, track: Track, judge: Judge
) -> Iterator[np.ndarray | None]:
    """What the judge is shown of a track."""
    frames = reader.frames(track.first, track.stop)
    for image, square, box in zip(frames, crops(track), track.boxes, strict=False):
        if judge.whole_frame:
            yield cut(image, square)
        else:
            inside = padded_box(box, (0, 0, 0, 0), image.shape[:2])
            seen = None if inside is None else np.rint(inside).astype(int)
            yield None if seen is None else crop(image, seen, judge.size)


def _between(
    blocks: Iterable[np.ndarray], start: int, stop: int
) -> Iterator[np.ndarray]:
    """The samples start, …, stop - 1 of a stream."""
    position = 0
    for block in blocks:
        yield block[max(0, start - position) : max(0, stop - position)]
        position += len(block)
        if position >= stop:
            return
