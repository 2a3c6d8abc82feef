"""Writes checkpoints in the layouts of the published files, without the framework.

PyTorch loads the result with `torch.load(path, weights_only=True)`, and so do the
readers of this package. The layouts: `readers.torch_legacy`, `readers.torch_zip`.
"""

import math
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from convert_torch_weights.readers.torch_legacy import (
    COUNT_BYTES,
    MAGIC,
    PROTOCOL_VERSION,
)
from convert_torch_weights.readers.torch_pickle import BFLOAT16, STORAGE_TYPES
from lipsync_jax.errors import OutputError

_STORAGE_NAMES = {
    np.dtype(kind): name for name, kind in STORAGE_TYPES.items() if kind != BFLOAT16
}


def write_checkpoint(
    path: str | os.PathLike,
    state_dict: Mapping[str, np.ndarray],
    *,
    container: str = "zip",
    global_step: int = 0,
    global_epoch: int = 0,
) -> None:
    """Writes weights as a training checkpoint without optimizer state.

    The file appears under its name only when it is complete.

    Args:
      path: The file to write or to replace.
      state_dict: Arrays in PyTorch's layouts, by name; bool, integers or floats.
      container: "zip" (PyTorch 1.6 and later) or "legacy" (earlier).
      global_step: Training steps done.
      global_epoch: Passes over the training data done.

    Raises:
      OutputError: The file cannot be written.
      ValueError: The container is unknown.
      KeyError: PyTorch has no storage for an array's dtype.
    """
    writers = {"zip": _write_zip, "legacy": _write_legacy}
    if container not in writers:
        raise ValueError(f"container is {container!r}; expected one of {list(writers)}")
    arrays = {name: np.asarray(array) for name, array in state_dict.items()}
    steps = {"global_step": global_step, "global_epoch": global_epoch}
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            writers[container](file, arrays, steps)
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def _write_legacy(
    file: BinaryIO, arrays: dict[str, np.ndarray], steps: dict[str, int]
) -> None:
    system = {
        "protocol_version": PROTOCOL_VERSION,
        "little_endian": True,
        "type_sizes": {"short": 2, "int": 4, "long": 8},
    }
    keys = [str(key) for key in range(len(arrays))]
    # References to storages end in the view of another storage: none.
    entries = _entries(arrays, steps, None)
    for value in (MAGIC, PROTOCOL_VERSION, system, entries, keys):
        file.write(_pickle(value))
    for array in arrays.values():
        file.write(array.size.to_bytes(COUNT_BYTES, "little"))
        file.write(_little_endian(array))


def _write_zip(
    file: BinaryIO, arrays: dict[str, np.ndarray], steps: dict[str, int]
) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:

        def write(name: str, content: bytes) -> None:
            # ZipInfo's fixed time stamp: equal weights make equal files.
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), content)

        write("data.pkl", _pickle(_entries(arrays, steps)))
        write("byteorder", b"little")
        for key, array in enumerate(arrays.values()):
            write(f"data/{key}", _little_endian(array))
        write("version", b"3\n")


def _little_endian(array: np.ndarray) -> bytes:
    return array.astype(array.dtype.newbyteorder("<")).tobytes()


class _Opcodes(bytes):
    """A finished piece of a pickle."""


def _name(dotted: str) -> _Opcodes:
    module, name = dotted.rsplit(".", 1)
    return _Opcodes(f"c{module}\n{name}\n".encode())


def _call(function: str, *arguments: Any) -> _Opcodes:
    return _Opcodes(_name(function) + _opcodes(arguments) + b"R")


def _entries(
    arrays: dict[str, np.ndarray], steps: dict[str, int], *reference_end: None
) -> dict[str, Any]:
    """The dictionary to save, with arrays as calls that rebuild tensors."""
    tensors = OrderedDict()
    for key, (name, array) in enumerate(arrays.items()):
        storage_class = _name(_STORAGE_NAMES[array.dtype.newbyteorder("=")])
        reference = ("storage", storage_class, str(key), "cpu", array.size)
        storage = _Opcodes(_opcodes((*reference, *reference_end)) + b"Q")
        strides = tuple(
            math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim)
        )
        hooks = OrderedDict()
        tensors[name] = _call(
            "torch._utils._rebuild_tensor_v2",
            *(storage, 0, array.shape, strides, False, hooks),
        )
    return {"state_dict": tensors, "optimizer": None, **steps}


def _pickle(value: Any) -> bytes:
    return b"\x80\x02" + _opcodes(value) + b"."


def _opcodes(value: Any) -> bytes:
    """Pickles a value, protocol 2, without the opcodes around it."""
    match value:
        case _Opcodes():
            return value
        case tuple():
            return b"(" + b"".join(map(_opcodes, value)) + b"t"
        case list():
            return b"](" + b"".join(map(_opcodes, value)) + b"e"
        case dict():
            ordered = isinstance(value, OrderedDict)
            start = _call("collections.OrderedDict") if ordered else b"}"
            pairs = (_opcodes(key) + _opcodes(item) for key, item in value.items())
            return start + b"(" + b"".join(pairs) + b"u"
        case _:  # a number, a string or None: what Python writes, without its frame
            return pickle.dumps(value, protocol=2)[2:-1]
