"""Zip archives: `torch.save` since PyTorch 1.6, and TorchScript.

Below one root folder, `data.pkl` holds the object and `data/<key>` the raw values of
each storage, uncompressed. TorchScript archives carry `constants.pkl` and code too,
and their object is a tree of modules instead of a dictionary.
"""

import struct
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from convert_torch_weights.readers.checkpoint import (
    Checkpoint,
    find_weights,
    without_module_prefix,
)
from convert_torch_weights.readers.restricted_pickle import Stub
from convert_torch_weights.readers.torch_pickle import (
    LazyTensor,
    Storage,
    TorchUnpickler,
    materialise,
)
from lipsync_jax.errors import CheckpointError

_MAX_ATTRIBUTES = 200_000
_MAX_NAME = 1000

# What zipfile raises on archives with flipped bits.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
    EOFError,
    OSError,
    struct.error,
)


def read_zip(path: Path) -> Checkpoint:
    """Reads a zip archive of either kind; see `read_checkpoint`."""
    size = path.stat().st_size
    try:
        if not zipfile.is_zipfile(path):
            raise CheckpointError(
                f"is cut short: {size} bytes of a zip archive whose end, with the list "
                "of its members, is missing; download it again"
            )
        with zipfile.ZipFile(path) as archive:
            return _read(_Members(archive, size))
    except _ZIP_ERRORS as error:
        raise CheckpointError(
            f"is a damaged zip archive ({str(error)[:100]}); download it again"
        ) from error


class _Members:
    """The members of an archive, by their names below its root folder."""

    def __init__(self, archive: zipfile.ZipFile, size: int):
        self.archive = archive
        infos = archive.infolist()
        # Members that overlap could make a small file fill the memory.
        if sum(info.compress_size for info in infos) > size:
            raise zipfile.BadZipFile("its members overlap")
        roots = [
            info.filename.removesuffix("data.pkl")
            for info in infos
            if info.filename.partition("/")[2] == "data.pkl"
        ]
        if len(roots) != 1:
            listing = ", ".join(ascii(info.filename[:60]) for info in infos[:5])
            raise CheckpointError(
                "is a zip archive, but not a PyTorch checkpoint (no data.pkl in it): "
                f"it holds {listing or 'nothing'}. If one of these is the checkpoint, "
                "unpack it first"
            )
        self.infos = {info.filename.removeprefix(roots[0]): info for info in infos}

    def __contains__(self, name: str) -> bool:
        return name in self.infos

    def read(self, name: str, size: int | None = None) -> bytes:
        """A member's bytes, which must be as many as `size`, where given."""
        if name not in self:
            raise CheckpointError(f"is damaged: its member {name[:60]!a} is missing")
        info = self.infos[name]
        if info.compress_type != zipfile.ZIP_STORED:
            raise CheckpointError(
                f"its member {name[:60]!a} is compressed, which PyTorch never "
                "does; use the file as it was published, or pack it with `zip -0`"
            )
        # A stored member gives out no more bytes than it takes in the archive.
        if info.file_size != info.compress_size or size not in (None, info.file_size):
            raise CheckpointError(
                f"is damaged: its member {name[:60]!a} has {info.compress_size} "
                f"bytes, expected {info.file_size if size is None else size}"
            )
        return self.archive.read(info)


def _read(members: _Members) -> Checkpoint:
    torchscript = "constants.pkl" in members
    unpickler = TorchUnpickler(torchscript=torchscript)
    saved = unpickler.load(BytesIO(members.read("data.pkl")))
    big = "byteorder" in members and members.read("byteorder") == b"big"

    def read(storage: Storage) -> np.ndarray:
        raw = members.read(f"data/{storage.key}", storage.nbytes)
        return storage.decode(raw, ">" if big else "<")

    if torchscript:
        weights = without_module_prefix(_module_tensors(saved))
        return Checkpoint(materialise(weights, read), "torchscript", {})
    weights, extra = find_weights(saved)
    return Checkpoint(materialise(weights, read), "zip", extra)


def _module_tensors(root: Any) -> dict[str, LazyTensor]:
    """The tensors of a tree of modules under their state_dict names."""
    found: dict[str, LazyTensor] = {}
    pending: list[tuple[str, Any]] = [("", root)]
    visited = 0
    while pending:
        prefix, module = pending.pop()
        if not isinstance(module, Stub):
            raise CheckpointError(
                "is a TorchScript archive of something else than a module"
            )
        visited += 1 + len(module.attributes)
        # A tree that contains itself has no end.
        if visited > _MAX_ATTRIBUTES or len(prefix) > _MAX_NAME:
            raise CheckpointError(
                "is a TorchScript archive of endlessly nested modules"
            )
        children = []
        for name, value in module.attributes.items():
            if isinstance(value, LazyTensor):
                found[f"{prefix}{name}"] = value
            elif isinstance(value, Stub):
                children.append((f"{prefix}{name}.", value))
        pending.extend(reversed(children))
    if not found:
        raise CheckpointError(
            "is a TorchScript archive without parameters: it was frozen, which folds "
            "the weights into its code. Use the file from before torch.jit.freeze"
        )
    return found
