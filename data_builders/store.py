"""Finished videos on disk: what makes a killed build continue where it stopped."""

import contextlib
import json
import os
import pickle
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from data_builders.video import Moved, Rejection, Video
from lipsync_jax.data.schema import Clip
from lipsync_jax.errors import OutputError


@dataclass
class Outcome:
    """What became of a video.

    Attributes:
        clips: how many.
        frames: how many in all of them.
        rejected: what became no clip.
        moved: clips whose sound was moved.
    """

    clips: int = 0
    frames: int = 0
    rejected: list[Rejection] = field(default_factory=list)
    moved: list[Moved] = field(default_factory=list)


@dataclass(frozen=True)
class Store:
    """A folder with two files for each finished video: clips and outcome.

    The outcome appears last, under its name only when it is complete, so a video
    either counts as finished or leaves no trace. Workers share the folder.
    """

    folder: Path

    def outcome(self, video: Video) -> Outcome | None:
        """The outcome of a video, or None if it is not finished."""
        try:
            text = self._path(video, "json").read_text("utf-8")
        except FileNotFoundError:
            return None
        found = json.loads(text)
        return Outcome(
            found["clips"],
            found["frames"],
            [Rejection(**row) for row in found["rejected"]],
            [Moved(**row) for row in found["moved"]],
        )

    def save(self, video: Video, items: Iterable[Clip | Rejection | Moved]) -> Outcome:
        """Stores what comes out of a video, clip by clip.

        Raises:
            OutputError: the disk is full or not writable.
            Exception: whatever `items` raises; the video is then not finished.
        """
        outcome = Outcome()
        clips, done = self._path(video, "clips"), self._path(video, "json")
        part = clips.with_suffix(f".{os.getpid()}.part")
        try:
            self._write(part, b"", "wb")
            for item in items:
                if isinstance(item, Rejection):
                    outcome.rejected.append(item)
                elif isinstance(item, Moved):
                    outcome.moved.append(item)
                else:
                    self._write(part, pickle.dumps(item), "ab")
                    outcome.clips += 1
                    outcome.frames += len(item.frames)
            with output_errors(self.folder):
                os.replace(part, clips)
            self._write(part, json.dumps(asdict(outcome)).encode(), "wb")
            with output_errors(self.folder):
                os.replace(part, done)
        finally:
            part.unlink(missing_ok=True)
        return outcome

    def clips(self, video: Video) -> Iterator[Clip]:
        """Reads the clips of a finished video, one at a time."""
        with self._path(video, "clips").open("rb") as file:
            while file.peek(1):
                yield pickle.load(file)

    def _path(self, video: Video, kind: str) -> Path:
        name = fingerprint([replace(video, split="")])
        return self.folder / f"{name[:32]}.{kind}"

    def _write(self, path: Path, data: bytes, mode: str) -> None:
        with output_errors(self.folder), path.open(mode) as file:
            file.write(data)


@contextlib.contextmanager
def output_errors(folder: Path) -> Iterator[None]:
    """Says where it was when something cannot be written.

    Raises:
        OutputError: instead of OSError, and of what ArrayRecord's writer raises.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
    except RuntimeError as error:
        _, failed, reason = str(error).partition("write() failed: ")
        if not failed:
            raise
        reason = reason.partition(";")[0]
    else:
        return
    raise OutputError(f"{folder}: cannot be written: {reason}")


def fingerprint(videos: Iterable[Video]) -> str:
    """Hex digest of the files' names, sizes and dates and of what is said of them."""
    rows = []
    for video in videos:
        stat = video.path.stat()
        about = (video.split, video.speaker, video.label, video.text)
        rows.append((video.name, stat.st_size, stat.st_mtime_ns, *about))
    return sha256(json.dumps(sorted(rows)).encode()).hexdigest()
