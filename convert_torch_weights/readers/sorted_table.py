"""LevelDB's sorted string table, in which TensorFlow keeps the index of a checkpoint.

    block, type of compression (1 byte), checksum (4)    of data, any number
    ...                                                  of properties, unused
    block, ...                                           of handles of the data blocks
    footer: two handles, zeros, magic number             48 bytes

A handle is an offset and a size, both varints. A block is a list of entries (varints:
bytes shared with the key before, bytes not shared, bytes of the value; then these
bytes), the offsets of some of them, and their count.
"""

from collections.abc import Iterator

from convert_torch_weights.readers.crc32c import crc32c, masked
from lipsync_jax.errors import CheckpointError

MAGIC = bytes.fromhex("57fb808b247547db")

_FOOTER = 48
_TRAILER = 5
_WORD = 4
_PLAIN = 0
_VARINT = 10  # bytes of the longest
_MAX_KEY = 1000  # bytes: keys share their beginnings, and could outgrow the file


class Damaged(CheckpointError):
    """The table is not what its format says."""

    def __init__(self, reason: str):
        super().__init__(f"is a damaged table ({reason}); download it again")


def read_table(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a table, in the order of the keys.

    Raises:
      CheckpointError: the table is damaged or compressed.
    """
    if len(table) < _FOOTER or not table.endswith(MAGIC):
        raise Damaged("its end is missing")
    footer = table[-_FOOTER:]
    _, position = _handle(footer, 0)
    handle, _ = _handle(footer, position)
    last = None
    for _, value in _entries(_block(table, handle)):
        for key, entry in _entries(_block(table, _handle(value, 0)[0])):
            # Hence no block counts twice, and the table is no longer than the file.
            if last is not None and key <= last:
                raise Damaged("its keys are not sorted")
            if len(key) > _MAX_KEY:
                raise Damaged(f"a key of {len(key)} bytes")
            last = key
            yield key, entry


def varint(data: bytes, position: int) -> tuple[int, int]:
    """A number below 2**64, seven bits a byte, and the position after it."""
    value = 0
    for index, byte in enumerate(data[position : position + _VARINT]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position + index + 1
    raise Damaged("a number has no end")


def _handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    """(Offset, size) of a block, and the position after them."""
    offset, position = varint(data, position)
    size, position = varint(data, position)
    return (offset, size), position


def _block(table: bytes, handle: tuple[int, int]) -> bytes:
    """The bytes of a block, checked."""
    offset, size = handle
    if offset + size + _TRAILER > len(table) - _FOOTER:
        raise Damaged("a block lies outside of it")
    content = table[offset : offset + size + 1]
    checksum = table[offset + size + 1 : offset + size + _TRAILER]
    if masked(crc32c(content)) != int.from_bytes(checksum, "little"):
        raise Damaged("a checksum is wrong")
    if content[-1] != _PLAIN:
        raise CheckpointError(
            "is a compressed table, which TensorFlow does not write for checkpoints; "
            "use the file as it was published"
        )
    return content[:-1]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a block."""
    restarts = int.from_bytes(block[-_WORD:], "little")
    end = len(block) - _WORD * (restarts + 1)
    if end < 0:
        raise Damaged("a block is too short")
    entries, position, key = block[:end], 0, b""
    while position < end:
        shared, position = varint(entries, position)
        unshared, position = varint(entries, position)
        size, position = varint(entries, position)
        if shared > len(key) or position + unshared + size > end:
            raise Damaged("an entry lies outside of its block")
        key = key[:shared] + entries[position : position + unshared]
        position += unshared
        yield key, entries[position : position + size]
        position += size
