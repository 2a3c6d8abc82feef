"""Frames per second of a generator, and of the same layers in PyTorch."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lipsync_jax.errors import OptionError
from lipsync_jax.nn.fold import fold_batch_norm
from lipsync_jax.systems.wav2lip.model import GENERATORS, Wav2Lip


def bench_network(
    name: str, batch_size: int, dtype: str, rounds: int, compare_torch: bool
) -> dict[str, Any]:
    """Measures the folded network with random weights on this machine.

    With `compare_torch` both take turns, so a machine whose speed drifts changes
    both; the ratio is of the medians.

    Args:
      name: generator, key of `GENERATORS`.
      batch_size: frames per call.
      dtype: "float32" or "bfloat16" (PyTorch then runs float16 on a GPU).
      rounds: timed calls of each.
      compare_torch: also run PyTorch eager (channels_last).

    Raises:
      OptionError: unknown generator, or PyTorch is wanted and not installed.
    """
    if name not in GENERATORS:
        raise OptionError(f"no generator {name!r}; there are: {', '.join(GENERATORS)}")
    module = GENERATORS[name]
    contestants = {"jax": _jax(module, batch_size, dtype)}
    if compare_torch:
        contestants["torch"] = _torch(module, batch_size, dtype)
    seconds: dict[str, list[float]] = {key: [] for key in contestants}
    for call in contestants.values():
        call()
    for _ in range(rounds):
        for key, call in contestants.items():
            start = time.perf_counter()
            call()
            seconds[key].append(time.perf_counter() - start)
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


def _inputs(module: Wav2Lip, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    side = module.resolution
    return (
        rng.uniform(-4, 4, (batch_size, 80, 16, 1)).astype(np.float32),
        rng.random((batch_size, side, side, 6), np.float32),
    )


def _jax(module: Wav2Lip, batch_size: int, dtype: str) -> Callable[[], None]:
    inputs = _inputs(module, batch_size)
    first = tuple(x[:1] for x in inputs)
    variables = jax.jit(module.init)(jax.random.key(0), *first)
    network = module.clone(folded=True, dtype=jnp.dtype(dtype))
    arguments = jax.device_put((fold_batch_norm(variables), *inputs))
    compiled = jax.jit(network.apply).lower(*arguments).compile()
    return lambda: compiled(*arguments).block_until_ready()


def _torch(module: Wav2Lip, batch_size: int, dtype: str) -> Callable[[], None]:
    try:
        import torch

        from lipsync_jax.bench.torch_network import TorchWav2Lip
    except ImportError:
        raise OptionError(
            "--compare torch needs PyTorch: pip install 'lipsync_jax[test]'"
        ) from None
    if module != GENERATORS["wav2lip"]:
        raise OptionError("--compare torch knows the network wav2lip only")
    gpu = torch.cuda.is_available()
    kind = torch.float16 if gpu and dtype == "bfloat16" else torch.float32
    place = {"device": "cuda" if gpu else "cpu", "dtype": kind}
    # channels_last is PyTorch's fastest layout on tensor cores; on CPUs the
    # published layout is, so each gets its best.
    layout = torch.channels_last if gpu else torch.contiguous_format
    network = TorchWav2Lip(module).to(**place).to(memory_format=layout)
    mel, face = (
        torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
        .to(**place)
        .contiguous(memory_format=layout)
        for x in _inputs(module, batch_size)
    )

    def call() -> None:
        with torch.inference_mode():
            network(mel, face)
        if gpu:
            torch.cuda.synchronize()

    return call
