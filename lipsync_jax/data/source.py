"""A split of a prepared dataset as a sequence of clips, read at random.

Neither TensorFlow nor the builder is needed: TFDS describes the folder, ArrayRecord
reads the records.
"""

import logging
import re
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core.decode import DeserializeMethod

from lipsync_jax.data import schema
from lipsync_jax.data.index import Index, Shards, open_index
from lipsync_jax.data.record import DamagedRecord, parse
from lipsync_jax.data.schema import Clip, ClipMeta
from lipsync_jax.errors import DataError

log = logging.getLogger(__name__)

# Above this share of unreadable records a dataset is broken rather than scratched.
MAX_UNREADABLE = 0.1


class Report:
    """What of a split is not used: each thing is said once, too many are an error.

    Attributes:
      unreadable: number of a record in the split -> why it cannot be read.
    """

    def __init__(self, shards: Shards):
        self.unreadable: dict[int, str] = {}
        self._shards = shards
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def say(self, line: str) -> None:
        """Logs a warning, the first time."""
        with self._lock:
            known = line in self._said
            self._said.add(line)
        if not known:
            log.warning("%s", line)

    def add(self, found: dict[int, str]) -> None:
        """Notes records and warns of those not known yet.

        Raises:
          DataError: more than a tenth of the split, and more than one record, is
            unreadable.
        """
        with self._lock:
            new = {k: v for k, v in found.items() if k not in self.unreadable}
            self.unreadable |= new
        for line in self._by_shard(new):
            self.say(f"left out: {line}")
        bad, count = len(self.unreadable), sum(self._shards.lengths)
        if bad == count or bad > max(1, MAX_UNREADABLE * count):
            where = "; ".join(self._by_shard(self.unreadable))
            raise DataError(
                f"{bad} of {count} records cannot be read; build the dataset again, "
                f"or copy these files again: {where}"
            )

    def _by_shard(self, records: dict[int, str]) -> list[str]:
        numbers, reasons = defaultdict(list), {}
        for record, reason in sorted(records.items()):
            path, number = self._shards.locate(record)
            numbers[path].append(number)
            reasons.setdefault(path, reason)
        return [
            f"{path} record{'s' * (len(found) > 1)} {_ranges(found)} ({reasons[path]})"
            for path, found in numbers.items()
        ]


class ClipSource(Sequence[Clip]):
    """The readable clips of a split.

    Attributes:
      name: what errors call it: folder and split.
      meta: description of each clip.
      report: what could not be read.
    """

    def __init__(self, name: str, records: Any, index: Index, report: Report):
        self.name = name
        self.meta: list[ClipMeta] = index.meta
        self.report = report
        self._records = records
        self._index = index

    def __len__(self) -> int:
        return len(self.meta)

    def __getitem__(self, position: int) -> Clip:
        """Reads a clip.

        Raises:
          DamagedRecord: it was readable once and no longer is.
        """
        return _read(self._records, int(self._index.records[position]))

    def head(self, count: int) -> "ClipSource":
        """The first `count` clips, or all if there are fewer."""
        index = replace(
            self._index,
            records=self._index.records[:count],
            meta=self._index.meta[:count],
        )
        return ClipSource(self.name, self._records, index, self.report)

    def note_damage(self, position: int, reason: Exception) -> None:
        """Enters a clip that turned out unreadable into the report.

        Raises:
          DataError: there are too many by now.
        """
        self.report.add({int(self._index.records[position]): str(reason)})


def open_split(directory: Path | str, split: str) -> ClipSource:
    """Opens a split of a prepared dataset.

    The first time all records are read, to know what is in them; that is kept in
    `<split>.index.npz` beside them. Records that cannot be read are left out, with a
    warning.

    Args:
      directory: a dataset's version folder (`.../NAME/1.0.0`), or the folder above,
        of which the newest version is taken.
      split: name of the split.

    Raises:
      DataError: no such folder or split, a folder of something else, an empty split,
        or one with more than a tenth of its records unreadable.
    """
    folder = _version_folder(Path(directory))
    builder = _open_builder(folder)
    if split not in builder.info.splits:
        known = ", ".join(builder.info.splits) or "none"
        raise DataError(f"{folder}: no split {split!r}; there are: {known}")
    name = f"{folder}, split {split}"
    files = builder.info.splits[split].file_instructions
    if not files:
        raise DataError(f"{name}: it holds no clips; build it from more videos")
    shards = Shards.at(
        [Path(f.filename) for f in files], [f.examples_in_shard for f in files]
    )
    records = builder.as_data_source(
        split, deserialize_method=DeserializeMethod.RAW_BYTES
    )
    index = open_index(
        folder / f"{split}.index.npz",
        shards,
        lambda number: schema.meta_of(_read(records, number)),
        split,
    )
    report = Report(shards)
    report.add(index.unreadable)
    return ClipSource(name, records, index, report)


def _read(records: Any, number: int) -> Clip:
    try:
        record = records[number]
    except (RuntimeError, ValueError) as error:  # of ArrayRecord, whatever is wrong
        raise DamagedRecord(str(error).split(";")[0]) from None
    return parse(record)


def _version_folder(directory: Path) -> Path:
    if not directory.is_dir():
        raise DataError(
            f"{directory}: no such folder; prepare a dataset with `lipsync build` and "
            "give the folder that it prints"
        )
    if (directory / "dataset_info.json").is_file():
        return directory
    versions = [
        p for p in directory.iterdir() if re.fullmatch(r"\d+\.\d+\.\d+", p.name)
    ]
    versions = [p for p in versions if (p / "dataset_info.json").is_file()]
    if not versions:
        held = ", ".join(sorted(p.name for p in directory.iterdir())[:8]) or "nothing"
        raise DataError(
            f"{directory}: not a prepared dataset; it holds {held}; expected the "
            "folder that `lipsync build` prints, with dataset_info.json in it"
        )
    return max(versions, key=lambda p: [int(n) for n in p.name.split(".")])


def _open_builder(folder: Path) -> Any:
    try:
        builder = tfds.builder_from_directory(folder)
        kind = builder.info.file_format
        found = builder.info.features.get_tensor_info()
    except Exception as error:  # TFDS lets through whatever its parsers raise
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{folder}: its description cannot be read ({reason}); build it again"
        ) from error
    if kind != tfds.core.FileFormat.ARRAY_RECORD:
        raise DataError(
            f"{folder}: its records are {kind.value} files; expected array_record; "
            "build it with `lipsync build`"
        )
    wanted = schema.features().get_tensor_info()
    wrong = [name for name in wanted if _spec(found, name) != _spec(wanted, name)]
    if wrong:
        raise DataError(
            f"{folder}: its records are not clips: missing or of another type: "
            f"{', '.join(wrong)}; build it with `lipsync build`"
        )
    return builder


def _spec(features: Any, name: str) -> tuple[Any, Any] | None:
    info = features.get(name)
    return info and (info.shape, info.np_dtype)


def _ranges(numbers: list[int]) -> str:
    """Ascending numbers, short: 3, 5-9."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{a}-{b}" if a < b else f"{a}" for a, b in runs)
