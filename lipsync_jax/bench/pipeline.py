"""Milliseconds per frame of everything around the network, and memory."""

import resource
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lipsync_jax.demo.clip import write_clip
from lipsync_jax.faces.track import TrackedFrame, track
from lipsync_jax.inference.redraw import Drawn, composite
from lipsync_jax.inference.sync import SyncOptions, find_faces, sync
from lipsync_jax.media.reader import VideoReader
from lipsync_jax.media.writer import VideoWriter


class _NoNetwork:
    """Gives crops back unchanged: what is left of `sync` is everything else."""

    def __init__(self, synthesizer: Any):
        self._synthesizer = synthesizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._synthesizer, name)

    def __call__(self, crops: np.ndarray, windows: np.ndarray) -> np.ndarray:
        return crops


def bench_pipeline(
    synthesizer: Any,
    face: Path | None,
    seconds: float,
    options: SyncOptions,
) -> dict[str, Any]:
    """Measures each stage alone, all but the network together, and the whole.

    Args:
      synthesizer: the network, compiled (`lipsync_jax.systems.SYNTHESIZERS`).
      face: video to use; a drawn 1920x1080 speaker when None.
      seconds: length of the drawn clip.
      options: as for `sync`.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        drawn, speech = write_clip(work, seconds, 1920, 1080)
        face = face or drawn
        info = VideoReader(face).info
        options = replace(options, loop="restart")
        result: dict[str, Any] = {
            "face": face.name,
            "size": f"{info.width}x{info.height}",
            **_stages(face, options, work),
        }
        for name, network in (
            ("all_but_network", _NoNetwork(synthesizer)),
            ("whole", synthesizer),
        ):
            if name == "whole":  # compile first: it happens once per run
                crops = np.zeros((1, network.size, network.size, 3), np.uint8)
                silence = np.zeros(network.sample_rate, np.float32)
                window = next(iter(network.windows([silence], 25.0)))
                np.asarray(network(crops, window[None]))
            start = time.perf_counter()
            report = sync(network, face, speech, work / f"{name}.mp4", options)
            spent = time.perf_counter() - start
            result[f"{name}_ms_per_frame"] = round(1000 * spent / report.frames, 2)
            result[f"{name}_frames_per_second"] = round(report.frames / spent, 2)
    result["peak_memory_mb"] = round(peak_memory() / 2**20)
    return result


def peak_memory() -> int:
    """Largest resident size of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _stages(face: Path, options: SyncOptions, work: Path) -> dict[str, float]:
    """Each stage's own time over at most 100 frames, in one thread."""
    reader = VideoReader(face)
    info = reader.info
    detector, _ = find_faces(options, (info.width, info.height))
    patch = np.zeros((96, 96, 3), np.uint8)

    def put(frame: TrackedFrame) -> np.ndarray:
        return composite(Drawn(frame, patch if frame.face else None), options.blend)

    decoded = _Meter(reader.frames(0, 100))
    tracked = _Meter(track(decoded, detector, smoothing=options.smoothing))
    blended = _Meter(map(put, tracked))
    path = work / "stages.mp4"
    start = time.perf_counter()
    with (
        closing(detector),
        VideoWriter(path, info.width, info.height, info.fps, crf=options.crf) as out,
    ):
        for image in blended:
            out.write(image)
    total = time.perf_counter() - start
    seconds = {
        "decode": decoded.seconds,
        "detect": tracked.seconds - decoded.seconds,
        "blend": blended.seconds - tracked.seconds,
        "encode": total - blended.seconds,
    }
    return {f"{k}_ms": round(1000 * v / blended.count, 2) for k, v in seconds.items()}


class _Meter:
    """An iterator that knows how long its items took."""

    def __init__(self, items: Iterable):
        self._items = iter(items)
        self.seconds, self.count = 0.0, 0

    def __iter__(self) -> "_Meter":
        return self

    def __next__(self):
        start = time.perf_counter()
        try:
            item = next(self._items)
        finally:
            self.seconds += time.perf_counter() - start
        self.count += 1
        return item
