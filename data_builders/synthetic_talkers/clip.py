"""One clip record of a synthetic talker."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from data_builders.synthetic_talkers.motion import smooth_noise
from data_builders.synthetic_talkers.phonemes import Phoneme, random_words
from data_builders.synthetic_talkers.talker import Speaker, Speech, film, talk
from lipsync_jax.data.schema import FPS, LANDMARKS, Clip
from lipsync_jax.faces.crop import crop
from lipsync_jax.opencv import cv2

SPLITS = ("train", "validation", "test")

_FRAME = 1.6  # side of the frames a crop is cut from, in sides of the crop
_JPEG_QUALITY = 95

# What a random choice is for; the first number of its seed. The tuples are all of one
# length, because NumPy takes (1, 2) and (1, 2, 0) for the same seed.
_PERSON, _SPEECH, _FILM, _DETECTOR, _LEXICON, _ORDER = range(6)


@dataclass(frozen=True)
class ClipRecipe:
    """All that a clip is made from.

    Attributes:
      seed: of the dataset.
      split: one of `SPLITS`.
      speaker: number of the person in the split.
      number: of the clip among the person's.
      seconds: length.
      size: height and width of the crops in pixels.
      words: how many the dataset knows; 0 for running speech.
      same_people: the person is one of the split "train", whatever the split.
    """

    seed: int
    split: str
    speaker: int
    number: int
    seconds: float
    size: int
    words: int = 0
    same_people: bool = False

    @property
    def label(self) -> int:
        """Number of the word that is said, or -1.

        Every person goes through all words, in an own order: else the words would tell
        who speaks.
        """
        if not self.words:
            return -1
        order = np.random.default_rng(self.key(_ORDER, 0)).permutation(self.words)
        return int(order[self.number % self.words])

    @property
    def word(self) -> tuple[Phoneme, ...] | None:
        """The word that is said, or None; of one number the same in all clips."""
        return lexicon(self.seed, self.words)[self.label] if self.words else None

    @property
    def person(self) -> Speaker:
        """Who speaks."""
        return Speaker.random(replace(self, split=self.cast).key(_PERSON, 0))

    @property
    def cast(self) -> str:
        """The split whose people are seen."""
        return SPLITS[0] if self.same_people else self.split

    @property
    def speech(self) -> Speech:
        """What is said, and how it sounds."""
        seed = self.key(_SPEECH, self.number)
        return talk(self.person.voice, seed, self.seconds, self.word)

    def key(self, purpose: int, number: int) -> tuple[int, ...]:
        """Seed of one kind of choice in one clip of the person."""
        split = SPLITS.index(self.split)
        return (purpose, self.seed, split, self.speaker, number)


@lru_cache(maxsize=1)
def lexicon(seed: int, words: int) -> list[tuple[Phoneme, ...]]:
    """The words of a dataset; a larger one begins with those of a smaller."""
    return random_words(np.random.default_rng((_LEXICON, seed, 0, 0, 0)), words)


def make_clip(recipe: ClipRecipe) -> Clip:
    """Draws and speaks a clip; a function of the recipe alone."""
    speech = recipe.speech
    side = round(_FRAME * recipe.size)
    shots = film(
        recipe.person.look, speech.mouth, recipe.key(_FILM, recipe.number), side, side
    )
    count = len(speech.mouth)
    errors = _detector_errors(recipe.key(_DETECTOR, recipe.number), count)
    frames, boxes = [], []
    for shot, error in zip(shots, errors, strict=True):
        box = _detect(shot.box, error, side)
        frames.append(_jpeg(crop(shot.image, box, recipe.size)))
        boxes.append(box)
    return Clip(
        id=f"{recipe.split}_{recipe.speaker:04d}_{recipe.number:03d}",
        frames=frames,
        box=np.array(boxes, np.float32),
        landmarks=np.zeros((0, LANDMARKS, 2), np.float32),
        valid=np.ones(count, bool),
        fps=FPS,
        audio=speech.audio,
        speaker=f"{recipe.cast}_{recipe.speaker:04d}",
        label=recipe.label,
        text=speech.text,
        source="synthetic",
        mouth=speech.mouth,
    )


def _detector_errors(seed: tuple[int, ...], count: int) -> np.ndarray:
    """Errors (T, 4) of the box's edges, as shares of its size: as smoothed boxes."""
    rng = np.random.default_rng(seed)
    bias = 0.015 * rng.standard_normal(4)
    drift = [smooth_noise(rng, count, 5) for _ in range(4)]
    return bias + 0.006 * np.stack(drift, axis=1)


def _detect(box: np.ndarray, error: np.ndarray, side: int) -> np.ndarray:
    """The box in whole pixels inside the frame."""
    size = np.tile(box[2:] - box[:2], 2)
    return np.clip(np.rint(box + error * size), 0, side).astype(np.int64)


def _jpeg(face: np.ndarray) -> bytes:
    bgr = cv2.cvtColor(face, cv2.COLOR_RGB2BGR)
    quality = (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY)
    return cv2.imencode(".jpg", bgr, quality)[1].tobytes()
