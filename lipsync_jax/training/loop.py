"""The one training loop: any task, any mesh, any number of processes."""

import contextlib
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from lipsync_jax.data.device import MeshBatches, to_mesh
from lipsync_jax.errors import Preempted, TrainingError
from lipsync_jax.training import arrays, exports
from lipsync_jax.training import mesh as mesh_lib
from lipsync_jax.training import workdir as workdir_lib
from lipsync_jax.training.checkpoints import Checkpoints, Record
from lipsync_jax.training.log import Log, about, device_memory
from lipsync_jax.training.note import note
from lipsync_jax.training.preemption import Preemption
from lipsync_jax.training.profile import Profile
from lipsync_jax.training.program import Program, Run, steps_ahead
from lipsync_jax.training.task import Metrics, Task

HostBatches = Iterator[dict[str, np.ndarray]]


@dataclass(frozen=True)
class Data:
    """Where batches come from; each process gets its part of each batch.

    Attributes:
      train: endless batches from a step on: batch t depends on the seed and t alone.
      evaluate: the held-out batches, the same at every call.
    """

    train: Callable[[int], HostBatches]
    evaluate: Callable[[], HostBatches]


def train(
    task: Task,
    config: ConfigDict,
    workdir: Path,
    data: Data,
    *,
    init_from: Path | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> dict[str, float]:
    """Trains a task, from its last checkpoint if there is one.

    Args:
      task: what is trained.
      config: see `config.base_config`.
      workdir: folder of the run: config.json, log.jsonl, tensorboard/, curves.png,
        samples/, checkpoints/, model/ and best/. All processes must see the same.
      data: where the batches come from.
      init_from: model folder to start from instead of new weights; without effect
        when the run goes on from a checkpoint.
      devices: to use, instead of all.

    Returns:
      Metrics of the last evaluation; {} if there was none.

    Raises:
      ConfigError: the batch or the mesh does not fit the devices, or the folder
        holds another run.
      ModelError: a checkpoint or `init_from` is of another architecture.
      OutputError: something cannot be written.
      TrainingError: a value was not finite.
      Preempted: a signal asked to stop; everything is saved.
    """
    mesh = mesh_lib.make(config.mesh.fsdp, devices)
    mesh_lib.check_batch(config.batch_size, config.microbatches, mesh)
    profile = Profile(config.profile, workdir / "profile")
    workdir_lib.check(workdir, config)
    program = Program(task, config.seed, mesh)
    variables = init_from and exports.load_for(task, program.shapes, init_from)
    if jax.process_index() == 0:
        workdir_lib.claim(workdir, config)

    facts = {"config": workdir_lib.as_json(config), **about()}
    with (
        Checkpoints(workdir / "checkpoints", config.keep, facts) as checkpoints,
        contextlib.closing(profile),
        Preemption() as preemption,
    ):
        if restored := checkpoints.restore(program.shapes):
            step, state, record = restored
            note(f"going on from step {step} of {config.steps}")
        else:
            step, state, record = 0, program.start(variables), Record()
        with Log(workdir, step) as log:
            parameters = exports.sizes(task.export(program.shapes))
            log.row("start", step, parameters=parameters, **facts)
            session = _Session(
                task=task,
                config=config,
                workdir=workdir,
                data=data,
                program=program,
                checkpoints=checkpoints,
                log=log,
                run=program.run(state, step),
                step=step,
                record=record,
            )
            if step < config.steps:
                session.train(profile, preemption)
            else:
                session.export("model")
            checkpoints.wait()
            digest = arrays.digest(session.run.state)
            log.row("end", session.step, digest=digest)
            note(f"step {session.step}: digest {digest}")
            return session.record.evaluation


@dataclass
class _Session:
    """A run while it lasts.

    Attributes:
      run: on the devices.
      step: number of updates given to the devices.
      record: of evaluations.
    """

    task: Task
    config: ConfigDict
    workdir: Path
    data: Data
    program: Program
    checkpoints: Checkpoints
    log: Log
    run: Run
    step: int
    record: Record

    def train(self, profile: Profile, preemption: Preemption) -> None:
        """Updates, evaluates and saves until the last step or a signal."""
        config = self.config
        bar = tqdm(
            total=config.steps,
            initial=self.step,
            unit="step",
            disable=None if jax.process_index() == 0 else True,
        )
        feed = to_mesh(self.data.train(self.step), self.program.batches)
        with bar, contextlib.closing(feed):
            first = next(feed)
            train_step, flops = self._compile(first)
            meter = _Meter(config, feed, flops, self.step)
            pending: deque[tuple[int, Metrics]] = deque()

            def settle(left: int) -> None:
                """Waits for all but the newest steps; logs those that are due."""
                while len(pending) > left:
                    step, metrics = pending.popleft()
                    jax.block_until_ready(metrics)
                    if _due(step, config.log_every):
                        bar.set_postfix_str(self._log(step, metrics, meter))

            for batch in itertools.chain([first], feed):
                self.step += 1
                step = self.step
                profile.before(step)
                with jax.profiler.StepTraceAnnotation("train", step_num=step):
                    self.run, metrics = train_step(self.run, batch)
                profile.after(step, metrics)
                pending.append((step, metrics))
                settle(steps_ahead())
                bar.update()

                last = step == config.steps
                stop = preemption.reached(step)
                evaluates = last or _due(step, config.eval_every)
                saves = last or stop or _due(step, config.save_every)
                if evaluates or saves:
                    settle(0)
                    self._check(int(self.run.first_bad))
                if evaluates:
                    saves |= self._evaluate()
                if saves:
                    self.checkpoints.save(step, self.run.state, self.record)
                if last:
                    return
                if stop:
                    self._leave(stop)
                if evaluates or saves:
                    meter.restart(step)

    def export(self, folder: str) -> None:
        """Writes the networks as they are now."""
        exports.save(
            self.workdir,
            folder,
            self.task.export(self.run.state),
            exports.metadata(self.config, self.step, self.record.evaluation),
        )

    def _compile(self, batch: Any) -> tuple[Any, float | None]:
        """The training step, and how many operations it takes on each device."""
        start = time.perf_counter()
        compiled = self.program.compile_train(batch)
        flops = (compiled.cost_analysis() or {}).get("flops")
        seconds = time.perf_counter() - start
        self.log.row("compiled", self.step, seconds=seconds, flops=flops)
        return compiled, flops

    def _log(self, step: int, metrics: Metrics, meter: "_Meter") -> str:
        """Writes the row of a step that is done; returns a summary."""
        values = {name: float(value) for name, value in metrics.items()}
        first_bad = int(values.pop("first_bad"))
        self.log.row("train", step, **values, **meter.rates(step), **device_memory())
        self._check(first_bad)
        self.checkpoints.check()
        return " ".join(f"{k}={v:.4g}" for k, v in list(values.items())[:3])

    def _check(self, first_bad: int) -> None:
        """Stops a run whose values are not finite: nothing of it is saved."""
        if not first_bad:
            return
        self.log.row("stop", self.step, reason=f"not finite at step {first_bad}")
        self.checkpoints.wait()
        raise TrainingError(
            f"step {first_bad}: a loss or parameter is not finite; the last good "
            f"checkpoint is step {self.checkpoints.newest} in {self.workdir}; lower "
            "config.optimizer.learning_rate or set config.optimizer.clip_norm, in a "
            "new --workdir"
        )

    def _evaluate(self) -> bool:
        """Measures, exports, and tells the task; whether this is the best so far."""
        results, shown = [], None
        feed = to_mesh(self.data.evaluate(), self.program.batches)
        with contextlib.closing(feed):
            for index, batch in enumerate(feed):
                shown = batch if shown is None else shown
                result = self.program.evaluate(self.run.state, batch, index)
                results.append(jax.device_get(result))
        names = results[0] if results else ()
        means = {k: float(np.mean([result[k] for result in results])) for k in names}
        improved = self._record(means)
        self.export("model")
        if improved:
            self.export("best")
        if results:
            self.log.row("eval", self.step, **means)
            pictures = self.program.preview(self.run.state, shown)
            if pictures is not None:
                self.log.pictures(self.step, np.asarray(pictures))
        self.log.draw_curves()
        # Not after a last step out of turn: a longer run would not stop there.
        if results and _due(self.step, self.config.eval_every):
            state = self.program.after_eval(self.run.state, means)
            self.run = self.run.replace(state=state)
        return improved

    def _record(self, means: dict[str, float]) -> bool:
        self.record = replace(self.record, evaluation=means)
        name, mode = self.task.best
        if not means or not math.isfinite(means[name]):
            return False
        value, best = means[name], self.record.best_value
        if best is not None and not (value < best if mode == "min" else value > best):
            return False
        self.record = replace(self.record, best_step=self.step, best_value=value)
        return True

    def _leave(self, signal: Any) -> None:
        self.checkpoints.wait()
        self.log.row("stop", self.step, reason=signal.name)
        raise Preempted(
            f"stopped by {signal.name} after step {self.step} of {self.config.steps}; "
            f"everything is saved in {self.workdir}; the same command goes on",
            exit_code=128 + signal,
        )


class _Meter:
    """How fast the steps are, since the last row or interruption."""

    def __init__(
        self, config: ConfigDict, feed: MeshBatches, flops: float | None, step: int
    ):
        self._config = config
        self._feed = feed
        self._flops = flops
        self.restart(step)

    def restart(self, step: int) -> None:
        """Starts measuring at a step that is just done."""
        self._step = step
        self._time = time.perf_counter()
        self._waited = self._feed.wait_seconds

    def rates(self, step: int) -> dict[str, float]:
        """What a row says about speed; starts anew."""
        seconds = time.perf_counter() - self._time
        speed = (step - self._step) / seconds
        rates = {
            "learning_rate": self._config.optimizer.learning_rate,
            "steps_per_second": speed,
            "examples_per_second": speed * self._config.batch_size,
            "host_wait": (self._feed.wait_seconds - self._waited) / seconds,
        }
        if self._flops:
            rates["flops_per_second"] = self._flops * speed
        self.restart(step)
        return rates


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
