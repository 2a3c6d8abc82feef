"""What the pickles of PyTorch mean: tensors as views of storages, read on demand.

The pickle of a checkpoint contains no numbers of the weights, only references
('storage', class, key, device, count) to storages that lie elsewhere in the file.
Here they stay references until the weights among them are known: two thirds of a
published training checkpoint are optimizer state, which nobody needs to load.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from convert_torch_weights.readers import restricted_pickle
from convert_torch_weights.readers.restricted_pickle import Name, Vocabulary
from lipsync_jax.errors import CheckpointError

BFLOAT16 = "bfloat16"
STORAGE_TYPES = {
    "torch.DoubleStorage": "f8",
    "torch.FloatStorage": "f4",
    "torch.HalfStorage": "f2",
    "torch.BFloat16Storage": BFLOAT16,
    "torch.LongStorage": "i8",
    "torch.IntStorage": "i4",
    "torch.ShortStorage": "i2",
    "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1",
    "torch.BoolStorage": "?",
}
_MAX_DIMENSIONS = 64  # NumPy's limit
_MAX_ELEMENTS = 2**40


@dataclass(frozen=True)
class Storage:
    """A reference to `count` numbers of one type that lie elsewhere in the file."""

    key: str
    type: str
    count: int

    @property
    def nbytes(self) -> int:
        width = 2 if self.type == BFLOAT16 else np.dtype(self.type).itemsize
        return self.count * width

    def decode(self, raw: bytes, byteorder: str = "<") -> np.ndarray:
        """The stored numbers (count,), in this machine's byte order."""
        if self.type == BFLOAT16:  # the upper half of a float32
            halves = np.frombuffer(raw, f"{byteorder}u2").astype(np.uint32)
            return (halves << 16).view(np.float32)
        return np.frombuffer(raw, byteorder + self.type).astype(self.type, copy=False)


@dataclass(frozen=True)
class LazyTensor:
    """A view of a storage. Offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def view(self, values: np.ndarray) -> np.ndarray:
        """The tensor in its storage's values (count,), read-only and not copied."""
        if 0 in self.shape:
            return np.zeros(self.shape, values.dtype)
        # An axis of length one may carry any stride.
        strides = [
            s if n > 1 else 0 for n, s in zip(self.shape, self.strides, strict=True)
        ]
        return np.lib.stride_tricks.as_strided(
            values[self.offset :],
            self.shape,
            [s * values.itemsize for s in strides],
            writeable=False,
        )


class TorchUnpickler:
    """Reads the pickles of one file and collects the storages they refer to."""

    def __init__(self, *, torchscript: bool = False):
        self.storages: dict[str, Storage] = {}
        self.vocabulary = _TORCHSCRIPT if torchscript else _TORCH_SAVE

    def load(self, stream: BinaryIO) -> Any:
        """See `restricted_pickle.load`; tensors come as LazyTensors."""
        return restricted_pickle.load(stream, self.vocabulary, self._storage)

    def _storage(self, persistent_id: Any) -> Storage:
        if len(persistent_id) == 6 and persistent_id[5] is None:
            persistent_id = persistent_id[:5]  # the legacy stream's: not a view
        match persistent_id:
            case ("storage", Name(kind), str(key), _, int(count)) if (
                kind in STORAGE_TYPES and count >= 0
            ):
                storage = Storage(key, STORAGE_TYPES[kind], count)
            case _:
                raise TypeError("a reference to something other than a storage")
        if self.storages.setdefault(key, storage) != storage:
            raise TypeError("two descriptions of the same storage")
        return storage


def materialise(
    tensors: dict[str, LazyTensor], read: Callable[[Storage], np.ndarray]
) -> dict[str, np.ndarray]:
    """Reads each storage that the tensors need, once.

    Args:
      tensors: By name.
      read: Gives a storage's values (count,).

    Returns:
      Read-only arrays by name; those of one storage share its memory.
    """
    read = functools.cache(read)
    return {name: tensor.view(read(tensor.storage)) for name, tensor in tensors.items()}


def _rebuild_tensor(
    storage: Storage, offset: int, shape: tuple, strides: tuple, *_: Any
) -> LazyTensor:
    """Checks that the view stays inside its storage."""
    well_formed = (
        isinstance(storage, Storage)
        and type(shape) is type(strides) is tuple
        and len(shape) == len(strides) <= _MAX_DIMENSIONS
        and all(type(n) is int and n >= 0 for n in (offset, *shape, *strides))
        and math.prod(max(n, 1) for n in shape) <= _MAX_ELEMENTS
    )
    if not well_formed:
        raise CheckpointError("is damaged: it holds a tensor of impossible shape")
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    # More elements than the storage has are copies of each other: an attempt to make
    # a small file fill the memory.
    if 0 not in shape and max(last + 1, math.prod(shape)) > storage.count:
        raise CheckpointError(
            f"is damaged: a tensor of shape {shape} reaches beyond its storage of "
            f"{storage.count} values"
        )
    return LazyTensor(storage, offset, shape, strides)


def _rebuild_parameter(tensor: LazyTensor, *_: Any) -> LazyTensor:
    return tensor


def _same(value: Any) -> Any:
    return value


_TORCH_SAVE = Vocabulary(
    functions={
        "torch._utils._rebuild_tensor": _rebuild_tensor,  # before PyTorch 0.4
        "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
        "torch._utils._rebuild_parameter": _rebuild_parameter,
        "torch.Size": _same,
    },
    markers=STORAGE_TYPES,
)
_TORCHSCRIPT = Vocabulary(
    functions={
        "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
        # Lists of numbers among the attributes of scripted layers, e.g. paddings.
        "torch.jit._pickle.build_intlist": _same,
        "torch.jit._pickle.build_doublelist": _same,
        "torch.jit._pickle.build_boollist": _same,
    },
    markers=STORAGE_TYPES,
    stub_prefix="__torch__.",
)
