"""Published checkpoint -> Flax module and variables."""

import os
import pathlib
from dataclasses import dataclass, replace
from typing import Any

import flax.linen as nn
import numpy as np
from flax.traverse_util import unflatten_dict

from convert_torch_weights.framework import KERAS, TENSORFLOW, TORCH, Framework, Tensors
from convert_torch_weights.names import bgr_to_rgb
from convert_torch_weights.published import ALIASES, PUBLISHED
from convert_torch_weights.readers import read_checkpoint
from convert_torch_weights.readers.tf_checkpoint import index_file, tensorflow_prefix
from convert_torch_weights.recognition import Target, misfit, published, recognise
from lipsync_jax import __version__, models_io
from lipsync_jax.checksum import sha256
from lipsync_jax.errors import CheckpointError

# Those of containers that are not PyTorch's.
_FRAMEWORKS = {"keras": KERAS, "tensorflow": TENSORFLOW}

# First and last layers of networks that were trained on BGR images.
_BGR_IN = {
    "face_encoder_0",
    "face_encoder_blocks_0_0",
    "main_0",
    "netcnnlip_0",
}
_BGR_OUT = {"output_block_1", "prediction"}


@dataclass(frozen=True)
class Converted:
    """A checkpoint in JAX form.

    Attributes:
      network: name of the network (key of `lipsync_jax.models_io.NETWORKS`).
      module: the Flax module.
      variables: {"params": ..., "batch_stats": ...}, NumPy float32, RGB in and out.
      metadata: provenance, written into model.json.
      arguments: sizes that differ from the network's published ones.
    """

    network: str
    module: nn.Module
    variables: dict
    metadata: dict[str, Any]
    arguments: dict[str, Any]


def convert(
    path: str | os.PathLike,
    network: str | None = None,
    *,
    resolution: int | None = None,
) -> Converted:
    """Reads a published checkpoint; the framework it came from is not needed.

    Args:
      path: zip or legacy `.pth`, TorchScript `.pt`, Keras' `.h5`, or any part of a
        TensorFlow checkpoint.
      network: name of the network in the file; recognised when omitted.
      resolution: crop size, for networks whose weights fit several sizes.

    Raises:
      CheckpointError: unreadable file, unknown network, several networks, or
        parameters that do not fit; names them.
      ModelError: unknown network name or a size it does not take.
    """
    path = pathlib.Path(path)
    checkpoint = read_checkpoint(path)
    framework = _FRAMEWORKS.get(checkpoint.container, TORCH)
    try:
        converted = convert_tensors(checkpoint.tensors, network, resolution, framework)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    if prefix := tensorflow_prefix(path):
        path = index_file(prefix)  # which has the checksums of the rest
    provenance = {
        "source": path.name,
        "source_sha256": sha256(path),
        "container": checkpoint.container,
        "converter": __version__,
        "training": checkpoint.extra,
        "colour": "RGB (weights trained on BGR; first and last layers re-ordered)",
        "licence": PUBLISHED[converted.network].licence,
    }
    return replace(converted, metadata=provenance)


def convert_tensors(
    tensors: Tensors,
    network: str | None = None,
    resolution: int | None = None,
    framework: Framework = TORCH,
) -> Converted:
    """Maps the weights of a checkpoint to Flax variables.

    Args:
      tensors: name -> array in the framework's layout; names as the readers give them.
      network: as for `convert`.
      resolution: as for `convert`.
      framework: whose names and layouts they are.

    Raises:
      CheckpointError, ModelError: as for `convert`.
    """
    networks = framework.networks(tensors)
    if network is None:
        network = recognise(networks, framework)
    network = ALIASES.get(network, network)
    arguments = {} if resolution is None else {"resolution": resolution}
    module = models_io.build(network, arguments)
    if network not in published(framework):
        raise CheckpointError(
            f"is a file of {framework.name}, but {network} was not published as one; "
            f"such files hold one of: {', '.join(published(framework))}"
        )
    target = Target(network, module, framework)
    best = max(networks, key=target.fit)
    if target.fit(best) < 1:
        raise CheckpointError(misfit(best, target))
    framework.check(network, best)
    return Converted(network, module, _variables(best, target), {}, arguments)


def _variables(tensors: Tensors, target: Target) -> dict:
    """The variables of a network from its tensors."""
    flat = {}
    for name, (path, _) in target.expected.items():
        value = target.framework.to_flax(path, tensors[name])
        if not np.isfinite(value).all():
            raise CheckpointError(
                f"{name} holds values that are not finite; the file is damaged "
                "or its training diverged"
            )
        if path[1] in _BGR_IN and path[-1] == "kernel":
            value = bgr_to_rgb(value, axis=2)
        if path[1] in _BGR_OUT:
            value = bgr_to_rgb(value, axis=-1)
        flat[path] = np.ascontiguousarray(value)
    return unflatten_dict(flat)
