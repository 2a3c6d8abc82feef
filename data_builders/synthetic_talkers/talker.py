"""A synthetic person who speaks: sound, mouth, moving picture."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from data_builders.synthetic_talkers.canvas import Pose
from data_builders.synthetic_talkers.coarticulation import mouth_track
from data_builders.synthetic_talkers.face import draw_face, face_box
from data_builders.synthetic_talkers.look import Look
from data_builders.synthetic_talkers.motion import Motion
from data_builders.synthetic_talkers.phonemes import (
    Phone,
    Phoneme,
    random_phones,
    word_phones,
)
from data_builders.synthetic_talkers.scene import Scene
from data_builders.synthetic_talkers.voice import Voice, synthesise
from lipsync_jax.data.schema import FPS, SAMPLE_RATE

Seed = int | tuple[int, ...]

_FACE_SHARE = 0.29  # half the width of a face, as a share of the frame's shorter side


@dataclass(frozen=True)
class Speaker:
    """A person: a look and a voice that do not depend on each other."""

    look: Look
    voice: Voice

    @staticmethod
    def random(seed: Seed) -> "Speaker":
        """The person of a seed."""
        rng = np.random.default_rng(seed)
        return Speaker(Look.random(rng), Voice.random(rng))


@dataclass(frozen=True)
class Speech:
    """What is said.

    Attributes:
      audio: (S,) int16, mono at 16 kHz.
      mouth: (T, 4) float32 at 25 frames a second, in the order of `schema.MOUTH`.
      phones: the sounds; the first begins before time 0, the last ends after the clip.
    """

    audio: np.ndarray
    mouth: np.ndarray
    phones: list[Phone]

    @property
    def text(self) -> str:
        """The sounds' names, separated by spaces."""
        return " ".join(phone.phoneme.symbol for phone in self.phones)


class Shot(NamedTuple):
    """A frame (H, W, 3) uint8 RGB and the box (4,) of the face in it, in pixels."""

    image: np.ndarray
    box: np.ndarray


def talk(
    voice: Voice,
    seed: Seed,
    seconds: float,
    word: Sequence[Phoneme] | None = None,
) -> Speech:
    """Something to say, and how it sounds in a voice.

    Args:
      voice: of the speaker.
      seed: of all that is left open.
      seconds: length, rounded to whole video frames.
      word: said once, in the middle; None for running speech.
    """
    rng = np.random.default_rng(seed)
    count = round(seconds * FPS)
    if word is None:
        phones = random_phones(rng, count / FPS, voice.rate)
    else:
        phones = word_phones(rng, word, count / FPS, voice.rate)
    samples = round(count * SAMPLE_RATE / FPS)
    audio = synthesise(phones, voice, samples, rng)
    return Speech(audio, mouth_track(phones, count, FPS), phones)


def film(
    look: Look, mouth: np.ndarray, seed: Seed, width: int = 256, height: int = 256
) -> Iterator[Shot]:
    """A person whose mouth moves as told and all else as chance has it.

    Args:
      look: of the person.
      mouth: (T, 4), see `Speech`.
      seed: of movement, place and light.
      width: of the frames in pixels.
      height: of the frames in pixels.

    Yields:
      T shots.
    """
    rng = np.random.default_rng(seed)
    motion = Motion.random(rng, len(mouth))
    scene = Scene.random(rng, width, height)
    unit = _FACE_SHARE * min(width, height) * rng.uniform(0.92, 1.05)
    for t, shape in enumerate(mouth):
        pose = Pose(
            centre=np.array([width, 0.98 * height]) / 2 + unit * motion.place[t],
            unit=unit * motion.zoom[t],
            roll=motion.roll[t],
            turn=motion.turn[t],
        )
        image = scene.background.copy()
        draw_face(
            *(image, look, pose, shape),
            lids=motion.lids[t],
            brows=motion.brows[t],
            gaze=motion.gaze[t],
        )
        yield Shot(scene.photograph(image, rng), face_box(look, pose))
