"""Functions of a batch, compiled once and spread over the devices of this host."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lipsync_jax.training import mesh


class Batched:
    """A function compiled for one batch size, whatever is given to it.

    Attributes:
      size: rows per call: a multiple of the number of devices.
    """

    def __init__(self, function: Callable, variables: Any, size: int):
        """Moves the variables to the devices.

        Args:
          function: (variables, *arrays) -> an array; the first axis of all arrays is
            the batch.
          variables: its first argument, the same at every call.
          size: rows per call, at least.
        """
        devices = mesh.make(devices=jax.local_devices())
        self.size = -(-size // devices.size) * devices.size
        self._split = mesh.by_batch(devices)
        self._variables = jax.device_put(variables, mesh.replicated(devices))
        self._function = jax.jit(function)

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        """The function's values for up to `size` rows."""
        rows = len(arrays[0])
        padded = [
            np.pad(array, [(0, self.size - rows)] + [(0, 0)] * (array.ndim - 1))
            for array in arrays
        ]
        values = self._function(
            self._variables, *(jax.device_put(array, self._split) for array in padded)
        )
        return np.asarray(values)[:rows]
