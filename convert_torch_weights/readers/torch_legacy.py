"""The stream that `torch.save` wrote before PyTorch 1.6.

Five pickles: a magic number, the protocol version, facts about the writer's system,
the saved object, the list of storage keys. Behind them the storages in the order of
that list, each as an int64 count and its raw values, always little-endian.
"""

import mmap
from pathlib import Path
from typing import Any

import numpy as np

from convert_torch_weights.readers.checkpoint import Checkpoint, find_weights
from convert_torch_weights.readers.restricted_pickle import ForbiddenName
from convert_torch_weights.readers.torch_pickle import (
    Storage,
    TorchUnpickler,
    materialise,
)
from lipsync_jax.errors import CheckpointError

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
COUNT_BYTES = 8


def read_legacy(path: Path) -> Checkpoint:
    """Reads a checkpoint stream; see `read_checkpoint`."""
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream,
    ):
        unpickler = TorchUnpickler()
        _check_magic(stream, unpickler)
        if unpickler.load(stream) != PROTOCOL_VERSION:
            raise CheckpointError(
                f"is a PyTorch stream of another version than {PROTOCOL_VERSION}"
            )
        unpickler.load(stream)  # the writer's system, of no consequence
        entries = unpickler.load(stream)
        keys = unpickler.load(stream)
        positions = _locate(stream, keys, unpickler.storages)

        def read(storage: Storage) -> np.ndarray:
            start = positions[storage.key]
            return storage.decode(stream[start : start + storage.nbytes])

        weights, extra = find_weights(entries)
        return Checkpoint(materialise(weights, read), "legacy", extra)


def _check_magic(stream: mmap.mmap, unpickler: TorchUnpickler) -> None:
    try:
        magic = unpickler.load(stream)
    except ForbiddenName as error:
        raise ForbiddenName(
            f"is a pickle that torch.save did not write; it {error}"
        ) from error
    except CheckpointError:
        if stream[:1] == b"\x80":  # how every pickle since 2003 begins
            raise
        raise CheckpointError(
            f"is not a PyTorch checkpoint: it begins with {stream[:12]!r}"
        ) from None
    if magic != MAGIC:
        raise CheckpointError(
            "is a plain Python pickle, not a PyTorch checkpoint; expected a file "
            "written by torch.save"
        )


def _locate(
    stream: mmap.mmap, keys: Any, storages: dict[str, Storage]
) -> dict[str, int]:
    """Where the values of each storage begin, in bytes."""
    listed = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not listed or sorted(keys) != sorted(storages):
        raise CheckpointError(
            "is damaged: its list of storages does not fit its object"
        )
    positions = {}
    end = stream.tell()
    for key in keys:
        positions[key] = end + COUNT_BYTES
        end = positions[key] + storages[key].nbytes
    if end > len(stream):
        raise CheckpointError(
            f"is cut short: it has {len(stream)} bytes of {end}; download it again"
        )
    for key, position in positions.items():
        stored = int.from_bytes(stream[position - COUNT_BYTES : position], "little")
        if stored != storages[key].count:
            raise CheckpointError(
                f"is damaged: a storage of {storages[key].count} values begins with "
                f"the count {stored}; download it again"
            )
    return positions
