"""Networks that judge sync: SyncNet v2, or a sync expert of one's own."""

from collections.abc import Iterable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from lipsync_jax import models_io
from lipsync_jax.audio.mel import stream_mel
from lipsync_jax.audio.mfcc import mfcc
from lipsync_jax.errors import ModelError
from lipsync_jax.evaluation.batches import Batched
from lipsync_jax.evaluation.offset import encoders
from lipsync_jax.evaluation.sync.shifts import ShiftDistances, SyncScore
from lipsync_jax.evaluation.syncnet import SyncNet
from lipsync_jax.systems.expert.examples import MEL_STEPS, WINDOW, mel_start
from lipsync_jax.systems.expert.model import Expert

FPS = 25
_BATCH = 20  # windows per call, at least
_FRAME = 640  # samples
_LISTENED = 20  # MFCC columns of a window
_SAMPLES = 400 + (_LISTENED - 1) * 160  # under them


class Judge(Protocol):
    """What the sync measures need of a network.

    Attributes:
      name: for reports.
      size: side of the pictures it looks at.
      whole_frame: whether it takes a frame of a face video as it is; otherwise it
        has to be shown the face.
      spare: frames at the end that take part in no window.
      beyond: see `ShiftDistances`.
    """

    name: str
    size: int
    whole_frame: bool
    spare: int
    beyond: float

    def sounds(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """What it hears with each frame at 25 per second, from mono at 16 kHz."""

    def look(self, windows: np.ndarray) -> np.ndarray:
        """(n, 5, size, size, 3) uint8 RGB to embeddings (n, D)."""

    def listen(self, sounds: np.ndarray) -> np.ndarray:
        """n of `sounds` to embeddings (n, D)."""


class SyncNetJudge:
    """SyncNet v2 with its own program's front end (see `Judge`)."""

    size = 224
    whole_frame = True
    spare = 1  # that program stops one window early
    beyond = 0.0

    def __init__(self, network: SyncNet, variables: Any, name: str = "SyncNet v2"):
        """Compiles for one batch size.

        Args:
          network: the module.
          variables: its params and batch statistics.
          name: for reports.
        """
        self.name = name

        def look(variables: Any, faces: jax.Array) -> jax.Array:
            levels = faces.astype(np.float32)
            return network.apply(variables, levels, method=SyncNet.lip)

        def listen(variables: Any, sounds: jax.Array) -> jax.Array:
            return network.apply(variables, sounds[..., None], method=SyncNet.audio)

        self.look = Batched(look, variables, _BATCH)
        self.listen = Batched(listen, variables, _BATCH)

    def sounds(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """13 MFCCs of 0.2 s (13, 20) float32 for each frame with 5 more to follow."""
        held = np.zeros(1)  # first, the sample before the window
        for block in blocks:
            levels = np.clip(np.rint(block * 2.0**15), -(2**15), 2**15 - 1)
            held = np.concatenate([held, levels])
            while len(held) > 6 * _FRAME:
                window = mfcc(held[1 : 1 + _SAMPLES], before=held[0])
                yield window.T.astype(np.float32)
                held = held[_FRAME:]


class ExpertJudge:
    """A sync expert, on faces cut out as for its training (see `Judge`)."""

    whole_frame = False
    spare = 0
    beyond = float("nan")

    def __init__(self, expert: Expert, variables: Any, name: str = "sync expert"):
        """Compiles for one batch size.

        Args:
          expert: the module.
          variables: its params and batch statistics.
          name: for reports.
        """
        self.name = name
        self.size = expert.resolution
        look, listen = encoders(expert)
        self.look = Batched(look, variables, _BATCH)
        self.listen = Batched(listen, variables, _BATCH)

    def sounds(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The mel window (80, 16) of each frame."""
        held, first = np.zeros((80, 0), np.float32), 0
        frames = count()
        start = int(mel_start(next(frames), FPS))
        for columns in stream_mel(blocks):
            held = np.concatenate([held, columns], axis=1)
            while start + MEL_STEPS <= first + held.shape[1]:
                yield held[:, start - first :][:, :MEL_STEPS]
                start = int(mel_start(next(frames), FPS))
            held, first = held[:, max(0, start - first) :], max(first, start)


def load_judge(folder: Path) -> Judge:
    """The judge in a model folder: SyncNet v2 or a sync expert.

    Raises:
      ModelError: another network, or a damaged folder.
    """
    model = models_io.load(folder)
    judges = {"syncnet": SyncNetJudge, "expert": ExpertJudge}
    if model.system not in judges:
        raise ModelError(
            f"{folder}: holds a {model.system} network ({model.network}); sync is "
            "judged by syncnet_v2 or a sync expert"
        )
    name = f"{model.network} ({folder})"
    return judges[model.system](model.module, model.variables, name)


def score(
    judge: Judge,
    faces: Iterable[np.ndarray | None],
    sound: Iterable[np.ndarray],
) -> SyncScore:
    """LSE-D, LSE-C and offset of a stretch of video, in constant memory.

    Args:
      judge: who looks and listens.
      faces: (size, size, 3) uint8 RGB of each frame at 25 per second; None where
        there is no face.
      sound: consecutive blocks of mono float32 at 16 kHz, from the first frame on.

    Raises:
      DataError: too short.
    """
    shifts = ShiftDistances(judge.beyond)
    pairs = zip(_windows(faces, judge.spare), judge.sounds(sound), strict=False)
    while batch := list(islice(pairs, judge.look.size)):
        heard = judge.listen(np.stack([sound for _, sound in batch]))
        seen = np.full(heard.shape, np.nan)
        there = [index for index, (window, _) in enumerate(batch) if window is not None]
        if there:
            seen[there] = judge.look(np.stack([batch[index][0] for index in there]))
        shifts.add(seen, heard)
    return shifts.score()


def _windows(
    faces: Iterable[np.ndarray | None], spare: int
) -> Iterator[np.ndarray | None]:
    """Runs of five frames; None where one of them lacks the face."""
    held: list[np.ndarray | None] = []
    for face in faces:
        held.append(face)
        if len(held) == WINDOW + spare:
            window = held[:WINDOW]
            yield None if any(f is None for f in window) else np.stack(window)
            held.pop(0)
