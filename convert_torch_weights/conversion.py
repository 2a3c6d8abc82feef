"""Published checkpoint -> Flax module and variables."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np
from flax.traverse_util import unflatten_dict

from convert_torch_weights.names import bgr_to_rgb, from_torch, torch_name
from convert_torch_weights.readers import read_checkpoint
from lipsync_jax import __version__, models_io
from lipsync_jax.checksum import sha256
from lipsync_jax.errors import CheckpointError

LICENCE_NOTE = (
    "The weights keep the terms of whoever published them: the Wav2Lip weights are "
    "for research and personal use only, trained on LRS2, whose terms forbid "
    "commercial use. This file's conversion adds no rights."
)

# Other names under which people know the same network.
ALIASES = {
    "wav2lip_gan": "wav2lip",
    "wav2lip_sd_gan": "wav2lip",
    "wav2lip_sd_nogan": "wav2lip",
    "lipsync_expert": "expert",
    "syncnet_color": "expert",
    "visual_quality_disc": "quality_disc",
    "wav2lip_192": "wav2lip_sam",
}

_COUNTER = "num_batches_tracked"

# First and last layers of networks that were trained on BGR images.
_BGR_IN = {
    "face_encoder_0",
    "face_encoder_blocks_0_0",
    "main_0",
    "netcnnlip_0",
}
_BGR_OUT = {"output_block_1"}


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
    """Reads a published checkpoint; PyTorch is not needed.

    Args:
      path: zip or legacy `.pth`, or TorchScript `.pt`.
      network: name of the network in the file; recognised when omitted.
      resolution: crop size, for networks whose weights fit several sizes.

    Raises:
      CheckpointError: unreadable file, unknown network, or parameters that do not
        fit; names them.
      ModelError: unknown network name or a size it does not take.
    """
    path = Path(path)
    checkpoint = read_checkpoint(path)
    try:
        converted = convert_tensors(checkpoint.tensors, network, resolution)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    provenance = {
        "source": path.name,
        "source_sha256": sha256(path),
        "container": checkpoint.container,
        "converter": __version__,
        "training": checkpoint.extra,
        "colour": "RGB (weights trained on BGR; first and last layers re-ordered)",
        "licence": LICENCE_NOTE,
    }
    return replace(converted, metadata=provenance)


def convert_tensors(
    tensors: Mapping[str, np.ndarray],
    network: str | None = None,
    resolution: int | None = None,
) -> Converted:
    """Maps a PyTorch state_dict to Flax variables.

    Args:
      tensors: name -> array in PyTorch's layout, without `module.` prefixes.
      network: as for `convert`.
      resolution: as for `convert`.

    Raises:
      CheckpointError, ModelError: as for `convert`.
    """
    # A step counter PyTorch keeps; nothing computes with it.
    tensors = {k: v for k, v in tensors.items() if not k.endswith(_COUNTER)}
    if network is None:
        network = _recognise(tensors)
    network = ALIASES.get(network, network)
    arguments = {} if resolution is None else {"resolution": resolution}
    module = models_io.build(network, arguments)
    return Converted(network, module, _map(tensors, network, module), {}, arguments)


def _expected(module: nn.Module) -> dict[str, tuple[tuple[str, ...], tuple[int, ...]]]:
    """PyTorch name -> (path, shape in Flax layout)."""
    return {
        torch_name(path): (path, shape)
        for path, shape in models_io.shapes(module).items()
    }


def _mapped_shape(path: tuple[str, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Flax shape of a PyTorch parameter; its own shape when it cannot be mapped."""
    # A broadcast scalar has any shape and no memory.
    probe = np.broadcast_to(np.float32(0), shape)
    try:
        return from_torch(path, probe).shape
    except ValueError:
        return shape


def _fit(found: Mapping[str, np.ndarray], module: nn.Module) -> float:
    """Share of names and shapes that agree, 1 for a perfect match."""
    expected = _expected(module)
    agree = sum(
        name in expected
        and _mapped_shape(expected[name][0], value.shape) == expected[name][1]
        for name, value in found.items()
    )
    return agree / max(len(found), len(expected))


def _recognise(tensors: Mapping[str, np.ndarray]) -> str:
    network, fit = _closest(tensors)
    if fit == 1:
        return network
    if fit > 0.5:
        raise CheckpointError(
            f"looks like {network}, but only {fit:.0%} of its parameters fit; see "
            f"which with --network {network}"
        )
    raise CheckpointError(
        f"not a network this program knows ({len(tensors)} parameters, first: "
        f"{', '.join(list(tensors)[:3])}); known: {', '.join(models_io.NETWORKS)}"
    )


def _closest(tensors: Mapping[str, np.ndarray]) -> tuple[str, float]:
    fits = {
        name: _fit(tensors, module) for name, (_, module) in models_io.NETWORKS.items()
    }
    best = max(fits, key=fits.__getitem__)
    return best, fits[best]


def _map(found: Mapping[str, np.ndarray], network: str, module: nn.Module) -> dict:
    expected = _expected(module)
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    wrong = [
        f"{name} {tuple(value.shape)}"
        for name, value in found.items()
        if name in expected
        and _mapped_shape(expected[name][0], value.shape) != expected[name][1]
    ]
    if missing or unexpected or wrong:
        other, fit = _closest(found)
        if fit > 0.5 and other != network:
            raise CheckpointError(
                f"not a {network} checkpoint: it looks like {other}; convert it with "
                f"--network {other}"
            )
        problems = "; ".join(
            f"{len(names)} {kind}: {', '.join(names)}"
            for kind, names in (
                ("missing", missing),
                ("unexpected", unexpected),
                ("of another shape", wrong),
            )
            if names
        )
        raise CheckpointError(f"not a {network} checkpoint: {problems}")

    flat = {}
    for name, (where, _) in expected.items():
        value = from_torch(where, found[name])
        if not np.isfinite(value).all():
            raise CheckpointError(
                f"{name} holds values that are not finite; the file is damaged "
                "or its training diverged"
            )
        if where[1] in _BGR_IN and where[-1] == "kernel":
            value = bgr_to_rgb(value, axis=2)
        if where[1] in _BGR_OUT:
            value = bgr_to_rgb(value, axis=-1)
        flat[where] = np.ascontiguousarray(value)
    return unflatten_dict(flat)
