"""Checkpoints of a run: asynchronous, whole or absent, checked when read.

A checkpoint holds the task's state by the paths of its arrays, and a small JSON
record: format, configuration, versions, evaluation results, checksum. The position
in the data is the step number. A folder gets its final name when it is complete.
"""

import contextlib
import dataclasses
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils

from lipsync_jax.errors import ModelError, OutputError, TrainingError
from lipsync_jax.training import arrays
from lipsync_jax.training.note import note
from lipsync_jax.training.task import State

FORMAT = 1


@dataclass(frozen=True)
class Record:
    """What is known of a run besides its arrays.

    Attributes:
      evaluation: metrics of the last evaluation.
      best_step: step of the best evaluation so far, 0 before the first.
      best_value: its metric.
    """

    evaluation: dict[str, float] = field(default_factory=dict)
    best_step: int = 0
    best_value: float | None = None


class Checkpoints:
    """The checkpoint folder of one run; use as a context manager."""

    def __init__(self, folder: Path, keep: int, about: dict[str, Any]):
        """Opens or creates the folder.

        Args:
          folder: in which each checkpoint is a folder named by its step.
          keep: how many of the newest to keep, besides the best.
          about: JSON values stored with each checkpoint (configuration, versions).

        Raises:
          OutputError: the folder cannot be created.
        """
        self._folder = folder.absolute()
        self._about = about
        self._writing = 0  # step of the checkpoint on its way
        self._policy = _NewestAndBest(keep)
        options = ocp.CheckpointManagerOptions(
            step_format_fixed_length=8,
            cleanup_tmp_directories=True,
            preservation_policy=self._policy,
        )
        with self._output_errors("open"):
            self._manager = ocp.CheckpointManager(self._folder, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.wait()
            self._manager.close()
        else:  # it matters more than what a save may have to say
            with contextlib.suppress(Exception):
                self._manager.close()

    @property
    def newest(self) -> int:
        """Step of the newest checkpoint, 0 if there is none."""
        return self._manager.latest_step() or 0

    def save(self, step: int, state: State, record: Record) -> None:
        """Starts writing a checkpoint, after the one before is complete.

        Raises:
          OutputError: this or the earlier checkpoint cannot be written.
        """
        self.wait()
        leaves = arrays.named(state)
        meta = {
            **self._about,
            "format": FORMAT,
            "record": dataclasses.asdict(record),
            "arrays": _describe(leaves),
            "checksum": int(arrays.checksum(state)),
        }
        self._writing, self._policy.best_step = step, record.best_step
        with self._output_errors(f"write step {step}"):
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(leaves), meta=ocp.args.JsonSave(meta)
                ),
                force=True,
            )

    def check(self) -> None:
        """Raises what went wrong with the checkpoint on its way; does not wait.

        Raises:
          OutputError: it cannot be written.
        """
        with self._output_errors(f"write step {self._writing}"):
            self._manager.check_for_errors()

    def wait(self) -> None:
        """Returns when everything is on disk.

        Raises:
          OutputError: it could not be written.
        """
        with self._output_errors(f"write step {self._writing}"):
            self._manager.wait_until_finished()

    def restore(self, like: State) -> tuple[int, State, Record] | None:
        """The newest checkpoint that is whole; damaged ones are set aside.

        Args:
          like: shapes, dtypes and shardings of the state.

        Returns:
          Step, state and record; None if nothing was ever saved.

        Raises:
          ModelError: the checkpoint is of another architecture.
          TrainingError: all checkpoints are damaged.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            if found := self._read(step, like):
                return step, *found
            self._set_aside(step)
        if steps:
            raise TrainingError(
                f"{self._folder}: no checkpoint can be read; delete the folder to "
                "start again, or bring back a copy"
            )
        return None

    def _read(self, step: int, like: State) -> tuple[State, Record] | None:
        """A checkpoint, or None if it is damaged, on which all processes agree."""
        folder = epath.Path(self._folder) / f"{step:08d}"
        want = arrays.named(like)
        problem = leaves = meta = None
        try:
            meta = ocp.JsonCheckpointHandler().restore(folder / "meta")
            different = _difference(meta["arrays"], _describe(want))
        except Exception as error:  # a damaged file can raise anything
            problem, different = error, None
        if different:
            raise ModelError(
                f"{folder}: is a checkpoint of another architecture ({different}); "
                "choose another --workdir or the configuration it was made with"
            )
        if problem is None:
            try:
                # The handler itself: the manager waits for processes that failed.
                leaves = ocp.StandardCheckpointHandler().restore(
                    folder / "state", args=ocp.args.StandardRestore(want)
                )
            except Exception as error:  # likewise
                problem = error
        if not _all_processes(problem is None):
            reason = _reason(problem) if problem else "another process cannot read it"
            _say_damaged(folder, reason)
            return None
        state = arrays.unnamed(leaves, like)
        if int(arrays.checksum(state)) != meta["checksum"]:
            _say_damaged(folder, "its checksum differs")
            return None
        return state, Record(**meta["record"])

    def _set_aside(self, step: int) -> None:
        """Moves a damaged checkpoint where it is in nobody's way."""
        if jax.process_index() == 0:
            place = self._folder.parent / "damaged" / f"{step:08d}"
            with self._output_errors("move a damaged checkpoint"):
                shutil.rmtree(place, ignore_errors=True)
                place.parent.mkdir(exist_ok=True)
                (self._folder / f"{step:08d}").rename(place)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("damaged checkpoint set aside")
        self._manager.reload()

    @contextlib.contextmanager
    def _output_errors(self, action: str) -> Iterator[None]:
        """Orbax reports a full disk by several types; none is worth a traceback."""
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:
            raise OutputError(
                f"{self._folder}: cannot {action}: {_reason(error)}; earlier "
                "checkpoints are kept; make room and run the same command again"
            ) from error


class _NewestAndBest(ocp.checkpoint_managers.PreservationPolicy):
    """Keeps the newest checkpoints and the one of the best evaluation."""

    def __init__(self, keep: int):
        self._keep = keep
        self.best_step = 0

    def should_preserve(self, checkpoints, *, context) -> list[bool]:
        newest = {info.step for info in checkpoints[-self._keep :]}
        return [info.step in newest | {self.best_step} for info in checkpoints]


def _reason(error: Exception) -> str:
    """What the operating system said, out of a page of TensorStore's."""
    error = error.__cause__ or error
    if code := re.search(r"os_error_code='(\d+)'", str(error)):
        return os.strerror(int(code[1]))
    return str(error).splitlines()[0][:200] if str(error) else repr(error)


def _describe(leaves: dict[str, Any]) -> dict[str, str]:
    return {
        path: f"{np.dtype(leaf.dtype)}{list(leaf.shape)}"
        for path, leaf in leaves.items()
    }


def _difference(found: dict[str, str], want: dict[str, str]) -> str:
    """The first array that differs, in words; empty if none."""
    for path in sorted(found.keys() | want.keys()):
        if found.get(path) != want.get(path):
            return (
                f"{path} is {found.get(path, 'absent')}, "
                f"this run needs {want.get(path, 'none')}"
            )
    return ""


def _all_processes(ok: bool) -> bool:
    if jax.process_count() == 1:
        return ok
    return bool(multihost_utils.process_allgather(np.array(ok)).all())


def _say_damaged(folder: epath.Path, problem: str) -> None:
    place = folder.parent.parent / "damaged"
    note(f"{folder}: damaged ({problem}); moved to {place}")
