"""Batches of training examples, shuffled, on any number of processes.

Global batch t is a function of the seed and t alone: clips without a usable window are
left out before the shuffle, an example never fails, and what is random in element i is
drawn from (seed, i). So the position in the data is the step number, and process h of
n simply takes the h-th part of each batch.
"""

import sys
from collections import Counter
from dataclasses import replace
from functools import lru_cache

import grain
import numpy as np

from lipsync_jax.data.examples import Examples
from lipsync_jax.data.memory import ClipMemory
from lipsync_jax.data.record import DamagedRecord
from lipsync_jax.data.schema import ClipMeta
from lipsync_jax.data.source import ClipSource
from lipsync_jax.errors import ConfigError, DataError

Batch = dict[str, np.ndarray]


def train_batches(
    source: ClipSource,
    examples: Examples,
    *,
    batch_size: int,
    seed: int,
    step: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 8,
    memory: int = 2**30,
) -> grain.DatasetIterator[Batch]:
    """Endless batches: in each epoch every usable clip once, in a new order.

    Args:
      source: the clips.
      examples: how an example is taken from a clip.
      batch_size: of all processes together.
      seed: 0 <= seed < 2**32.
      step: number of the first batch; the iterator's whole state is
        `{"next_index": step}` and can be set.
      process_index, process_count: which part of each batch to make.
      threads: that make batches; as many batches are kept ready.
      memory: bytes for keeping clips and decoded frames, so that a small dataset is
        read and decoded only once.

    Returns:
      Iterator of {name: (batch_size / process_count, ...)}; call `close()` when done.

    Raises:
      ConfigError: the batch cannot be divided.
      DataError: no clip has a usable window.
    """
    draw = _Draw(source, examples, seed, memory)
    dataset = _dataset(draw, batch_size, seed, process_index, process_count)
    batches = _start(dataset, threads)
    batches.set_state({"next_index": step})
    return batches


def eval_batches(
    source: ClipSource,
    examples: Examples,
    *,
    batch_size: int,
    batches: int,
    seed: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 8,
) -> grain.DatasetIterator[Batch]:
    """The same `batches` batches at every call; otherwise as `train_batches`.

    Examples are not augmented.
    """
    held_out = examples.held_out or examples.example
    draw = _Draw(source, replace(examples, example=held_out), seed)
    dataset = _dataset(draw, batch_size, seed, process_index, process_count)
    return _start(dataset[:batches], threads)


def usable_clips(source: ClipSource, examples: Examples) -> np.ndarray:
    """Positions of the clips that have a window; warns of those that have none.

    Raises:
      DataError: no clip has one.
    """
    positions, reasons = [], Counter()
    for position, meta in enumerate(source.meta):
        if len(examples.starts(meta)):
            positions.append(position)
        else:
            reasons[_why_unusable(meta)] += 1
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    if not positions:
        raise DataError(f"{source.name}: no clip can be used: {told}")
    if reasons:
        source.report.say(
            f"{source.name}: {reasons.total()} of {len(source)} clips cannot be used: "
            f"{told}"
        )
    return np.array(positions)


def _why_unusable(meta: ClipMeta) -> str:
    if not meta.valid.any():
        return "without a face"
    if not meta.samples:
        return "without sound"
    return "too short, or with too many gaps or too little sound"


class _Draw(grain.transforms.RandomMap):
    """Number of an example in the endless sequence -> the example."""

    def __init__(
        self, source: ClipSource, examples: Examples, seed: int, memory: int = 0
    ):
        self._source = source
        self._memory = ClipMemory(source, memory)
        self._examples = examples
        self._seed = seed
        self._clips = usable_clips(source, examples)
        # Two epochs: the threads may be at work on both sides of a boundary. Grain's
        # own shuffle takes milliseconds for an element of a small dataset.
        self._epoch_order = lru_cache(maxsize=2)(self._permuted)

    def random_map(self, number: int, rng: np.random.Generator) -> Batch:
        """The example; of the next clip in turn if that one has become unreadable."""
        count = len(self._clips)
        for turn in range(number, number + 2 * count):
            epoch, place = divmod(turn, count)
            position = int(self._epoch_order(epoch)[place])
            try:
                return self._example(position, rng)
            except DamagedRecord as error:
                self._source.note_damage(position, error)
        raise DataError(f"{self._source.name}: no usable clip is left")

    def _permuted(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self._seed, epoch]).permutation(self._clips)

    def _example(self, position: int, rng: np.random.Generator) -> Batch:
        starts = self._examples.starts(self._source.meta[position])
        clip = self._memory[position]
        return self._examples.example(clip, int(rng.choice(starts)), rng)


def _dataset(
    draw: _Draw, batch_size: int, seed: int, process_index: int, process_count: int
) -> grain.MapDataset[Batch]:
    """Batch t of this process at index t."""
    if batch_size < 1 or batch_size % process_count:
        raise ConfigError(
            f"batch_size {batch_size}: cannot be shared by {process_count} processes; "
            f"use a multiple of {process_count}"
        )
    drawn = grain.MapDataset.range(sys.maxsize).seed(seed).random_map(draw)
    # Block t * n + h is the h-th part of batch t: batches do not depend on n, not even
    # in the order of their examples.
    blocks = drawn.batch(batch_size // process_count, drop_remainder=True)
    return blocks[process_index::process_count]


def _start(
    dataset: grain.MapDataset[Batch], threads: int
) -> grain.DatasetIterator[Batch]:
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    return iter(dataset.to_iter_dataset(options))
