"""Batches on the mesh before they are asked for."""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import jax
import numpy as np


def to_mesh(
    batches: Iterator[Mapping[str, np.ndarray]],
    sharding: jax.sharding.Sharding,
    ahead: int = 2,
) -> "MeshBatches":
    """Moves host batches to the devices, `ahead` of their use.

    Args:
      batches: this process's part of each global batch; closed with the result.
      sharding: of the global arrays, split on the first axis.
      ahead: batches that wait on the devices.
    """
    return MeshBatches(batches, sharding, ahead)


class MeshBatches(Iterator[dict[str, jax.Array]]):
    """Iterator over batches on the mesh; see `to_mesh`.

    Attributes:
      wait_seconds: how long `next` has waited for batches so far.
    """

    def __init__(
        self,
        batches: Iterator[Mapping[str, np.ndarray]],
        sharding: jax.sharding.Sharding,
        ahead: int,
    ):
        self.wait_seconds = 0.0
        self._batches = batches
        self._sharding = sharding
        # One thread, so batches stay in order.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="to-mesh")
        self._ready: deque[Future] = deque()
        for _ in range(ahead):
            self._fetch_one()

    def __next__(self) -> dict[str, jax.Array]:
        if not self._ready:
            raise StopIteration
        start = time.perf_counter()
        try:
            batch = self._ready.popleft().result()
        except StopIteration:
            self._ready.clear()
            raise
        finally:
            self.wait_seconds += time.perf_counter() - start
        self._fetch_one()
        return batch

    def close(self) -> None:
        """Ends the thread and the host's iterator; what is ready is dropped."""
        self._thread.shutdown(cancel_futures=True)
        self._ready.clear()
        if hasattr(self._batches, "close"):
            self._batches.close()

    def _fetch_one(self) -> None:
        self._ready.append(self._thread.submit(self._fetch))

    def _fetch(self) -> dict[str, jax.Array]:
        return {
            name: jax.make_array_from_process_local_data(self._sharding, array)
            for name, array in next(self._batches).items()
        }
