"""What a run writes down: JSON lines, TensorBoard, pictures. Process 0 writes."""

import contextlib
import importlib.metadata
import io
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np

from lipsync_jax.errors import OutputError
from lipsync_jax.training import curves
from lipsync_jax.training.workdir import write

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


class Log:
    """The log of one run; use as a context manager.

    `log.jsonl` holds one row per line, each with its `kind` (start, compiled, train,
    eval, stop, end), `step` and `time`.
    """

    def __init__(self, workdir: Path, step: int):
        """Opens the log where a run stands; rows of later steps are dropped.

        Raises:
          OutputError: the folder cannot be written.
        """
        self._workdir = workdir
        self._rows = workdir / "log.jsonl"
        self._writes = jax.process_index() == 0
        if not self._writes:
            return
        with self._output_errors():
            kept = [row for row in read(self._rows) if row["step"] <= step]
            write(self._rows, "".join(json.dumps(row) + "\n" for row in kept))
            self._file = self._rows.open("a", encoding="utf-8")
            self._board = _summary_writer()(
                str(workdir / "tensorboard"), purge_step=step + 1
            )

    def __enter__(self) -> "Log":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writes:
            with self._output_errors():
                self._file.close()
                self._board.close()

    def row(self, kind: str, step: int, **values: Any) -> None:
        """Appends a row; numbers of train and eval rows go to TensorBoard, too.

        Raises:
          OutputError: the disk is full.
        """
        if not self._writes:
            return
        row = {"kind": kind, "step": step, "time": time.time(), **values}
        with self._output_errors():
            self._file.write(json.dumps(_plain(row), allow_nan=False) + "\n")
            self._file.flush()
            if kind in ("train", "eval"):
                for name, value in values.items():
                    self._board.add_scalar(f"{kind}/{name}", value, step)

    def pictures(self, step: int, images: np.ndarray) -> None:
        """Writes (N, H, W, 3) uint8, one below the other, as a sample."""
        if not self._writes:
            return
        from PIL import Image

        grid = np.concatenate(list(images))
        file = io.BytesIO()
        Image.fromarray(grid).save(file, "PNG")
        with self._output_errors():
            folder = self._workdir / "samples"
            folder.mkdir(exist_ok=True)
            write(folder / f"step_{step:08d}.png", file.getvalue())
            self._board.add_image("samples", grid, step, dataformats="HWC")

    def draw_curves(self) -> None:
        """Redraws curves.png from the rows."""
        if self._writes:
            with self._output_errors():
                write(self._workdir / "curves.png", curves.draw(read(self._rows)))

    @contextlib.contextmanager
    def _output_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{self._workdir}: cannot be written: {error.strerror}"
            ) from None


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a log.jsonl; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text("utf-8").splitlines():
        with contextlib.suppress(ValueError):
            rows.append(json.loads(line))
    return rows


def about() -> dict[str, Any]:
    """Versions and devices, for the record."""
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    from lipsync_jax import __version__

    return {
        "lipsync_jax": __version__,
        "git": _git_hash(),
        "versions": versions,
        "devices": [str(device) for device in jax.devices()],
        "device_kind": jax.devices()[0].device_kind,
        "processes": jax.process_count(),
    }


def device_memory() -> dict[str, int]:
    """Bytes in use and at most so far on the first device, where it can tell."""
    stats = jax.local_devices()[0].memory_stats() or {}
    names = {"bytes_in_use": "memory", "peak_bytes_in_use": "peak_memory"}
    return {new: stats[old] for old, new in names.items() if old in stats}


def _summary_writer() -> Any:
    """The class; tensorboardX alone would import PyTorch, for nothing we use."""
    hide = "torch" not in sys.modules
    if hide:
        sys.modules["torch"] = None  # an import of it fails
    try:
        from tensorboardX import SummaryWriter
    finally:
        if hide:
            del sys.modules["torch"]
    return SummaryWriter


def _git_hash() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:  # no git here
        return None
    return done.stdout.strip() or None


def _plain(value: Any) -> Any:
    """JSON has no NaN: values that are not finite become null."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
