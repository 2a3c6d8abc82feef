"""Writes checkpoints as TensorFlow does, whole or with anything wrong about them."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from convert_torch_weights.readers.crc32c import crc32c, masked
from convert_torch_weights.readers.sorted_table import MAGIC

TYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "bool": 10, "float16": 19}
Value = int | bytes


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def message(*fields: tuple[int, Value]) -> bytes:
    """A protocol buffer; field 6 is a fixed32, as in the entries of arrays."""
    out = b""
    for field, value in fields:
        if isinstance(value, bytes):
            out += varint(field << 3 | 2) + varint(len(value)) + value
        elif field == 6:
            out += varint(field << 3 | 5) + struct.pack("<I", value)
        else:
            out += varint(field << 3) + varint(value)
    return out


def shape_of(*sizes: int) -> bytes:
    """The message of a shape."""
    return message(*((2, message((1, size))) for size in sizes))


def block(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The entries of a table; keys share what they can with the one before."""
    out, last = b"", b""
    for key, value in entries:
        shared = 0
        while shared < min(len(key), len(last)) and key[shared] == last[shared]:
            shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value))
        out += key[shared:] + value
        last = key
    return out + struct.pack("<II", 0, 1)


def table(blocks: Sequence[bytes], compression: int = 0) -> bytes:
    """A table of these blocks of data."""
    out, handles = b"", []

    def add(content: bytes) -> bytes:
        nonlocal out
        handle = varint(len(out)) + varint(len(content))
        signed = content + bytes([compression])
        out += signed + struct.pack("<I", masked(crc32c(signed)))
        return handle

    for number, content in enumerate(blocks):
        handles.append((b"%05d" % number, add(content)))
    footer = add(block([])) + add(block(handles))
    return out + footer.ljust(40, b"\0") + MAGIC


def array_entry(array: np.ndarray, offset: int) -> bytes:
    """What the index says of an array."""
    raw = array.tobytes()
    return message(
        (1, TYPES[array.dtype.name]),
        (2, shape_of(*array.shape)),
        (4, offset),
        (5, len(raw)),
        (6, masked(crc32c(raw))),
    )


def write(prefix: Path, arrays: Mapping[str, np.ndarray], **changed: bytes) -> Path:
    """Writes a checkpoint.

    Args:
      prefix: what the names of its files begin with.
      arrays: by name.
      changed: entries that replace those of the index, or are new in it; the header's
        is called "header".

    Returns:
      The prefix.
    """
    entries, data = {b"": message((1, 1), (3, message((1, 1))))}, b""
    for name, array in arrays.items():
        entries[name.encode()] = array_entry(array, len(data))
        data += array.tobytes()
    for name, entry in changed.items():
        entries[b"" if name == "header" else name.encode()] = entry
    index = table([block(sorted(entries.items()))])
    prefix.with_name(f"{prefix.name}.index").write_bytes(index)
    prefix.with_name(f"{prefix.name}.data-00000-of-00001").write_bytes(data)
    return prefix
