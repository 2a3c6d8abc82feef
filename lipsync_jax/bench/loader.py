"""Windows per second of the input pipeline, and of a loader that re-reads files."""

import importlib.util
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from threadpoolctl import threadpool_limits

from lipsync_jax.bench.naive_loader import naive_batches, write_files
from lipsync_jax.data.pipeline import train_batches
from lipsync_jax.data.source import ClipSource, open_split
from lipsync_jax.errors import OptionError
from lipsync_jax.opencv import cv2
from lipsync_jax.systems.expert import examples as expert
from lipsync_jax.systems.wav2lip import examples as wav2lip

EXAMPLES = {"expert": expert.examples, "wav2lip": wav2lip.examples}
MAX_CLIPS = 20  # of a larger dataset, so that writing the files takes seconds


def bench_loader(
    directory: Path,
    split: str = "train",
    system: str = "wav2lip",
    batch_size: int = 16,
    resolution: int = 96,
    seconds: float = 20.0,
    wav_rate: int = 44_100,
    resampler: str = "soxr_hq",
) -> dict[str, Any]:
    """Measures both loaders on the same clips, each on one core.

    They take turns of a second, so that a machine whose speed drifts changes both.
    Rates are medians over the turns, per second of processor time (what one core does)
    and per second on the clock. Linear algebra and OpenCV are held to one thread.

    Args:
      directory: a prepared dataset.
      split: of it.
      system: "expert" or "wav2lip".
      batch_size: examples per batch.
      resolution: side of the network's pictures.
      seconds: for which each loader runs.
      wav_rate: of the sound files that the naive loader resamples, in Hz.
      resampler: the naive loader's: "soxr_hq", which librosa takes today, or
        "kaiser_best" of librosa 0.7, which the originals pin (needs resampy).

    Returns:
      For each loader its windows per second; for ours "from_memory" (small datasets,
      after the first epochs) and "from_disk", and how much less processor time they
      take than the naive one.

    Raises:
      DataError: `directory` cannot be used.
      OptionError: unknown system, or a resampler that is not installed.
    """
    if system not in EXAMPLES:
        raise OptionError(f"system {system!r}: expected one of {', '.join(EXAMPLES)}")
    if resampler != "soxr_hq" and importlib.util.find_spec("resampy") is None:
        raise OptionError(f"resampler {resampler!r} needs resampy: pip install resampy")
    source = open_split(directory, split).head(MAX_CLIPS)
    examples = EXAMPLES[system](resolution)
    options = {"batch_size": batch_size, "seed": 0, "threads": 1}
    with ExitStack() as stack:
        stack.enter_context(threadpool_limits(1))
        stack.enter_context(_one_opencv_thread())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_files(source, folder, wav_rate)
        loaders = {
            "from_memory": train_batches(source, examples, **options),
            "from_disk": train_batches(source, examples, **options, memory=0),
            "naive": naive_batches(folder, system, batch_size, resolution, resampler),
        }
        for batches in loaders.values():
            stack.enter_context(closing(batches))
        turns: dict[str, list[tuple[float, float]]] = {name: [] for name in loaders}
        for _ in range(max(1, round(seconds))):
            for name, batches in loaders.items():
                turns[name].append(_turn(batches))
    result: dict[str, Any] = {
        "system": system,
        "batch_size": batch_size,
        "clips": len(source),
        "seconds_per_clip": round(_mean_seconds(source), 1),
    }
    cpu = {name: median(cpu for cpu, _ in found) for name, found in turns.items()}
    wall = {name: median(wall for _, wall in found) for name, found in turns.items()}
    for name in loaders:
        result[f"{name}_windows_per_cpu_second"] = round(batch_size / cpu[name], 1)
        result[f"{name}_windows_per_second"] = round(batch_size / wall[name], 1)
    for name in ("from_memory", "from_disk"):
        result[f"{name}_ratio"] = round(cpu["naive"] / cpu[name], 1)
    return result


def _turn(batches: Iterator[Any], seconds: float = 1.0) -> tuple[float, float]:
    """Processor and clock seconds of a batch, over about `seconds`."""
    next(batches)  # the threads' caches are cold after the other loader's turn
    count = 0
    wall, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        next(batches)
        count += 1
    return (time.process_time() - cpu) / count, (time.perf_counter() - wall) / count


def _mean_seconds(source: ClipSource) -> float:
    return sum(len(meta.valid) / meta.fps for meta in source.meta) / len(source)


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(threads)
