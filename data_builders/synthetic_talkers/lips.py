"""The mouth: the only part of the picture that depends on what is said."""

import numpy as np

from data_builders.synthetic_talkers.canvas import Canvas, Colour, ribbon, shade
from data_builders.synthetic_talkers.look import Look

GAPE = 0.52  # height of a fully open mouth, in half face widths
JAW_DROP = 0.18  # of the chin, at a fully open mouth

_CAVITY: Colour = (34, 16, 20)
_TEETH: Colour = (242, 238, 228)
_TONGUE: Colour = (122, 60, 82)
_DEPTH = 0.12  # how far the mouth stands out of the face

_ACROSS = np.linspace(-1, 1, 21)  # from corner to corner
_ARCH = 1 - _ACROSS**2
_TONGUE_ARCH = np.maximum(1 - (_ACROSS / 0.75) ** 2, 0) ** 0.7
_TEETH_ARCH = np.maximum(1 - (_ACROSS / 0.92) ** 2, 0) ** 0.4
_BOW = np.exp(-((np.abs(_ACROSS) - 0.22) ** 2) / 0.05) - 0.25 * (_ACROSS == 0)
_UPPER_LIP = 0.75 * _ARCH**0.7 + 0.4 * _BOW * _ARCH
_LOWER_LIP = _ARCH**0.6


def draw_lips(canvas: Canvas, look: Look, mouth: np.ndarray) -> None:
    """Draws lips, teeth and tongue.

    Args:
      canvas: of the face.
      look: of the person.
      mouth: (4,) opening, width, rounding, teeth in [0, 1].
    """
    opening, width, rounding, teeth = mouth.tolist()
    x = look.mouth_size * (0.72 + 0.38 * width - 0.28 * rounding) * _ACROSS
    gape = GAPE * opening
    # Rounded lips make an ellipse, spread ones a lens with raised corners.
    arch = _ARCH ** (0.75 - 0.25 * rounding)
    raised = 0.05 * width * (1 - rounding) * (1 - _ARCH)
    top = look.mouth_y + 0.3 * gape * (1 - arch) - raised
    bottom = top + gape * arch
    pout = 1 + 0.5 * rounding - 0.25 * opening - 0.15 * width
    lower = look.lower_lip * pout * _LOWER_LIP
    above = top - look.upper_lip * pout * _UPPER_LIP
    below = bottom + lower

    def band(high: np.ndarray, low: np.ndarray, colour: Colour) -> None:
        canvas.fill(ribbon(x, high, low), colour, _DEPTH)

    band(below, below + 0.05 * _ARCH, shade(look.skin, 0.82))
    band(above, below, look.lips)
    band(bottom, below, shade(look.lips, 1.12))
    band(bottom + 0.35 * lower, bottom + 0.6 * lower, shade(look.lips, 1.25))
    if gape < 0.015:
        seam = top + gape / 2
        band(seam - 0.01, seam + 0.01, shade(look.lips, 0.62))
        return
    band(top, bottom, _CAVITY)
    tongue = 0.5 * max(gape - 0.12, 0) * _TONGUE_ARCH
    band(bottom - np.minimum(tongue, gape * arch), bottom, _TONGUE)
    upper_teeth = 0.18 * max(teeth - 0.1, 0) * _TEETH_ARCH
    lower_teeth = 0.1 * max(teeth - 0.5, 0) * _ARCH
    band(top, np.minimum(top + upper_teeth, bottom), _TEETH)
    band(np.maximum(bottom - lower_teeth, top), bottom, shade(_TEETH, 0.93))
