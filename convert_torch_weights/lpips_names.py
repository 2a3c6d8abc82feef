"""Name map of LPIPS, which is published as two files: AlexNet, and heads upon it.

The package `lpips` itself saves both in one, under other names.

    features_0/conv     features.0                 torchvision
                        net.slice1.0               lpips, of a whole network
    lin0                lin0.model.1.weight
"""

import re
from collections.abc import Mapping

import numpy as np

from convert_torch_weights.names import from_torch
from lipsync_jax.errors import CheckpointError

Path = tuple[str, ...]
Tensors = Mapping[str, np.ndarray]

_TRUNK = "features.0.weight"
_HEAD = "lin0.model.1.weight"
# The rest of AlexNet, constants, and the heads under their second names.
_UNUSED = re.compile(r"classifier\.|scaling_layer\.|lins\.")
_LEAVES = {"kernel": "weight", "bias": "bias"}


def is_lpips(tensors: Tensors) -> bool:
    """Whether a file holds AlexNet, the heads or both."""
    tensors = _renamed(tensors)
    return _HEAD in tensors or (
        _TRUNK in tensors and tensors[_TRUNK].shape == (64, 3, 11, 11)
    )


def lpips_network(tensors: Tensors) -> dict[str, np.ndarray]:
    """The tensors that LPIPS uses, under torchvision's names.

    Raises:
      CheckpointError: one of the two halves is not there.
    """
    tensors = _renamed(tensors)
    if _HEAD not in tensors:
        raise CheckpointError(
            "is AlexNet alone; give the heads of LPIPS as a second file: lipsync "
            "convert ALEXNET.pth alex.pth --out DIR (alex.pth is in the package lpips, "
            "in lpips/weights/v0.1)"
        )
    if _TRUNK not in tensors:
        raise CheckpointError(
            "holds the heads of LPIPS alone; give AlexNet as the first file: lipsync "
            "convert alexnet-owt-7be5be79.pth alex.pth --out DIR (it is torchvision's)"
        )
    return tensors


def lpips_name(path: Path) -> str:
    """Published name of the variable at `path`, which begins with "params"."""
    _, layer, *rest = path
    if not rest:
        return f"{layer}.model.1.weight"
    return f"{layer.replace('_', '.')}.{_LEAVES[rest[-1]]}"


def from_lpips(path: Path, value: np.ndarray) -> np.ndarray:
    """A parameter in the layout of the Flax variable at `path`."""
    if len(path) == 2:  # a head (1, n, 1, 1)
        return np.asarray(value, np.float32).reshape(-1)
    return from_torch(path, value)


def _renamed(tensors: Tensors) -> dict[str, np.ndarray]:
    """Without what is not used, AlexNet's names as torchvision has them."""
    return {
        re.sub(r"^net\.slice\d\.", "features.", name): tensor
        for name, tensor in tensors.items()
        if not _UNUSED.match(name)
    }
