"""DAVS's networks with golden parameters, from a checkpoint's names."""

import json
from functools import lru_cache

import flax.linen as nn
import numpy as np
from flax.traverse_util import unflatten_dict
from parity import GOLDENS as WAV2LIP
from parity import _fill

from convert_torch_weights.davs_names import davs_name, davs_networks
from convert_torch_weights.names import from_torch
from lipsync_jax import models_io
from lipsync_jax.systems.davs.model import GENERATORS
from lipsync_jax.systems.davs.model_judges import CLASSIFIERS, DISCRIMINATORS

GOLDENS = WAV2LIP.parent / "davs"
NETWORKS: dict[str, nn.Module] = GENERATORS | DISCRIMINATORS | CLASSIFIERS


@lru_cache
def manifest() -> dict[str, dict[str, list[int]]]:
    """Key of the checkpoint -> parameter -> shape, with those that nothing uses."""
    return json.loads((GOLDENS / "manifest.json").read_text())


def checkpoint(sizes: dict[str, dict[str, list[int]]]) -> dict[str, np.ndarray]:
    """The golden checkpoint with parameters of these sizes, names behind their keys."""
    return {
        f"{key}.{name}": _fill.fill(f"{key}.{name}", shape)
        for key, parameters in sizes.items()
        for name, shape in parameters.items()
    }


def converted(tensors: dict[str, np.ndarray], network: str, module: nn.Module) -> dict:
    """A network's variables out of a checkpoint; every tensor of it has its place."""
    tensors = davs_networks(tensors)[network]
    paths = {davs_name(path): path for path in models_io.shapes(module)}
    assert paths.keys() == tensors.keys()
    return unflatten_dict(
        {path: from_torch(path, tensors[name]) for name, path in paths.items()}
    )


@lru_cache
def variables(network: str) -> dict:
    """The golden variables of a network of the published size."""
    keys = [key for key in manifest() if network in davs_networks({f"{key}.": None})]
    tensors = checkpoint({key: manifest()[key] for key in keys})
    return converted(tensors, network, NETWORKS[network])


def golden(name: str) -> dict[str, np.ndarray]:
    """The arrays of a golden file."""
    with np.load(GOLDENS / f"{name}.npz") as file:
        return dict(file)
