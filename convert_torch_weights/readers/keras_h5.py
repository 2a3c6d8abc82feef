"""HDF5 files of Keras 2: `Model.save_weights`, and `Model.save`.

The group of the weights lists its layers in the attribute `layer_names` (HDF5's own
order is alphabetical). Each layer is a group, whose attribute `weight_names` lists its
arrays by their paths below it. A model within a model has one group for all its layers.
`Model.save` puts all this into the group `model_weights`. (LipGAN, section 4.2.)

`keras_listing` finds out where the arrays lie; here they are read.
"""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from convert_torch_weights.readers.checkpoint import Checkpoint
from lipsync_jax.errors import CheckpointError

SIGNATURE = b"\x89HDF\r\n\x1a\n"

_LISTING = Path(__file__).with_name("keras_listing.py")
_SECONDS = 60  # one suffices


def read_keras(path: Path) -> Checkpoint:
    """Reads an HDF5 file; see `read_checkpoint`.

    Returns:
      The weights as "layer/kind" ("conv2d_1/kernel"), those of a model within a model
      as "model/layer/kind", in the order of the layers. Optimizer states are skipped.
    """
    tensors = {name: _read(path, *place) for name, place in _places(path).items()}
    return Checkpoint(tensors, "keras", {})


def _places(path: Path) -> dict[str, tuple[str, list[int], int]]:
    """Type, shape and offset of each array."""
    command = [sys.executable, "-P", str(_LISTING), str(path)]
    # More threads of NumPy's would reserve more memory than the listing may have.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, env=environment, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise CheckpointError(
            f"is a damaged HDF5 file (not understood after {_SECONDS} s); download it "
            "again"
        ) from error
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise CheckpointError(
            f"is a damaged HDF5 file (its reader ended with {done.returncode}: "
            f"{reason[:100]!a}); download it again"
        )
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise CheckpointError(answer["error"])
    return answer["arrays"]


def _read(path: Path, kind: str, shape: list[int], offset: int) -> np.ndarray:
    values = np.fromfile(path, kind, math.prod(shape), offset=offset)
    values = values.astype(np.float32, copy=False).reshape(shape)
    values.flags.writeable = False
    return values
