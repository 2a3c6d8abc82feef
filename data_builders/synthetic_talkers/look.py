"""What a person looks like, in face coordinates (see `canvas.Pose`)."""

from dataclasses import dataclass

import numpy as np

from data_builders.synthetic_talkers.canvas import Colour, mix

_PALE, _BROWN, _DARK = (238, 200, 174), (192, 134, 98), (118, 74, 50)
_HAIR = (
    *((28, 22, 22), (60, 40, 28), (96, 62, 38), (150, 108, 62)),
    *((208, 172, 112), (140, 66, 36), (170, 168, 166)),
)
_EYES = ((70, 46, 30), (96, 70, 40), (70, 110, 80), (80, 120, 160), (60, 70, 80))


@dataclass(frozen=True)
class Look:
    """A face.

    Lengths are in half face widths, heights (`_y`) from between the cheeks downwards;
    those of the mouth are of closed lips at rest.

    Attributes:
      skin, lips, hair, iris, shirt: colours.
      jaw: from 0.6, broad, to 1, pointed.
      chin, crown: heights of the ends of the head.
      eye_y, eye_gap, eye_size, eye_slant: of the eyes; the gap is to the middle.
      brow_y, brow_size, brow_slant: of the brows.
      nose_y, nose_size: of the tip of the nose.
      mouth_y, mouth_size: height and half width of the mouth.
      upper_lip, lower_lip: thickness.
      fringe: height at which the hair begins.
      long_hair: whether it reaches below the ears.
      glasses: whether they are worn.
    """

    skin: Colour
    lips: Colour
    hair: Colour
    iris: Colour
    shirt: Colour
    jaw: float
    chin: float
    crown: float
    eye_y: float
    eye_gap: float
    eye_size: float
    eye_slant: float
    brow_y: float
    brow_size: float
    brow_slant: float
    nose_y: float
    nose_size: float
    mouth_y: float
    mouth_size: float
    upper_lip: float
    lower_lip: float
    fringe: float
    long_hair: bool
    glasses: bool

    @staticmethod
    def random(rng: np.random.Generator) -> "Look":
        """A face as different from others as faces are."""
        tone = rng.uniform(0, 2)
        skin = mix(_PALE, _BROWN, tone) if tone < 1 else mix(_BROWN, _DARK, tone - 1)
        red = mix((196, 80, 76), (140, 40, 46), rng.uniform())
        eye_y = rng.uniform(-0.32, -0.22)
        nose_y = rng.uniform(0.22, 0.32)
        return Look(
            skin=skin,
            lips=mix(skin, red, rng.uniform(0.45, 0.8)),
            hair=_HAIR[rng.integers(len(_HAIR))],
            iris=_EYES[rng.integers(len(_EYES))],
            shirt=tuple(int(c) for c in rng.integers(40, 220, 3)),
            jaw=rng.uniform(0.62, 0.95),
            chin=rng.uniform(1.22, 1.36),
            crown=rng.uniform(-1.35, -1.2),
            eye_y=eye_y,
            eye_gap=rng.uniform(0.38, 0.46),
            eye_size=rng.uniform(0.17, 0.23),
            eye_slant=rng.uniform(-0.03, 0.03),
            brow_y=eye_y - rng.uniform(0.22, 0.3),
            brow_size=rng.uniform(0.035, 0.085),
            brow_slant=rng.uniform(-0.08, 0.06),
            nose_y=nose_y,
            nose_size=rng.uniform(0.13, 0.21),
            mouth_y=nose_y + rng.uniform(0.31, 0.37),
            mouth_size=rng.uniform(0.41, 0.50),
            upper_lip=rng.uniform(0.05, 0.09),
            lower_lip=rng.uniform(0.07, 0.12),
            fringe=rng.uniform(-1.0, -0.68),
            long_hair=bool(rng.random() < 0.45),
            glasses=bool(rng.random() < 0.2),
        )
