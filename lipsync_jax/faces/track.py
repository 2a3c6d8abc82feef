"""From a stream of frames to the speaker's box in each.

Generators in a row: follow, pad, fill gaps, smooth. Each frame comes out once, in
order, at most `max_gap + every + 5` frames after it went in; nothing older is kept.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from lipsync_jax.errors import OptionError
from lipsync_jax.faces.crop import padded_box
from lipsync_jax.faces.detect import FixedBox
from lipsync_jax.faces.face import Detector, Face, FaceRegion
from lipsync_jax.faces.follow import Sight, follow
from lipsync_jax.faces.landmarks import LOWER_FACE
from lipsync_jax.faces.smooth import gaussian, original
from lipsync_jax.faces.speaker import parse_speaker

SMOOTHERS = {"gaussian": gaussian, "original": original, "none": iter}


@dataclass(frozen=True)
class TrackedFrame:
    """A frame and the speaker's face in it.

    Attributes:
        index: number of the frame, from 0.
        image: (H, W, 3) uint8, the frame as it came in.
        face: box (padded, smoothed, clipped) and outline, or None: leave the frame
            as it is.
        landmarks: (478, 2) float32, MediaPipe's mesh in frame pixels, not smoothed,
            interpolated where the frame was not looked at; or None.
        track: counts the faces followed so far; equal numbers are one face.
    """

    index: int
    image: np.ndarray
    face: FaceRegion | None
    landmarks: np.ndarray | None
    track: int = 0


def track(
    frames: Iterable[np.ndarray],
    detector: Detector | FixedBox,
    *,
    pads: tuple[int, int, int, int] = (0, 10, 0, 0),
    smoothing: str = "gaussian",
    speaker: str = "largest",
    max_gap: int = 12,
    every: int = 3,
) -> Iterator[TrackedFrame]:
    """Follows one face through a video.

    The speaker is chosen in the first frame that shows one and followed by place
    and size. When the face has been gone for more than `max_gap` frames, or after a
    scene cut, the speaker is chosen anew; until then nobody else takes the place.

    Args:
        frames: (H, W, 3) uint8 RGB each, all of one size.
        detector: see `detect.make_detector`. With a `FixedBox`, that box is every
            frame's and the options below do not matter.
        pads: pixels added to the detector's box: top, bottom, left, right.
        smoothing: "gaussian"; "original", Wav2Lip's own, which knows no cuts and
            takes whole-pixel boxes; or "none".
        speaker: "largest", "left", "right", an index from the left or a point "x,y".
        max_gap: longest run of frames without the face that is bridged, by a
            straight line, when it shows again in the same shot; at least `every`.
        every: look at every n-th frame of a steadily seen face and put those between
            on a straight line. At 3 boxes differ by 0.2 % of the face's width on
            average from those at 1.

    Yields:
        One TrackedFrame per frame.

    Raises:
        OptionError: an unknown smoothing or speaker.
        FaceError: a fixed box that is not inside the frame.
    """
    if smoothing not in SMOOTHERS:
        raise OptionError(
            f"smoothing {smoothing!r}: expected one of {', '.join(SMOOTHERS)}"
        )
    rule = parse_speaker(speaker)
    if isinstance(detector, FixedBox):
        return _fixed(frames, detector)
    max_gap = max(max_gap, every)
    sights = follow(frames, detector, rule, max_gap, every)
    padded = _pad(sights, pads, whole_pixels=smoothing != "gaussian")
    return _smooth(_fill(padded, max_gap), smoothing)


def _fixed(frames: Iterable[np.ndarray], box: FixedBox) -> Iterator[TrackedFrame]:
    for index, image in enumerate(frames):
        region = FaceRegion(box.within(*image.shape[:2]), None)
        yield TrackedFrame(index, image, region, None)


def _pad(
    sights: Iterable[Sight], pads: tuple[int, int, int, int], whole_pixels: bool
) -> Iterator[Sight]:
    """Replaces each box by the padded one; an empty one is no face."""
    for sight in sights:
        if sight.face is not None:
            box = sight.face.box.astype(np.int64 if whole_pixels else np.float64)
            box = padded_box(box, pads, sight.image.shape[:2])
            face = None if box is None else replace(sight.face, box=box)
            sight = replace(sight, face=face)
        yield sight


def _fill(sights: Iterable[Sight], max_gap: int) -> Iterator[Sight]:
    """Puts a face on a straight line through gaps of up to `max_gap` frames."""
    last: Sight | None = None
    gap: list[Sight] = []
    for sight in sights:
        if sight.face is None:
            gap.append(sight)
            if last is None or len(gap) > max_gap:
                yield from gap
                gap, last = [], None
            continue
        if last is not None and last.track == sight.track:
            yield from [_between(last, missing, sight) for missing in gap]
        else:
            yield from gap
        gap, last = [], sight
        yield sight
    yield from gap


def _between(a: Sight, missing: Sight, b: Sight) -> Sight:
    part = (missing.index - a.index) / (b.index - a.index)

    def mix(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x + part * (y - x)).astype(x.dtype)

    landmarks = None
    if a.face.landmarks is not None and b.face.landmarks is not None:
        landmarks = mix(a.face.landmarks, b.face.landmarks)
    return replace(missing, face=Face(mix(a.face.box, b.face.box), landmarks))


def _smooth(sights: Iterable[Sight], smoothing: str) -> Iterator[TrackedFrame]:
    """Smooths the boxes of each unbroken stretch of one face."""

    def stretch(sight: Sight) -> int | None:
        if sight.face is None:
            return None
        return 0 if smoothing == "original" else sight.track

    for name, run in groupby(sights, stretch):
        if name is None:
            yield from (
                TrackedFrame(s.index, s.image, None, None, s.track) for s in run
            )
            continue
        waiting: deque[Sight] = deque()
        for box in SMOOTHERS[smoothing](_boxes(run, waiting)):
            yield _tracked(waiting.popleft(), box)


def _boxes(run: Iterable[Sight], waiting: deque[Sight]) -> Iterator[np.ndarray]:
    """Feeds a filter and keeps the frames until their box comes out of it."""
    for sight in run:
        waiting.append(sight)
        yield sight.face.box


def _tracked(sight: Sight, box: np.ndarray) -> TrackedFrame:
    landmarks = sight.face.landmarks
    outline = None if landmarks is None else landmarks[list(LOWER_FACE)]
    region = FaceRegion(np.rint(box).astype(np.int32), outline)
    return TrackedFrame(sight.index, sight.image, region, landmarks, sight.track)
