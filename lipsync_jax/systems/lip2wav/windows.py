"""Longer videos as overlapping windows, and how what they say is joined."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from lipsync_jax.audio.mel import WAV2LIP
from lipsync_jax.systems.lip2wav.model import Lip2Wav


class Window(NamedTuple):
    """A window of faces, and from which of its mel frames on it counts.

    Attributes:
      start: first face.
      first: first mel frame that no window before has said.
    """

    start: int
    first: int


def runs(valid: Sequence[bool], least: int) -> list[range]:
    """Stretches of faces without a gap, as long as `least` or longer (section 9.2)."""
    edges = np.flatnonzero(np.diff(np.r_[0, np.asarray(valid, np.int8), 0]))
    found = [range(a, b) for a, b in edges.reshape(-1, 2).tolist()]
    return [run for run in found if len(run) >= least]


def windows(count: int, module: Lip2Wav, tail: bool = True) -> list[Window]:
    """The windows of a run of faces.

    Each begins where what it says anew goes on; where two overlap, the earlier counts.

    Args:
      count: faces, as many as a window has or more.
      module: the network.
      tail: go on to the end of the run with a last window that overlaps more, as the
        original does with words (section 9.3); at most four faces (25 per second) are
        left out. Otherwise, as with lectures, those that fill no window are.
    """
    size, step = module.frames, module.frames - module.overlap
    end = count
    if tail:
        count -= count % _unit(module)
        end = count - count % size  # of those that overlap as little as they can
    starts = [0]

    def left() -> int:
        return count - (starts[-1] + size)

    # The original with words does not ask whether one window can say the rest.
    while starts[-1] + step + size <= end or (tail and left() > size):
        starts.append(starts[-1] + step)
    common = module.mel_frames(module.overlap)
    found = [Window(start, common if start else 0) for start in starts]
    if tail and left():
        known = module.mel_frames(size) - module.mel_frames(left())
        found.append(Window(count - size, known))
    return found


def _unit(module: Lip2Wav) -> int:
    """The fewest faces that last a whole number of mel frames."""
    rate = Fraction(WAV2LIP.frames_per_second / module.fps)
    return rate.limit_denominator(module.frames).denominator
