"""A synthetic talker as a video file."""

import wave
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from data_builders.synthetic_talkers.talker import Speaker, film, talk
from lipsync_jax.data.schema import FPS, SAMPLE_RATE
from lipsync_jax.media.writer import VideoWriter


@dataclass(frozen=True)
class Recording:
    """A filmed talker.

    Attributes:
      video: file with picture and sound.
      speech: the sound alone.
      boxes: (T, 4) float32, x1, y1, x2, y2 of the face in pixels.
      mouth: (T, 4) float32, in the order of `schema.MOUTH`.
    """

    video: Path
    speech: Path
    boxes: np.ndarray
    mouth: np.ndarray


def write_talker(
    folder: Path,
    speaker_seed: int,
    speech_seed: int,
    seconds: float,
    width: int = 256,
    height: int = 256,
) -> Recording:
    """Writes `talker.mp4` and `speech.wav` into an existing folder.

    Args:
      folder: replaced files of these names are lost.
      speaker_seed: of the person; never the person of a dataset.
      speech_seed: of what is said, and of movement, place and light.
      seconds: length.
      width: of the video in pixels.
      height: of the video in pixels.

    Raises:
      OSError, OutputError: a file cannot be written.
    """
    person = Speaker.random(speaker_seed)
    speech = talk(person.voice, speech_seed, seconds)
    video, sound = folder / "talker.mp4", folder / "speech.wav"
    _write_wav(sound, speech.audio)
    boxes = []
    with VideoWriter(video, width, height, Fraction(FPS), audio=sound) as writer:
        # Another stream of numbers than the speech's: movement must not follow it.
        for shot in film(person.look, speech.mouth, (speech_seed, 1), width, height):
            writer.write(shot.image)
            boxes.append(shot.box)
    return Recording(video, sound, np.array(boxes), speech.mouth)


def _write_wav(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", "not compressed"))
        file.writeframes(samples.astype("<i2").tobytes())
