"""Many `sync` runs with one compiled model."""

import csv
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lipsync_jax.errors import LipSyncError, OptionError

COLUMNS = ("face", "audio", "out")


@dataclass(frozen=True)
class Job:
    """One line of a jobs file; paths are relative to that file."""

    line: int
    face: Path
    audio: Path
    out: Path


def read_jobs(path: str | os.PathLike) -> list[Job]:
    """Reads a CSV with the header `face,audio,out`.

    Raises:
      OptionError: missing file or column, an empty cell, or two jobs with one output.
    """
    path = Path(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, restval="")
            if missing := [c for c in COLUMNS if c not in (rows.fieldnames or ())]:
                raise OptionError(
                    f"{path}: no column {', '.join(missing)}; the first line must be "
                    f"{','.join(COLUMNS)}"
                )
            jobs = [_job(path, rows.line_num, row) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OptionError(f"{path}: cannot be read as CSV: {error}") from None
    if not jobs:
        raise OptionError(f"{path}: holds no jobs")
    outputs: dict[Path, int] = {}
    for job in jobs:
        if (first := outputs.setdefault(job.out.resolve(), job.line)) != job.line:
            raise OptionError(
                f"{path}: lines {first} and {job.line} both write {job.out}"
            )
    return jobs


def _job(path: Path, line: int, row: dict[str, str]) -> Job:
    if empty := [column for column in COLUMNS if not row[column].strip()]:
        raise OptionError(f"{path}: line {line}: {', '.join(empty)} is empty")
    return Job(line, *(path.parent / row[column].strip() for column in COLUMNS))


def run_jobs(
    jobs: list[Job], run: Callable[[Job], object]
) -> Iterator[tuple[Job, LipSyncError | None]]:
    """Runs every job; a failed one is yielded with its error, the rest go on."""
    for job in jobs:
        try:
            run(job)
        except LipSyncError as error:
            yield job, error
        else:
            yield job, None
