"""Keeping to one face from frame to frame."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from lipsync_jax.faces.cuts import is_cut, thumbnail
from lipsync_jax.faces.face import Detector, Face
from lipsync_jax.faces.speaker import Speaker

REACH = 0.75  # of the face's height: how far it may be from where it is expected
GROWTH = 1.5  # how much larger or smaller it may have become
SEARCH_EVERY = 5  # frames between searches of the whole frame while nobody is seen


@dataclass(frozen=True)
class Sight:
    """One frame with what was seen in it.

    Attributes:
        index: number of the frame, from 0.
        image: (H, W, 3) uint8.
        track: counts the faces followed so far; equal numbers are one face.
        face: the speaker's, or None: not there, or not looked for.
    """

    index: int
    image: np.ndarray
    track: int
    face: Face | None


def follow(
    frames: Iterable[np.ndarray],
    detector: Detector,
    speaker: Speaker,
    max_gap: int,
    every: int,
) -> Iterator[Sight]:
    """Looks for one face in every n-th frame, and in each where it or a shot ends.

    Args:
        frames: (H, W, 3) uint8 RGB each.
        detector: see `face.Detector`.
        speaker: who is chosen when nobody is followed.
        max_gap: frames after which a face that does not show up is given up.
        every: look at every n-th frame of a steadily seen face.

    Yields:
        One Sight per frame, in order, at most `every` frames late.
    """
    follower = _Follower(detector, speaker, max_gap)
    before = None
    skipped: list[tuple[int, np.ndarray]] = []
    for index, image in enumerate(frames):
        now = thumbnail(image)
        if before is not None and is_cut(before, now):
            yield from [follower.look(*frame) for frame in skipped]
            skipped = []
            follower.start_over()
        before = now
        if follower.in_sight and len(skipped) < every - 1:
            skipped.append((index, image))
            continue
        sight = follower.look(index, image)
        if sight.face is None:
            yield from [follower.look(*frame) for frame in skipped]
        else:
            yield from [Sight(*frame, sight.track, None) for frame in skipped]
        skipped = []
        yield sight
    yield from [follower.look(*frame) for frame in skipped]


class _Follower:
    """Remembers where the speaker was last seen and looks there first."""

    def __init__(self, detector: Detector, speaker: Speaker, max_gap: int):
        self.detector = detector
        self.speaker = speaker
        self.max_gap = max_gap
        self.track = 0
        self.start_over()

    def start_over(self) -> None:
        """Forgets the face: the shot has changed."""
        self.last: Face | None = None
        self.last_index = 0
        self.velocity = np.zeros(2, np.float32)  # pixels per frame
        self.next_search = 0
        self.in_sight = False

    def look(self, index: int, image: np.ndarray) -> Sight:
        """Detects in one frame; indices increase, but frames may be left out."""
        face = None
        if self.last is not None:
            face = self._same(index, self.detector.near(image, self._expected(index)))
        if face is None and index >= self.next_search:
            face = self._search(index, image)
        self.in_sight = face is not None
        if face is not None:
            self._remember(index, face)
        return Sight(index, image, self.track, face)

    def _search(self, index: int, image: np.ndarray) -> Face | None:
        faces = self.detector.search(image)
        face = self._same(index, faces) if self.last is not None else None
        if face is None and self._gone(index):
            face = self.speaker.choose(faces)
            if face is not None:
                self.track += 1
                self.last = None
        self.next_search = index + SEARCH_EVERY if face is None else 0
        return face

    def _gone(self, index: int) -> bool:
        return self.last is None or index - self.last_index > self.max_gap

    def _remember(self, index: int, face: Face) -> None:
        if self.last is not None:
            moved = _centre(face.box) - _centre(self.last.box)
            self.velocity = moved / (index - self.last_index)
        else:
            self.velocity = np.zeros(2, np.float32)
        self.last, self.last_index = face, index

    def _expected(self, index: int) -> np.ndarray:
        """The last box moved on; a face long unseen is expected not to have moved."""
        ahead = index - self.last_index
        step = self.velocity * ahead if ahead <= 2 else np.zeros(2, np.float32)
        return self.last.box + np.tile(step, 2)

    def _same(self, index: int, faces: Iterable[Face]) -> Face | None:
        """The face that continues the last one, if any does."""
        expected = self._expected(index)
        height = expected[3] - expected[1]

        def distance(face: Face) -> float:
            return float(np.hypot(*(_centre(face.box) - _centre(expected))))

        def continues(face: Face) -> bool:
            growth = (face.box[3] - face.box[1]) / height
            return distance(face) <= REACH * height and 1 / GROWTH <= growth <= GROWTH

        return min(filter(continues, faces), key=distance, default=None)


def _centre(box: np.ndarray) -> np.ndarray:
    return (box[:2] + box[2:]) / 2
