"""Batches of faces through the network, back into their frames."""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np

from lipsync_jax.faces.track import TrackedFrame


class Draws(Protocol):
    """What the pipeline needs of a system's synthesizer."""

    size: int
    batch_size: int

    def __call__(self, crops: np.ndarray, windows: np.ndarray) -> np.ndarray: ...


class Drawn(NamedTuple):
    """A frame and the new pixels of its face, as `FaceRegion.paste` takes them."""

    frame: TrackedFrame
    patch: np.ndarray | None


def redraw(
    frames: Iterable[TrackedFrame], windows: Iterable[np.ndarray], synthesizer: Draws
) -> Iterator[Drawn]:
    """Redraws the mouth of every frame that has a face.

    One batch is computed while the next is gathered; frames without a face pass
    through in order.

    Args:
      frames: tracked frames.
      windows: what is heard at each frame; there may be more of them.
      synthesizer: the compiled network.
    """
    pairs = zip(frames, windows, strict=False)
    in_flight: deque = deque()
    while batch := list(islice(pairs, synthesizer.batch_size)):
        in_flight.append(_submit(batch, synthesizer))
        if len(in_flight) > 1:
            yield from _collect(*in_flight.popleft())
    while in_flight:
        yield from _collect(*in_flight.popleft())


def _submit(batch: list, synthesizer: Draws) -> tuple[list[TrackedFrame], object]:
    with_face = [(f, window) for f, window in batch if f.face is not None]
    patches = None
    if with_face:
        size = synthesizer.size
        crops = [frame.face.cut(frame.image, size) for frame, _ in with_face]
        patches = synthesizer(np.stack(crops), np.stack([w for _, w in with_face]))
    return [frame for frame, _ in batch], patches


def _collect(frames: list[TrackedFrame], patches: object) -> Iterator[Drawn]:
    drawn = iter(() if patches is None else np.asarray(patches))
    for frame in frames:
        yield Drawn(frame, None if frame.face is None else next(drawn))


def composite(drawn: Drawn, blend: str = "feather") -> np.ndarray:
    """The output frame (H, W, 3) uint8.

    Args:
      drawn: frame and patch; without a patch the frame comes back as it is.
      blend: "feather" shows the lower face through a soft mask, "hard" pastes the
        whole patch as the originals do.
    """
    frame, patch = drawn
    if patch is None:
        return frame.image
    return frame.face.paste(frame.image, patch, blend)
