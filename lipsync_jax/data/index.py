"""What is in a split, known without reading it again: a small file beside the shards.

Records are compressed as a whole, so even a clip's length costs reading all of it.
The whole split is therefore read once, and what example selection needs is kept.
"""

import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lipsync_jax.data.record import DamagedRecord
from lipsync_jax.data.schema import ClipMeta

_FORMAT = 1
_THREADS = 8
_NONE = np.zeros(0, bool)


@dataclass(frozen=True)
class Shards:
    """The files of a split, in order, as they are now.

    Attributes:
      paths: of the files.
      lengths: records in each.
      sizes: bytes in each; -1 if the file is not there.
    """

    paths: tuple[Path, ...]
    lengths: tuple[int, ...]
    sizes: tuple[int, ...]

    @classmethod
    def at(cls, paths: Sequence[Path], lengths: Sequence[int]) -> "Shards":
        """Looks at the files."""
        sizes = tuple(p.stat().st_size if p.exists() else -1 for p in paths)
        return cls(tuple(paths), tuple(lengths), sizes)

    def locate(self, record: int) -> tuple[Path, int]:
        """The file that holds a record of the split, and its number there."""
        ends = np.cumsum(self.lengths)
        shard = int(np.searchsorted(ends, record, side="right"))
        return self.paths[shard], record - int(ends[shard]) + self.lengths[shard]


@dataclass(frozen=True)
class Index:
    """What was found in a split.

    Attributes:
      records: (n,) int64, numbers of the readable records, ascending.
      meta: what each of these clips is.
      unreadable: number of a record -> why it cannot be read.
    """

    records: np.ndarray
    meta: list[ClipMeta]
    unreadable: dict[int, str]


def open_index(
    path: Path, shards: Shards, read: Callable[[int], ClipMeta], name: str
) -> Index:
    """Loads the index of a split; reads the split and writes one if it has changed.

    Args:
      path: of the index file; where it cannot be written the index stays in memory.
      shards: the split's files.
      read: number of a record -> its clip's description, or raises DamagedRecord.
      name: of the split, for the progress bar.
    """
    index = _load(path, shards)
    if index is None:
        index = _build(sum(shards.lengths), read, name)
        _save(path, shards, index)
    return index


def _build(count: int, read: Callable[[int], ClipMeta], name: str) -> Index:
    def describe(record: int) -> ClipMeta | str:
        try:
            return read(record)
        except DamagedRecord as error:
            return str(error)

    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(describe, range(count))
        # Only a long wait needs a bar.
        found = list(tqdm(found, f"indexing {name}", count, delay=3, unit="clip"))
    good = {i: meta for i, meta in enumerate(found) if isinstance(meta, ClipMeta)}
    bad = {i: reason for i, reason in enumerate(found) if isinstance(reason, str)}
    return Index(np.array(list(good), np.int64), list(good.values()), bad)


def _identity(shards: Shards) -> np.ndarray:
    return np.array(
        [
            f"{path.name} {length} {size}"
            for path, length, size in zip(
                shards.paths, shards.lengths, shards.sizes, strict=True
            )
        ]
    )


def _save(path: Path, shards: Shards, index: Index) -> None:
    meta = index.meta
    arrays = {
        "format": np.array(_FORMAT),
        "shards": _identity(shards),
        "records": index.records,
        "id": np.array([m.id for m in meta], np.str_),
        "frames": np.array([len(m.valid) for m in meta], np.int64),
        "valid": np.packbits(np.concatenate([_NONE, *(m.valid for m in meta)])),
        "samples": np.array([m.samples for m in meta], np.int64),
        "fps": np.array([m.fps for m in meta], np.float64),
        "speaker": np.array([m.speaker for m in meta], np.str_),
        "label": np.array([m.label for m in meta], np.int64),
        "bad_record": np.array(list(index.unreadable), np.int64),
        "bad_reason": np.array(list(index.unreadable.values()), np.str_),
    }
    try:
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    except OSError:  # a read-only dataset is read anew each time
        return
    try:
        with open(handle, "wb") as file:
            np.savez_compressed(file, **arrays)
        os.chmod(part, 0o644)
        os.replace(part, path)
    except OSError:
        Path(part).unlink(missing_ok=True)


def _load(path: Path, shards: Shards) -> Index | None:
    """The kept index, or None if there is none for these files."""
    try:
        with np.load(path) as file:
            arrays = dict(file)
        if arrays["format"] != _FORMAT:
            return None
        if not np.array_equal(arrays["shards"], _identity(shards)):
            return None
        return _from_arrays(arrays)
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _from_arrays(arrays: dict[str, np.ndarray]) -> Index:
    ends = np.cumsum(arrays["frames"])
    bits = np.unpackbits(arrays["valid"], count=int(ends[-1]) if ends.size else 0)
    valid = np.split(bits.astype(bool), ends[:-1]) if ends.size else []
    names = ("id", "samples", "fps", "speaker", "label")
    columns = (arrays[name].tolist() for name in names)
    meta = [
        ClipMeta(id, mask, samples, fps, speaker, label)
        for mask, id, samples, fps, speaker, label in zip(valid, *columns, strict=True)
    ]
    bad = zip(arrays["bad_record"].tolist(), arrays["bad_reason"].tolist(), strict=True)
    return Index(arrays["records"], meta, dict(bad))
