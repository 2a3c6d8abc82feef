"""Readers of published checkpoint files. They need NumPy, not the framework.

Files are treated as hostile until parsed: no code in them ever runs (see
`restricted_pickle`), and no size they declare is believed before it is checked.
"""

import os
from pathlib import Path

from convert_torch_weights.readers.checkpoint import Checkpoint
from convert_torch_weights.readers.file_kind import refuse_other_kinds
from convert_torch_weights.readers.keras_h5 import SIGNATURE, read_keras
from convert_torch_weights.readers.tf_checkpoint import (
    read_tensorflow,
    tensorflow_prefix,
)
from convert_torch_weights.readers.torch_legacy import read_legacy
from convert_torch_weights.readers.torch_zip import read_zip
from lipsync_jax.errors import CheckpointError

__all__ = ["Checkpoint", "read_checkpoint"]


def read_checkpoint(path: str | os.PathLike) -> Checkpoint:
    """Reads the weights of a checkpoint of PyTorch, Keras or TensorFlow.

    Understands both containers of `torch.save` (the zip archive of PyTorch 1.6 and
    later, the stream of earlier versions), TorchScript archives, HDF5 files of Keras 2,
    and TensorFlow's pairs of files. Optimizer states are skipped, not loaded.

    Args:
      path: The `.pth`, `.pt`, `.model` or `.h5` file; its content decides. Of
        TensorFlow's X.index and X.data-00000-of-00001 any one, or X.

    Returns:
      The weights, under their names in the file.

    Raises:
      CheckpointError: The file is absent, damaged, cut short, of another kind, or
        asks for something that only a hostile file would ask for.
    """
    path = Path(path)
    try:
        if prefix := tensorflow_prefix(path):
            return read_tensorflow(prefix)
        refuse_other_kinds(path)
        with path.open("rb") as file:
            head = file.read(len(SIGNATURE))
        if head == SIGNATURE:
            return read_keras(path)
        return read_zip(path) if head.startswith(b"PK") else read_legacy(path)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
