"""What networks are measured with: noise for both frameworks, and random weights."""

from typing import Any

import flax.linen as nn
import numpy as np
from flax.traverse_util import unflatten_dict

from lipsync_jax import models_io


def random_inputs(module: nn.Module, batch_size: int) -> tuple[np.ndarray, ...]:
    """What a call takes, float32: features of sound in [-4, 4], pictures in [0, 1]."""
    rng = np.random.default_rng(0)

    def noise(shape: tuple[int, ...]) -> np.ndarray:
        low, high = (-4, 4) if shape[-1] == 1 else (0, 1)
        return rng.uniform(low, high, (batch_size, *shape)).astype(np.float32)

    return tuple(noise(shape) for shape in module.input_shapes)


def random_variables(module: nn.Module) -> dict[str, Any]:
    """Weights and statistics, float32, that keep activations of order one.

    Compiling the module's own `init` takes longer than most measurements.
    """
    rng = np.random.default_rng(1)

    def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
        noise = rng.standard_normal(shape).astype(np.float32)
        if name == "kernel":
            return noise * np.float32(np.prod(shape[:-1]) ** -0.5)
        return 0.1 * abs(noise) + 1 if name in ("scale", "var") else 0.1 * noise

    shapes = models_io.shapes(module)
    return unflatten_dict({path: draw(path[-1], shapes[path]) for path in shapes})
