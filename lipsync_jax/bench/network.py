"""Frames per second of a generator, and of the same layers in PyTorch."""

from collections.abc import Callable
from contextlib import ExitStack
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp

from lipsync_jax.bench.inputs import random_inputs, random_variables
from lipsync_jax.bench.turns import torch_process, turn
from lipsync_jax.errors import OptionError
from lipsync_jax.nn.fold import fold_batch_norm
from lipsync_jax.systems.lipgan import model as lipgan
from lipsync_jax.systems.wav2lip import model as wav2lip

Generator = wav2lip.Wav2Lip | lipgan.LipGAN
GENERATORS: dict[str, Generator] = {**wav2lip.GENERATORS, **lipgan.GENERATORS}


def bench_network(
    name: str, batch_size: int, dtype: str, rounds: int, compare_torch: bool
) -> dict[str, Any]:
    """Measures the folded network with random weights on this machine.

    With `compare_torch` both take turns, each in its own process; the ratio is of the
    medians.

    Args:
      name: generator, key of `GENERATORS`.
      batch_size: frames per call.
      dtype: "float32" or "bfloat16" (PyTorch then runs float16 on a GPU).
      rounds: turns of each, of three timed calls.
      compare_torch: also run PyTorch eager, in the memory layout it is faster in.

    Raises:
      OptionError: unknown generator, or PyTorch is wanted and not installed.
    """
    if name not in GENERATORS:
        raise OptionError(f"no generator {name!r}; there are: {', '.join(GENERATORS)}")
    module = GENERATORS[name]
    seconds: dict[str, list[float]] = {"jax": []}
    ours = _jax(module, batch_size, dtype)
    with ExitStack() as stack:
        if compare_torch:
            theirs = torch_process("torch_network", name, str(batch_size), dtype)
            theirs = stack.enter_context(theirs)
            seconds["torch"] = []
        for _ in range(rounds):
            seconds["jax"] += turn(ours)
            if compare_torch:
                seconds["torch"] += theirs()
    device = jax.devices()[0]
    result: dict[str, Any] = {
        "network": name,
        "batch_size": batch_size,
        "dtype": dtype,
        "device": f"{device.platform}: {device.device_kind}",
    }
    for key, times in seconds.items():
        result[f"{key}_frames_per_second"] = round(batch_size / median(times), 2)
        result[f"{key}_best"] = round(batch_size / min(times), 2)
    if compare_torch:
        result["jax_over_torch"] = round(
            median(seconds["torch"]) / median(seconds["jax"]), 3
        )
    return result


def _jax(module: Generator, batch_size: int, dtype: str) -> Callable[[], None]:
    network = module.clone(folded=True, dtype=jnp.dtype(dtype))
    folded = fold_batch_norm(random_variables(module), module.norm_epsilon)
    arguments = jax.device_put((folded, *random_inputs(module, batch_size)))
    compiled = jax.jit(network.apply).lower(*arguments).compile()
    return lambda: compiled(*arguments).block_until_ready()
