"""From a video file to clip records: decode, follow one face, cut, crop, listen.

Generators in a row; what is kept at any moment are a few decoded frames and the
JPEG crops of one clip, however long the video is.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

import numpy as np

from data_builders.av_sync import Aligner
from data_builders.jpeg import encode
from data_builders.settings import Settings
from data_builders.shots import ShotCounter
from data_builders.video import Moved, Rejection, Unusable, Video
from lipsync_jax.audio.load import stream_audio
from lipsync_jax.data.schema import FPS, LANDMARKS, SAMPLE_RATE, Clip
from lipsync_jax.errors import MediaError
from lipsync_jax.faces.crop import crop
from lipsync_jax.faces.detect import FixedBox
from lipsync_jax.faces.face import Detector
from lipsync_jax.faces.track import TrackedFrame, track
from lipsync_jax.media.reader import VideoReader

SAMPLES_PER_FRAME = round(SAMPLE_RATE / FPS)
MAX_GAP = 5  # frames without the face that are bridged: one window of the expert


def read_clips(
    video: Video,
    settings: Settings,
    detector: Detector | FixedBox,
    align: Aligner | None = None,
) -> Iterator[Clip | Rejection | Moved]:
    """Reads the talking clips of a video.

    The speaker is the largest face, followed by place and size. With
    `settings.whole` the video is one clip. Otherwise a clip ends where the shot or
    the face changes, where the face is gone for more than `MAX_GAP` frames, and at
    the longest length allowed.

    Args:
        video: the file.
        settings: what a clip is.
        detector: see `faces.detect.make_detector`.
        align: checks and mends the sound's offset; None leaves it.

    Yields:
        Clips in order of time, what was left out and why, and a Moved before each
        clip whose sound was moved.

    Raises:
        MediaError: the video cannot be decoded to its end.
        AudioError: it has no sound track, or a broken one.
        FaceError: a fixed box outside the frame.
    """
    reader = VideoReader(video.path, fps=round(FPS))
    if reader.info.is_image:
        raise MediaError(f"{video.path}: is a still image, not a video")
    sound = _Sound(video.path)
    crops = _crops(reader.frames(), settings, detector)
    for run in [list(crops)] if settings.whole else _runs(crops, settings.max_frames):
        heard = sound.take(len(run) * SAMPLES_PER_FRAME)
        try:
            clip = _clip(video, run, heard, settings)
            if align is not None:
                clip, frames = align(clip)
                if frames:
                    _check(clip, settings)
                    yield Moved(clip.id, frames)
        except Unusable as problem:
            start, stop = run[0].index / FPS, (run[-1].index + 1) / FPS
            yield Rejection(video.name, problem.reason, problem.detail, start, stop)
        else:
            yield clip


@dataclass(frozen=True)
class _Crop:
    """One frame's face; `stretch` is equal within one shot and one face."""

    index: int
    stretch: tuple[int, int, bool]
    jpeg: bytes
    box: np.ndarray
    landmarks: np.ndarray | None


def _crops(
    frames: Iterable[np.ndarray], settings: Settings, detector: Detector | FixedBox
) -> Iterator[_Crop]:
    """The speaker's crop of each frame."""
    shot_of = None if settings.whole else ShotCounter()
    shots: deque[int] = deque()  # of the frames on their way through the tracker

    def watched() -> Iterator[np.ndarray]:
        for image in frames:
            shots.append(0 if shot_of is None else shot_of(image))
            yield image

    # Every frame is looked at: on a straight line landmarks would miss the lips.
    options = {"pads": (0, 0, 0, 0), "max_gap": MAX_GAP, "every": 1}
    for frame in track(watched(), detector, **options):
        yield _crop(frame, shots.popleft(), settings.size)


def _crop(frame: TrackedFrame, shot: int, size: int) -> _Crop:
    stretch = (shot, frame.track, frame.face is not None)
    if frame.face is None:
        return _Crop(frame.index, stretch, b"", np.zeros(4), None)
    jpeg = encode(crop(frame.image, frame.face.box, size))
    return _Crop(frame.index, stretch, jpeg, frame.face.box, frame.landmarks)


def _runs(crops: Iterable[_Crop], longest: int) -> Iterator[list[_Crop]]:
    """Stretches of one face in one shot, and those between, in pieces."""
    for _, stretch in groupby(crops, lambda crop: crop.stretch):
        while run := list(islice(stretch, longest)):
            yield run


def _clip(
    video: Video, run: list[_Crop], heard: np.ndarray, settings: Settings
) -> Clip:
    """The record of consecutive frames, as far as there is sound.

    Raises:
        Unusable: it breaks a rule.
    """
    name = video.id if settings.whole else f"{video.id}-{run[0].index:06d}"
    run = run[: -(-len(heard) // SAMPLES_PER_FRAME)]
    seen = [crop.landmarks for crop in run if crop.landmarks is not None]
    valid = np.array([bool(crop.jpeg) for crop in run], bool)
    landmarks = np.zeros((len(run) if seen else 0, LANDMARKS, 2), np.float32)
    if seen:
        landmarks[valid] = seen
    clip = Clip(
        id=name,
        frames=[crop.jpeg for crop in run],
        box=np.array([crop.box for crop in run], np.float32).reshape(-1, 4),
        landmarks=landmarks,
        valid=valid,
        fps=FPS,
        audio=heard,
        speaker=video.speaker,
        label=video.label,
        text=video.text,
        source=video.name,
    )
    _check(clip, settings)
    return clip


def _check(clip: Clip, settings: Settings) -> None:
    """Raises Unusable if a clip breaks a rule."""
    if not len(clip.audio):
        raise Unusable("no sound")
    if not clip.valid.any():
        raise Unusable("no face")
    if len(clip.frames) < settings.min_frames:
        raise Unusable("too short", f"under {settings.min_seconds:g} s")
    if clip.valid.mean() < settings.min_faces:
        raise Unusable("few faces", f"in {clip.valid.mean():.0%} of the frames")


class _Sound:
    """Consecutive pieces of a file's sound; raises as `stream_audio` does."""

    def __init__(self, path: Path):
        self._blocks = stream_audio(path, SAMPLE_RATE, block_seconds=1.0)
        self._rest = np.zeros(0, np.float32)

    def take(self, count: int) -> np.ndarray:
        """The next `count` samples, or what is left of them: int16."""
        parts = [self._rest]
        missing = count - len(self._rest)
        while missing > 0 and (block := next(self._blocks, None)) is not None:
            parts.append(block)
            missing -= len(block)
        heard = np.concatenate(parts)
        self._rest = heard[count:]
        return np.clip(np.rint(heard[:count] * 2**15), -(2**15), 2**15 - 1).astype(
            np.int16
        )
