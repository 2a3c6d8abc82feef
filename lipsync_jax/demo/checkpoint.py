"""A seeded checkpoint in the published layout, to try the converter with."""

from pathlib import Path

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from convert_torch_weights.names import to_torch, torch_name
from convert_torch_weights.writer import write_checkpoint
from lipsync_jax import models_io


def write_untrained(path: Path, network: str = "wav2lip", seed: int = 0) -> None:
    """Writes randomly initialised weights under the names a published file has.

    The names carry the `module.` prefix of the originals' multi-GPU training and
    the file is in the pre-1.6 container they were saved in.
    """
    module = models_io.build(network)
    init = jax.jit(module.init)
    variables = init(jax.random.key(seed), *models_io.example_inputs(module))
    state = {
        f"module.{torch_name(where)}": to_torch(where, np.asarray(value))
        for where, value in flatten_dict(variables).items()
    }
    write_checkpoint(path, state, container="legacy")
