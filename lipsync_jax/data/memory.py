"""Clips that stay in memory, with those of their frames that were decoded so far."""

from dataclasses import replace

from lipsync_jax.data.frames import KeptFrames, Room
from lipsync_jax.data.schema import Clip
from lipsync_jax.data.source import ClipSource


class ClipMemory:
    """Reads clips from a source, and keeps them while there is room.

    What is kept stays: an epoch visits every clip once, so replacing one by another
    would gain nothing. Pixels are the same as without it.
    """

    def __init__(self, source: ClipSource, limit: int):
        self._source = source
        self._room = Room(limit)
        self._clips: dict[int, Clip] = {}

    def __getitem__(self, position: int) -> Clip:
        """The clip at a position of the source; raises as the source does."""
        if (kept := self._clips.get(position)) is not None:
            return kept
        clip = self._source[position]
        if self._room.take(_size(clip)):
            clip = replace(clip, frames=KeptFrames(clip.frames, self._room))
            self._clips[position] = clip
        return clip


def _size(clip: Clip) -> int:
    """Bytes, roughly: arrays count twice, as the parsed record holds them, too."""
    arrays = (clip.box, clip.landmarks, clip.valid, clip.audio, clip.mouth)
    return sum(map(len, clip.frames)) + 2 * sum(array.nbytes for array in arrays)
