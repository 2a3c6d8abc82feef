"""CRC-32C, the checksum of TensorFlow's files, fast enough in NumPy for weights.

The bytes are cut into many pieces of one length, whose checksums are computed side by
side and then put together: a checksum is linear, so that what follows a piece only
multiplies its own by a power of x modulo the polynomial.
"""

from functools import lru_cache

import numpy as np

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, lowest bit first
_ONES = 0xFFFFFFFF
_MOST_PIECES = 16  # as a power of two


def crc32c(data: bytes) -> int:
    """The checksum (Castagnoli; RFC 3720) of any number of bytes."""
    # Zeros in front change nothing in a register that starts at zero.
    log_pieces = min(_MOST_PIECES, len(data).bit_length() // 2)
    length = -(-len(data) >> log_pieces)
    padded = np.zeros(length << log_pieces, np.uint8)
    padded[padded.size - len(data) :] = np.frombuffer(data, np.uint8)
    columns = np.ascontiguousarray(padded.reshape(1 << log_pieces, length).T)
    register = np.zeros(1 << log_pieces, np.uint32)
    for column in columns:
        register = _after_byte(register ^ column)
    operator = _after_bytes(length)
    while register.size > 1:
        register = _apply(operator, register[::2]) ^ register[1::2]
        operator = _apply(operator, operator)
    # The register of the definition starts with ones, and is inverted at the end.
    start = _apply(_after_bytes(len(data)), np.array([_ONES], np.uint32))
    return int((register ^ start)[0]) ^ _ONES


def masked(checksum: int) -> int:
    """The form in which files store a checksum of bytes that may contain one."""
    rotated = checksum >> 15 | checksum << 17 & _ONES
    return (rotated + 0xA282EAD8) & _ONES


@lru_cache
def _table() -> np.ndarray:
    """What each byte, shifted out of the register, adds to it: (256,) uint32."""
    register = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        lowest = register & 1
        register = register >> 1 ^ np.where(lowest, np.uint32(_POLYNOMIAL), 0)
    return register.astype(np.uint32)


def _after_byte(register: np.ndarray) -> np.ndarray:
    """Registers after one more byte, which they have already been added."""
    return _table()[register & 0xFF] ^ register >> 8


def _after_bytes(count: int) -> np.ndarray:
    """What `count` bytes of zeros make of each bit of a register: (32,) uint32."""
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    result, power = bits, _after_byte(bits)
    while count:
        if count & 1:
            result = _apply(power, result)
        power = _apply(power, power)
        count >>= 1
    return result


def _apply(operator: np.ndarray, register: np.ndarray) -> np.ndarray:
    """Registers (n,) of which each bit becomes what the operator (32,) says."""
    total = np.zeros_like(register)
    for bit, image in enumerate(operator):
        total ^= np.where(register >> np.uint32(bit) & 1, image, np.uint32(0))
    return total
