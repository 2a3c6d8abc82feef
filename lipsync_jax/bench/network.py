"""Frames per second of a generator, and of the same layers in PyTorch."""

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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

    With `compare_torch` both take turns, each in its own process, so that a machine
    whose speed drifts changes both; the ratio is of the medians.

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
    if compare_torch and name != "wav2lip":
        raise OptionError("--compare torch knows the network wav2lip only")
    seconds: dict[str, list[float]] = {"jax": []}
    ours = _jax(module, batch_size, dtype)
    with ExitStack() as stack:
        if compare_torch:
            theirs = torch_process("torch_network", str(batch_size), dtype)
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


def turn(call: Callable[[], None]) -> list[float]:
    """Seconds of three calls, after one that warms the caches again."""
    times = []
    for _ in range(4):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times[1:]


def random_inputs(module: Generator, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise as speech and as pictures."""
    rng = np.random.default_rng(0)
    audio, face = module.input_shapes
    return (
        rng.uniform(-4, 4, (batch_size, *audio)).astype(np.float32),
        rng.random((batch_size, *face), np.float32),
    )


def _jax(module: Generator, batch_size: int, dtype: str) -> Callable[[], None]:
    inputs = random_inputs(module, batch_size)
    first = tuple(x[:1] for x in inputs)
    variables = jax.jit(module.init)(jax.random.key(0), *first)
    network = module.clone(folded=True, dtype=jnp.dtype(dtype))
    arguments = jax.device_put(
        (fold_batch_norm(variables, module.norm_epsilon), *inputs)
    )
    compiled = jax.jit(network.apply).lower(*arguments).compile()
    return lambda: compiled(*arguments).block_until_ready()


@contextmanager
def torch_process(program: str, *words: str) -> Iterator[Callable[[], list[float]]]:
    """PyTorch in a process of its own, as its users run it; gives one turn a call.

    Args:
      program: module of this package that answers lines with lists of seconds.
      words: its arguments.

    Raises:
      OptionError: PyTorch is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise OptionError(
            "--compare torch needs PyTorch: pip install 'lipsync_jax[test]'"
        )
    command = [sys.executable, "-m", f"lipsync_jax.bench.{program}"]
    with subprocess.Popen(
        [*command, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def run_turn() -> list[float]:
            process.stdin.write("\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield run_turn
        process.stdin.close()
