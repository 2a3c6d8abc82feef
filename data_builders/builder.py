"""What all builders that read videos share: from a list of files to a TFDS dataset.

Two stages. First every video is turned into clips, in parallel, and what comes out
of each is stored in a hidden folder beside the dataset; then the clips of each split
are written as a TFDS dataset, and the hidden folder goes. A build that was stopped
finds the finished videos there and continues.

A new dataset is a subclass of ClipBuilder that says which videos there are.
"""

import abc
import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from data_builders import parallel, report
from data_builders.settings import Settings, settle
from data_builders.store import Outcome, Store, fingerprint, output_errors
from data_builders.video import Video
from data_builders.work import Work
from lipsync_jax.data import schema
from lipsync_jax.errors import DataError, OutputError

INCOMPLETE = "incomplete."  # how TFDS calls the folder that it will rename

Progress = Callable[[int, int, int], None]  # videos done, videos in all, clips so far


@dataclass(frozen=True)
class _Prepared:
    """What the first stage hands to the second.

    Attributes:
        header: what makes the dataset what it is, for the report.
        store: where the clips are.
        outcomes: of all videos; those with clips have a split.
        on_beam: read the clips on Beam's workers.
    """

    header: dict[str, Any]
    store: Store
    outcomes: dict[Video, Outcome]
    on_beam: bool


class ClipBuilder(tfds.core.GeneratorBasedBuilder):
    """Builds clip records (`data.schema`) out of video files.

    Args:
        source: folder of the original dataset.
        data_dir: where prepared datasets lie.
        settings: what a clip is; None for the dataset's own.
        processes: how many to use; None for one per core. With a Beam runner in the
            download config, Beam's workers do the work; they must all see `source`
            and `data_dir` under these paths.
        progress: told how far the build is.
        note: given lines that a person should read.
    """

    VERSION = tfds.core.Version("1.0.0")
    SETTINGS = Settings()

    def __init__(
        self,
        *,
        source: Path,
        data_dir: Path,
        settings: Settings | None = None,
        processes: int | None = None,
        progress: Progress = lambda done, total, clips: None,
        note: Callable[[str], None] = lambda line: None,
    ):
        self.source = source
        self.settings = settings or self.SETTINGS
        self.note = note
        self._progress = progress
        self._processes = processes or os.cpu_count()
        self._prepared: _Prepared | None = None
        super().__init__(data_dir=data_dir, file_format="array_record")

    @abc.abstractmethod
    def videos(self) -> list[Video]:
        """The files of the dataset.

        Raises:
            DataError: `source` does not hold it.
        """

    def assign(self, usable: Sequence[Video]) -> list[Video]:
        """Gives each video that has clips a split, in order; by default it has one."""
        return list(usable)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self, description=self.__doc__, features=schema.features()
        )

    def download_and_prepare(
        self,
        *,
        download_config: tfds.download.DownloadConfig | None = None,
        **options: Any,
    ) -> None:
        """Builds the dataset, unless it is there.

        Args:
            download_config: its Beam runner and options, if any, serve both stages.
            **options: see TFDS.

        Raises:
            DataError: the source is not the dataset, a split would be empty, or the
                folder holds the dataset with other settings or of other videos.
            OutputError: `data_dir` cannot be written.
            LipSyncError: the detector or the expert cannot be opened.
        """
        config = download_config or tfds.download.DownloadConfig()
        videos = self.videos()
        _check_ids(videos)
        settings, detector = settle(self.settings)
        header = {
            "dataset": f"{self.name}/{self.version}",
            "settings": settings.identity(),
            "inputs": fingerprint(videos),
        }
        final = Path(self.data_path)
        if final.exists():
            _check_same(final, header)
            self.note(f"{final}: was prepared before, nothing to do")
            return
        self.note(detector)
        with output_errors(final.parent), _alone_in(final.parent, final.name):
            store = Store(final.parent / _hidden_name(header))
            store.folder.mkdir(exist_ok=True)
            outcomes = self._process(videos, Work(settings, store), config)
            self._prepared = _Prepared(
                header, store, outcomes, config.beam_runner is not None
            )
            options = {"download_dir": store.folder, **options}
            super().download_and_prepare(download_config=config, **options)
            shutil.rmtree(store.folder)
        for line in report.summary(outcomes):
            self.note(line)

    def _process(
        self, videos: list[Video], work: Work, config: tfds.download.DownloadConfig
    ) -> dict[Video, Outcome]:
        """First stage: what comes out of each video."""
        todo = [video for video in videos if work.store.outcome(video) is None]
        if len(todo) < len(videos):
            self.note(f"{len(videos) - len(todo)} of {len(videos)} videos done before")
        if todo and config.beam_runner is not None:
            parallel.on_beam(work, todo, config.beam_runner, config.beam_options)
        elif todo:
            self._process_here(todo, work)
        outcomes = {video: work.store.outcome(video) for video in videos}
        for split in sorted({video.split for video in videos}):
            part = [o for video, o in outcomes.items() if video.split == split]
            if not any(outcome.clips for outcome in part):
                raise DataError(_nothing_left(self.name, split, part))
        usable = {video: o for video, o in outcomes.items() if o.clips}
        others = {video: o for video, o in outcomes.items() if not o.clips}
        assigned = self.assign(list(usable))
        return dict(zip(assigned, usable.values(), strict=True)) | others

    def _process_here(self, videos: list[Video], work: Work) -> None:
        clips = 0
        self._progress(0, len(videos), clips)
        results = parallel.in_processes(work, videos, self._processes)
        for done, (video, outcome) in enumerate(results, 1):
            clips += (outcome or work.give_up(video)).clips
            self._progress(done, len(videos), clips)

    def _download_and_prepare(self, dl_manager: Any, download_config: Any) -> None:
        """Second stage, in a temporary folder that TFDS renames afterwards."""
        super()._download_and_prepare(dl_manager, download_config)
        report.write_report(
            Path(self.data_path), self._prepared.header, self._prepared.outcomes
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {
            split: self._generate_examples(list(part))
            for split, part in report.by_split(self._prepared.outcomes).items()
        }

    def _generate_examples(self, videos: list[Video]) -> Any:
        read = partial(_examples, self._prepared.store)
        if self._prepared.on_beam:
            beam = parallel.import_beam()
            return beam.Create(videos) | beam.Reshuffle() | beam.FlatMap(read)
        return chain.from_iterable(map(read, videos))


def _examples(store: Store, video: Video) -> Iterator[tuple[str, dict[str, Any]]]:
    for clip in store.clips(video):
        yield clip.id, schema.to_example(clip)


def _check_ids(videos: Sequence[Video]) -> None:
    """Raises DataError if two videos would give clips of one name."""
    seen: dict[str, str] = {}
    for video in videos:
        if (other := seen.setdefault(video.id, video.name)) != video.name:
            raise DataError(
                f"{other} and {video.name}: their clips would have the same names; "
                "rename one of them"
            )


def _check_same(final: Path, header: dict[str, Any]) -> None:
    """Raises DataError if a folder holds the dataset as built from something else."""
    advice = "delete the folder or choose another --data_dir"
    try:
        before = json.loads((final / report.FILE).read_text("utf-8"))
        old, inputs = before["settings"], before["inputs"]
    except (OSError, ValueError, KeyError):
        raise DataError(
            f"{final}: exists without a readable {report.FILE}; {advice}"
        ) from None
    changed = [
        f"{name} {old.get(name)}, not {value}"
        for name, value in header["settings"].items()
        if old.get(name) != value
    ]
    if changed:
        raise DataError(f"{final}: was built with {', '.join(changed)}; {advice}")
    if inputs != header["inputs"]:
        raise DataError(
            f"{final}: was built of other videos than there are now (added, removed, "
            f"changed or on other lists); {advice}"
        )


def _nothing_left(name: str, split: str, outcomes: Sequence[Outcome]) -> str:
    where = f"split {split} of {name}" if split else name
    why = "; ".join(report.rejections(outcomes))
    return f"no usable clip for {where} in {len(outcomes)} videos: {why}"


def _hidden_name(header: dict[str, Any]) -> str:
    """The folder of finished videos: one for builds with the same settings."""
    identity = json.dumps([header["dataset"], header["settings"]])
    return f".partial-{sha256(identity.encode()).hexdigest()[:12]}"


@contextlib.contextmanager
def _alone_in(folder: Path, version: str) -> Iterator[None]:
    """Keeps other builds out of a dataset's folder; removes what a killed one left.

    Raises:
        OutputError: another build is at work.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                f"{folder}: another build is writing there; wait until it ends or "
                "choose another --data_dir"
            ) from None
        for left in folder.glob(f"{INCOMPLETE}*_{version}"):
            shutil.rmtree(left)
        yield
