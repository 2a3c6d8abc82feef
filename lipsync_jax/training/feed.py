"""Batches on their way to the devices."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import NamedSharding

from lipsync_jax.inference.prefetch import prefetch
from lipsync_jax.training.task import Batch

HostBatches = Iterator[dict[str, np.ndarray]]
_AHEAD = 2  # batches on the devices before they are needed


@dataclass(frozen=True)
class Data:
    """Where batches come from; each process gets its part of each batch.

    Attributes:
      train: endless batches from a step on: batch t depends on the seed and t alone.
      evaluate: the held-out batches, the same at every call.
    """

    train: Callable[[int], HostBatches]
    evaluate: Callable[[], HostBatches]


def to_mesh(batches: HostBatches, sharding: NamedSharding) -> Iterator[Batch]:
    """Puts each process's part of a batch on its devices."""
    try:
        for batch in batches:
            yield {
                name: jax.make_array_from_process_local_data(sharding, value)
                for name, value in batch.items()
            }
    finally:
        if hasattr(batches, "close"):
            batches.close()


class Feed:
    """Batches on the mesh, prepared ahead by a thread; measures the waiting.

    Attributes:
      waited: seconds that the consumer waited for batches.
    """

    def __init__(self, batches: HostBatches, sharding: NamedSharding):
        self._batches = prefetch(to_mesh(batches, sharding), _AHEAD)
        self.waited = 0.0

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        start = time.perf_counter()
        batch = next(self._batches)
        self.waited += time.perf_counter() - start
        return batch

    def close(self) -> None:
        """Ends the thread."""
        self._batches.close()
