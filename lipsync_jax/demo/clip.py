"""A procedurally drawn speaker with speech-like sound."""

import wave
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from lipsync_jax.media.writer import VideoWriter
from lipsync_jax.opencv import cv2

SAMPLE_RATE = 16000
FPS = 25


def speech(seconds: float, seed: int = 0) -> np.ndarray:
    """Syllables of a buzzing voice through two moving formants.

    Returns:
      (S,) float32 in [-0.5, 0.5] at 16 kHz.
    """
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    rng = np.random.default_rng(seed)
    knots = rng.uniform(size=(3, int(seconds * 5) + 2))
    pitch, first, second = (
        np.interp(t * 5, np.arange(knots.shape[1]), row) for row in knots
    )
    phase = 2 * np.pi * np.cumsum(110 + 40 * pitch) / SAMPLE_RATE
    voice = np.zeros_like(t)
    for harmonic in range(1, 30):
        frequency = harmonic * (110 + 40 * pitch)
        gain = sum(
            np.exp(-(((frequency - centre) / 150) ** 2))
            for centre in (300 + 500 * first, 1000 + 1200 * second)
        )
        voice += (gain + 0.05 / harmonic) * np.sin(harmonic * phase)
    voice *= opening(t)
    return (0.5 * voice / np.abs(voice).max()).astype(np.float32)


def opening(t: np.ndarray | float) -> np.ndarray | float:
    """Mouth opening in [0, 1] at time `t` in seconds: syllables, and a pause."""
    syllable = np.abs(np.sin(2 * np.pi * 1.7 * t)) * (0.6 + 0.4 * np.sin(1.3 * t))
    return syllable * (np.mod(t, 3.0) < 2.5)


def frames(seconds: float, width: int = 640, height: int = 360) -> Iterator[np.ndarray]:
    """The speaker, head swaying, mouth following `opening`.

    Yields:
      (height, width, 3) RGB uint8, 25 a second.
    """
    background = _background(width, height)
    for index in range(int(seconds * FPS)):
        yield _draw(background.copy(), index / FPS)


def _background(width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    shade = 150 + 60 * (x / width) - 40 * (y / height)
    return np.stack([shade * 0.75, shade * 0.85, shade], axis=-1).astype(np.uint8)


def _draw(image: np.ndarray, t: float) -> np.ndarray:
    height, width = image.shape[:2]
    unit = 0.34 * height  # half the height of the head
    cx = width / 2 + 0.06 * height * np.sin(0.9 * t)
    cy = 0.47 * height + 0.02 * height * np.sin(1.7 * t)

    def ellipse(x, y, rx, ry, colour, start=0, stop=360, thickness=-1):
        centre = (round((cx + x * unit) * 16), round((cy + y * unit) * 16))
        axes = (round(rx * unit * 16), round(ry * unit * 16))
        cv2.ellipse(
            image, centre, axes, 0, start, stop, colour, thickness, cv2.LINE_AA, 4
        )

    line = max(1, round(unit * 0.03))
    skin, shadow, hair, lips = (
        (224, 172, 138),
        (190, 132, 104),
        (52, 38, 30),
        (176, 84, 84),
    )
    ellipse(0, 1.75, 1.15, 0.85, (70, 84, 120))  # shoulders
    ellipse(0, 0.95, 0.32, 0.5, shadow)  # neck
    ellipse(0, -0.15, 0.80, 1.0, hair)
    ellipse(0, 0.05, 0.68, 0.92, skin)
    ellipse(0, -0.72, 0.62, 0.3, hair)
    ellipse(-0.34, 0.30, 0.2, 0.16, (230, 180, 148))  # cheeks
    ellipse(0.34, 0.30, 0.2, 0.16, (230, 180, 148))
    blink = 0.15 if t % 3.1 < 0.12 else 1.0
    for side in (-1, 1):
        ellipse(side * 0.28, -0.12, 0.19, 0.12, shadow)
        ellipse(side * 0.28, -0.10, 0.15, 0.08 * blink, (240, 240, 240))
        ellipse(side * 0.28, -0.10, 0.07, 0.075 * blink, (60, 40, 30))
        ellipse(side * 0.28, -0.22, 0.2, 0.1, hair, 200, 340, 2 * line)
    ellipse(0, 0.12, 0.08, 0.24, (236, 188, 156))  # nose
    ellipse(0, 0.33, 0.13, 0.05, shadow)
    open_ = float(opening(t))
    ellipse(0, 0.58, 0.27, 0.07 + 0.13 * open_, lips)
    ellipse(0, 0.58, 0.21, 0.015 + 0.11 * open_, (60, 20, 24))
    if open_ > 0.3:
        ellipse(0, 0.58 - 0.07 * open_, 0.16, 0.035, (235, 232, 225))
    return image


def write_clip(folder: Path, seconds: float, width: int = 640, height: int = 360):
    """Writes `speaker.mp4` (with its own sound) and `speech.wav` (other words).

    Returns:
      The two paths.
    """
    own, other = folder / "own.wav", folder / "speech.wav"
    _write_wav(own, speech(seconds, seed=1))
    _write_wav(other, speech(seconds, seed=2))
    video = folder / "speaker.mp4"
    with VideoWriter(video, width, height, Fraction(FPS), audio=own) as writer:
        for image in frames(seconds, width, height):
            writer.write(image)
    own.unlink()
    return video, other


def _write_wav(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", "not compressed"))
        file.writeframes((samples * 32767).astype("<i2").tobytes())
