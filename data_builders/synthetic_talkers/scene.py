"""What is around a face: background, light and the camera's noise."""

from dataclasses import dataclass

import numpy as np

from lipsync_jax.opencv import cv2

_ONE = 128  # the light map's value that leaves a pixel as it is
_PLAY = 16  # pixels by which the noise pattern is moved from frame to frame


@dataclass(frozen=True)
class Scene:
    """A place and a camera.

    Attributes:
      background: (H, W, 3) uint8 RGB, unlit.
      light: (H, W, 3) uint8, factor on each pixel in 128ths.
      noise: (H + 16, W + 16, 3) uint8 about 128.
      blur: standard deviation of the lens's blur in pixels.
    """

    background: np.ndarray
    light: np.ndarray
    noise: np.ndarray
    blur: float

    @staticmethod
    def random(rng: np.random.Generator, width: int, height: int) -> "Scene":
        """Any room, lamp and camera."""
        level = rng.uniform(1.5, 4.5)
        grain = rng.standard_normal((height + _PLAY, width + _PLAY, 3), np.float32)
        return Scene(
            background=_background(rng, width, height),
            light=_light(rng, width, height),
            noise=np.rint(128 + level * grain).astype(np.uint8),
            blur=rng.uniform(0.35, 0.8) * height / 256,
        )

    def photograph(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Lights and takes an image (H, W, 3) uint8; returns a new one."""
        lit = cv2.multiply(image, self.light, scale=1 / _ONE)
        lit = cv2.GaussianBlur(lit, (3, 3), self.blur)
        y, x = rng.integers(0, _PLAY, 2)
        noise = self.noise[y : y + image.shape[0], x : x + image.shape[1]]
        return cv2.addWeighted(lit, 1, noise, 1, -128)


def _background(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A few large shapes out of focus."""
    small = (
        rng.uniform(60, 200) + rng.uniform(-30, 30, 3) + rng.uniform(-25, 25, (6, 8, 3))
    )
    small = np.clip(small, 0, 255).astype(np.uint8)
    how = cv2.INTER_CUBIC if rng.random() < 0.6 else cv2.INTER_NEAREST
    return cv2.blur(cv2.resize(small, (width, height), interpolation=how), (9, 9))


def _light(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A lamp at one side, warmer or colder than white."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    slope = rng.uniform(0, 0.25) * (x * np.cos(angle) + y * np.sin(angle))
    warmth = rng.uniform(-0.08, 0.08) * np.array([1.0, 0.0, -1.0])
    factor = rng.uniform(0.72, 1.0) * (1 + slope)[..., None] * (1 + warmth)
    return np.clip(_ONE * factor, 0, 255).astype(np.uint8)
