"""Published checkpoint -> Flax module and variables."""

import math
import os
import pathlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import flax.linen as nn
import numpy as np
from flax.traverse_util import unflatten_dict

from convert_torch_weights.framework import FRAMEWORKS, TORCH, Framework, Tensors
from convert_torch_weights.names import bgr_to_rgb
from convert_torch_weights.published import ALIASES, PUBLISHED
from convert_torch_weights.readers import Checkpoint, read_checkpoint
from convert_torch_weights.readers.tf_checkpoint import index_file, tensorflow_prefix
from convert_torch_weights.recognition import Target, misfit, published, recognise
from lipsync_jax import __version__, models_io
from lipsync_jax.checksum import sha256
from lipsync_jax.errors import CheckpointError

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
      absent: networks that are published in the same file, and not in this one.
    """

    network: str
    module: nn.Module
    variables: dict
    metadata: dict[str, Any]
    arguments: dict[str, Any]
    absent: tuple[str, ...] = ()


def convert(
    path: str | os.PathLike,
    network: str | None = None,
    *,
    resolution: int | None = None,
    others: Sequence[str | os.PathLike] = (),
) -> Converted:
    """The network of a file, or the first of several; see `convert_all`."""
    return next(convert_all(path, network, resolution=resolution, others=others))


def convert_all(
    path: str | os.PathLike,
    network: str | None = None,
    *,
    resolution: int | None = None,
    others: Sequence[str | os.PathLike] = (),
) -> Iterator[Converted]:
    """Reads a published checkpoint; the framework it came from is not needed.

    Args:
      path: zip or legacy `.pth`, TorchScript `.pt`, Keras' `.h5`, or any part of a
        TensorFlow checkpoint.
      network: name of the one that is wanted; all are recognised when omitted.
      resolution: crop size, for networks whose weights fit several sizes.
      others: further files, of a network that is published in parts.

    Yields:
      The networks of the file; the first one is what the others are trained with.

    Raises:
      CheckpointError: unreadable file, unknown network, or parameters that do not
        fit; names them.
      ModelError: unknown network name or a size it does not take.
    """
    path = pathlib.Path(path)
    checkpoint = read_checkpoint(path)
    source = _source(path, checkpoint)
    for other in map(pathlib.Path, others):
        part = read_checkpoint(other)
        checkpoint = _joined(checkpoint, part, other)
        for key in ("source", "source_sha256"):
            source[key] += f", {_source(other, part)[key]}"
    framework = next(f for f in FRAMEWORKS if f.wrote(checkpoint))
    try:
        networks = framework.networks(checkpoint.tensors)
        names = [network] if network else recognise(networks, framework)
        absent = () if network else _absent(names, framework)
        for name in names:
            found = convert_tensors(checkpoint.tensors, name, resolution, framework)
            licence = {"licence": PUBLISHED[found.network].licence}
            yield replace(found, metadata=source | licence, absent=absent)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def convert_tensors(
    tensors: Tensors,
    network: str | None = None,
    resolution: int | None = None,
    framework: Framework = TORCH,
) -> Converted:
    """Maps the weights of a checkpoint to Flax variables.

    Args:
      tensors: name -> array in the framework's layout; names as the readers give them.
      network: the one that is wanted; the first in the file when omitted.
      resolution: as for `convert`.
      framework: whose names and layouts they are.

    Raises:
      CheckpointError, ModelError: as for `convert`.
    """
    networks = framework.networks(tensors)
    if network is None:
        network = recognise(networks, framework)[0]
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


def _absent(names: list[str], framework: Framework) -> tuple[str, ...]:
    """Networks that other files of the program hold beside those of these names."""
    if not framework.together:
        return ()
    return tuple(name for name in published(framework) if name not in names)


def _joined(first: Checkpoint, second: Checkpoint, path: pathlib.Path) -> Checkpoint:
    """Two files of one network as one."""
    if both := sorted(first.tensors.keys() & second.tensors.keys()):
        raise CheckpointError(
            f"{path}: has {len(both)} names in common with the file before it (first: "
            f"{both[0]}); give the parts of one network only"
        )
    return replace(first, tensors={**first.tensors, **second.tensors})


def _source(path: pathlib.Path, checkpoint: Checkpoint) -> dict[str, Any]:
    """Where weights come from, for their model.json."""
    if prefix := tensorflow_prefix(path):
        path = index_file(prefix)  # which has the checksums of the rest
    return {
        "source": path.name,
        "source_sha256": sha256(path),
        "container": checkpoint.container,
        "converter": __version__,
        "training": {k: v for k, v in checkpoint.extra.items() if not _unspeakable(v)},
        "colour": "RGB (first and last layers trained on BGR are re-ordered)",
    }


def _unspeakable(value: object) -> bool:
    """Whether JSON has no word for it."""
    return isinstance(value, float) and not math.isfinite(value)


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
