"""TensorFlow's checkpoints: X.index and X.data-00000-of-00001 (`Saver`, version 2).

The index is a sorted table of protocol buffers that say where each array lies among the
raw bytes of the data files, and what its checksum is. (Lip2Wav, section 5.)
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convert_torch_weights.readers.checkpoint import Checkpoint
from convert_torch_weights.readers.crc32c import crc32c, masked
from convert_torch_weights.readers.sorted_table import Damaged, read_table, varint
from lipsync_jax.errors import CheckpointError

_PART = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")
_MAX_INDEX = 2**20  # bytes; published ones have some 25 KB
_MAX_DIMENSIONS = 64  # NumPy's limit

# Those of TensorFlow's types that are numbers of NumPy's.
_TYPES = {1: "f4", 2: "f8", 3: "i4", 4: "u1", 5: "i2", 6: "i1", 9: "i8", 10: "?"}
_TYPES |= {17: "u2", 19: "f2", 22: "u4", 23: "u8"}

# What Adam keeps of each weight, and of all.
_OPTIMIZER = re.compile(r"(^|/)(Adam(_\d+)?|beta[12]_power)$")
_STEP = "global_step"

Fields = dict[int, list[int | bytes]]


@dataclass(frozen=True)
class _Array:
    """Where an array lies, and what it is.

    Attributes:
      file: that holds its bytes.
      offset, size: of its bytes there.
      type: NumPy's name of its type, little endian.
      shape: of the array.
      checksum: of its bytes, masked.
    """

    file: Path
    offset: int
    size: int
    type: np.dtype
    shape: tuple[int, ...]
    checksum: int


def tensorflow_prefix(path: Path) -> Path | None:
    """X for X, X.index, X.meta and X.data-...; None if there is no X.index."""
    prefix = path.with_name(_PART.sub("", path.name))
    return prefix if index_file(prefix).is_file() else None


def read_tensorflow(prefix: Path) -> Checkpoint:
    """Reads a checkpoint; see `read_checkpoint`.

    Args:
      prefix: what the names of its files begin with, of `tensorflow_prefix`.

    Returns:
      The arrays in the order of their names; the optimizer's are skipped.

    Raises:
      CheckpointError: a file is absent, damaged or cut short.
    """
    size = index_file(prefix).stat().st_size
    if size > _MAX_INDEX:
        raise Damaged(f"an index of {size} bytes")
    table = dict(read_table(index_file(prefix).read_bytes()))
    shards = _shards(_fields(table.pop(b"", b"")))
    arrays = {
        name: _array(name, _fields(value), prefix, shards)
        for name, value in _named(table)
        if not _OPTIMIZER.search(name)
    }
    step = arrays.pop(_STEP, None)
    if not arrays:
        raise CheckpointError("is a TensorFlow checkpoint without weights")
    _refuse_missing_bytes(arrays)
    tensors = {name: _read(name, array) for name, array in arrays.items()}
    extra = {}
    if step is not None and step.shape == ():
        extra[_STEP] = int(_read(_STEP, step))
    return Checkpoint(tensors, "tensorflow", extra)


def index_file(prefix: Path) -> Path:
    """The file that lists a checkpoint's arrays and their checksums."""
    return prefix.with_name(f"{prefix.name}.index")


def _named(table: dict[bytes, bytes]) -> Iterator[tuple[str, bytes]]:
    for key, value in table.items():
        name = key.decode("utf-8", "replace")
        if not name.isprintable():
            raise Damaged(f"the name {name[:60]!a}")
        yield name, value


def _shards(header: Fields) -> int:
    """The number of data files."""
    if _number(header, 2):
        raise CheckpointError(
            "was written on a big-endian machine; save it again on another"
        )
    shards = _number(header, 1)
    if not 0 < shards < 10**5:
        raise Damaged(f"{shards} data files")
    return shards


def _array(name: str, entry: Fields, prefix: Path, shards: int) -> _Array:
    """What the index says of an array, as far as it can be true."""
    if 7 in entry:
        raise CheckpointError(
            f"keeps {name} in slices, which is not supported; save it unpartitioned"
        )
    kind = _number(entry, 1)
    if kind not in _TYPES:
        raise CheckpointError(
            f"its {name} is of TensorFlow's type {kind}; expected numbers"
        )
    shape = _shape(_message(entry, 2))
    dtype = np.dtype(_TYPES[kind]).newbyteorder("<")
    size = _number(entry, 5)
    if shape is None or math.prod(shape) * dtype.itemsize != size:
        raise Damaged(f"{size} bytes for the shape of {name}")
    shard = _number(entry, 3)
    if shard >= shards:
        raise Damaged(f"data file {shard} of {shards}")
    file = prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}")
    offset, checksum = _number(entry, 4), _number(entry, 6)
    return _Array(file, offset, size, dtype, shape, checksum)


def _shape(message: Fields) -> tuple[int, ...] | None:
    """A shape, or None if arrays cannot have it."""
    dimensions = message.get(2, [])
    are_messages = all(isinstance(dimension, bytes) for dimension in dimensions)
    if len(dimensions) > _MAX_DIMENSIONS or not are_messages or 3 in message:
        return None
    shape = tuple(_number(_fields(dimension), 1) for dimension in dimensions)
    # Negative numbers appear as ones above 2**63.
    return shape if max(shape, default=0) < 2**40 else None


def _refuse_missing_bytes(arrays: dict[str, _Array]) -> None:
    """Every array lies within its file, and all of them have room there."""
    for file in {array.file for array in arrays.values()}:
        if not file.is_file():
            raise CheckpointError(
                f"its weights are missing: there is no {file.name}; a TensorFlow "
                "checkpoint is several files of one folder"
            )
        inside = [array for array in arrays.values() if array.file == file]
        size = file.stat().st_size
        end = max(array.offset + array.size for array in inside)
        # Arrays that overlap could make a small file fill the memory.
        end = max(end, sum(array.size for array in inside))
        if end > size:
            raise CheckpointError(
                f"is cut short: {file.name} has {size} bytes of {end}; download it "
                "again"
            )


def _read(name: str, array: _Array) -> np.ndarray:
    with array.file.open("rb") as file:
        file.seek(array.offset)
        raw = file.read(array.size)
    if len(raw) != array.size or masked(crc32c(raw)) != array.checksum:
        raise CheckpointError(
            f"is damaged: {name} in {array.file.name} has another checksum than the "
            "index says; download both again"
        )
    values = np.frombuffer(raw, array.type).reshape(array.shape)
    return values.astype(array.type.newbyteorder("="), copy=False)


def _fields(message: bytes) -> Fields:
    """The fields of a protocol buffer by number, each with its values."""
    fields: Fields = {}
    position = 0
    while position < len(message):
        tag, position = varint(message, position)
        if tag & 7 == 0:
            value, position = varint(message, position)
        else:
            size = {1: 8, 5: 4}.get(tag & 7)
            if tag & 7 == 2:
                size, position = varint(message, position)
            if size is None or position + size > len(message):
                raise Damaged("an entry that is no protocol buffer")
            value, position = message[position : position + size], position + size
            if tag & 7 != 2:
                value = int.from_bytes(value, "little")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _number(fields: Fields, field: int) -> int:
    """A number; 0 where it is left out."""
    value = fields.get(field, [0])[-1]
    if not isinstance(value, int):
        raise Damaged("an entry of another kind")
    return value


def _message(fields: Fields, field: int) -> Fields:
    """A message within a message; empty where it is left out."""
    value = fields.get(field, [b""])[-1]
    if not isinstance(value, bytes):
        raise Damaged("an entry of another kind")
    return _fields(value)
