"""Time of a training step, how much of the machine it uses, and PyTorch's time."""

import importlib
import itertools
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import mean, median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from lipsync_jax import models_io
from lipsync_jax.bench.inputs import random_variables
from lipsync_jax.bench.turns import torch_process
from lipsync_jax.data.device import MeshBatches, to_mesh
from lipsync_jax.data.schema import Clip
from lipsync_jax.errors import OptionError
from lipsync_jax.opencv import cv2
from lipsync_jax.systems import TASKS
from lipsync_jax.systems.expert.model import VARIANTS as EXPERTS
from lipsync_jax.training import data
from lipsync_jax.training import mesh as mesh_lib
from lipsync_jax.training.log import device_memory
from lipsync_jax.training.program import Program, steps_ahead
from lipsync_jax.training.task import Task

CONFIGS = ("expert", "wav2lip", "wav2lip_hq", "wav2lip_hd", "lipgan_unet", "lipgan")
COMPARED = ("wav2lip", "lipgan_unet", "lipgan")  # tasks that `torch_train` knows
_TURN = 3  # steps that are timed together


def bench_train(
    name: str,
    batch_size: int | None = None,
    dtype: str = "float32",
    steps: int = 15,
    sync: bool = True,
    directory: str | None = None,
    compare_torch: bool = False,
) -> dict[str, Any]:
    """Runs the trainer's own compiled step of a published configuration.

    The weights are random, the frozen expert's, too. Peak is what a large matrix
    product reaches in the same arithmetic, measured here. Operations are those of the
    method, as its convolutions are written down: a faster algorithm does not lower
    them. With `compare_torch` both take turns, each in its own process; the ratio is of
    the medians. The best turns are told, too: where cores are shared, they vary less.

    Args:
      name: one of `CONFIGS`.
      batch_size: examples per step on all devices; the configuration's when None.
      dtype: "float32" or "bfloat16".
      steps: that are timed, in turns of three.
      sync: whether the generator's sync loss is on.
      directory: prepared dataset to feed from; without one, one batch of noise.
      compare_torch: also time the step in plain PyTorch; it takes a task in
        `COMPARED`, float32, and no sync loss.

    Raises:
      OptionError: no such configuration or comparison, or PyTorch is not installed.
    """
    if name not in CONFIGS:
        raise OptionError(f"no configuration {name!r}; there are: {', '.join(CONFIGS)}")
    config = importlib.import_module(f"configs.{name}").get_config()
    if compare_torch:
        _check_comparison(config, sync, dtype)
    config.dtype = dtype
    config.batch_size = batch_size or config.batch_size
    config.data.directory = directory
    config.eval_batches = 0
    with ExitStack() as stack:
        if "expert" in config.method:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            config.method.expert = str(_random_expert(Path(folder), config.network))
        task = TASKS[config.task](config)
        step = stack.enter_context(closing(_Step(task, config, sync)))
        ours, theirs = [], []
        if compare_torch:
            torch_turn = torch_process("torch_train", name, str(config.batch_size))
            torch_turn = stack.enter_context(torch_turn)
        step.turn()  # the first one allocates
        waited = step.batches.wait_seconds
        for _ in range(max(1, steps // _TURN)):
            ours.append(step.turn())
            if compare_torch:
                theirs.append(mean(torch_turn()))
        waited = step.batches.wait_seconds - waited
        result = _describe(config, sync) | _speed(step, config, dtype, median(ours))
        # A turn has one step more than are timed.
        spent = sum(ours) * (_TURN + 1)
        result["host_wait"] = round(waited / spent, 4)
        result["fed_from"] = directory or "one batch of noise"
        result["best_step_ms"] = round(1000 * min(ours), 1)
    memory = device_memory()
    if "peak_memory" in memory:
        result["peak_memory_mb"] = round(memory["peak_memory"] / 2**20)
    if compare_torch:
        result["torch_step_ms"] = round(1000 * median(theirs), 1)
        result["torch_best_step_ms"] = round(1000 * min(theirs), 1)
        result["jax_over_torch"] = round(median(theirs) / median(ours), 3)
    return result


def _check_comparison(config: ConfigDict, sync: bool, dtype: str) -> None:
    if config.task not in COMPARED:
        raise OptionError(
            f"--compare torch knows no step of {config.task}; it knows those of: "
            f"{', '.join(COMPARED)}"
        )
    if sync and "expert" in config.method:
        raise OptionError(
            f"--compare torch knows the step of {config.task} without its sync loss; "
            "add --no_sync"
        )
    if dtype != "float32":
        raise OptionError(f"--compare torch trains in float32, not in {dtype}")


def _describe(config: ConfigDict, sync: bool) -> dict[str, Any]:
    device = jax.devices()[0]
    described = {
        "task": config.task,
        "network": config.network,
        "batch_size": config.batch_size,
        "dtype": config.dtype,
        "device": f"{jax.device_count()} x {device.platform}: {device.device_kind}",
    }
    return described | ({"sync_loss": sync} if "expert" in config.method else {})


def _speed(
    step: "_Step", config: ConfigDict, dtype: str, seconds: float
) -> dict[str, Any]:
    speed = step.operations() / seconds
    peak = peak_speed(dtype) * jax.device_count()
    return {
        "step_ms": round(1000 * seconds, 1),
        "examples_per_second": round(config.batch_size / seconds, 2),
        "tflops": round(speed / 1e12, 4),
        "peak_tflops": round(peak / 1e12, 4),
        "fraction_of_peak": round(speed / peak, 3),
    }


def peak_speed(dtype: str) -> float:
    """Operations per second of a large matrix product on the first device."""
    size = 2048 if jax.default_backend() == "cpu" else 8192
    x = jnp.ones((size, size), dtype)
    product = jax.jit(jnp.matmul).lower(x, x).compile()
    times = []
    for _ in range(6):
        start = time.perf_counter()
        product(x, x).block_until_ready()
        times.append(time.perf_counter() - start)
    return 2 * size**3 / median(times[1:])


class _Step:
    """A task's step on all devices, with its state and batches.

    Attributes:
      batches: where they come from; knows how long it was waited for.
    """

    batches: MeshBatches

    def __init__(self, task: Task, config: ConfigDict, sync: bool):
        mesh = mesh_lib.make(config.mesh.fsdp)
        mesh_lib.check_batch(config.batch_size, config.microbatches, mesh)
        self._task = task
        program = Program(task, config.seed, mesh)
        state = program.start()
        if sync and "expert" in config.method:
            state = program.after_eval(state, {"sync": np.float32(0)})
        if config.data.directory:
            host = data.from_config(config, task.examples).train(0)
        else:
            host = itertools.repeat(_noise_batch(task, config.batch_size))
        self.batches = to_mesh(host, program.batches)
        self._batch = next(self.batches)
        self._run = program.run(state, 0)
        self._step: Callable[..., Any] = program.compile_train(self._batch)

    def turn(self) -> float:
        """Seconds per step of a few, after one that warms the caches again."""
        self._steps(1)
        start = time.perf_counter()
        self._steps(_TURN)
        return (time.perf_counter() - start) / _TURN

    def operations(self) -> float:
        """Floating-point operations of a step, from its definition.

        Lowered for an accelerator, where no fast algorithm replaces a convolution.
        """
        shapes = jax.eval_shape(lambda run: run.state, self._run)
        key = jax.eval_shape(jax.random.key, 0)
        traced = jax.jit(self._task.train_step).trace(shapes, self._batch, key)
        lowered = traced.lower(lowering_platforms=("tpu",))
        return lowered.cost_analysis()["flops"]

    def close(self) -> None:
        """Ends the threads that make batches."""
        self.batches.close()

    def _steps(self, count: int) -> None:
        pending: deque[Any] = deque()
        for batch in itertools.islice(self.batches, count):
            self._run, metrics = self._step(self._run, batch)
            pending.append(metrics)
            if len(pending) > steps_ahead():
                jax.block_until_ready(pending.popleft())
        jax.block_until_ready((self._run, pending))


def _noise_batch(task: Task, batch_size: int) -> dict[str, np.ndarray]:
    """Examples of a clip of noise."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (160, 160, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    count = 25
    clip = Clip(
        id="noise",
        frames=[jpeg] * count,
        box=np.zeros((count, 4), np.float32),
        landmarks=np.zeros((0, 478, 2), np.float32),
        valid=np.ones(count, bool),
        fps=25.0,
        audio=rng.integers(-(2**14), 2**14, 16_000, np.int16),
    )
    rows = [task.examples.example(clip, 5, rng) for _ in range(batch_size)]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _random_expert(folder: Path, generator: str) -> Path:
    """A model folder with an expert for the size that a generator draws."""
    resolution = models_io.build(generator).resolution
    name = next(k for k, v in EXPERTS.items() if v.resolution == resolution)
    variables = random_variables(models_io.build(name))
    return models_io.save(folder / "expert", name, variables)
