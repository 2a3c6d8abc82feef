"""Name map between Keras files and Flax variables.

Keras numbers the layers of a class as they are created, so `conv2d_71` says only that
70 convolutions came before it in the session that wrote the file, perhaps in other
networks. What counts is a layer's place among its like: the first convolution of a
network is `conv2d#1` here, whichever number its file gives it.

    conv2d#N/kernel|bias, conv2d_transpose#N/...   X/conv/..., X/conv_transpose/...
    batch_normalization#N/gamma|beta               X/norm/scale|bias
    batch_normalization#N/moving_mean|variance     X/norm/mean|var  (batch_stats)
    instance_normalization#N/gamma|beta            X/norm/scale|bias

X is the N-th of the network's layers of that class, as `keras_order` tells.
"""

import re
from collections import defaultdict
from collections.abc import Mapping

import flax.linen as nn
import numpy as np

from convert_torch_weights.keras_layers import FILE_ORDERS
from lipsync_jax.errors import CheckpointError
from lipsync_jax.systems.lipgan.model import keras_order

Path = tuple[str, ...]
Tensors = Mapping[str, np.ndarray]

_CONVOLUTION = {"kernel": ("params", "kernel"), "bias": ("params", "bias")}
_NORM = {"gamma": ("params", "scale"), "beta": ("params", "bias")}
_STATISTICS = {
    "moving_mean": ("batch_stats", "mean"),
    "moving_variance": ("batch_stats", "var"),
}
# Class of a layer -> its arrays -> collection and name in Flax.
_ARRAYS = {
    "conv2d": _CONVOLUTION,
    "conv2d_transpose": _CONVOLUTION,
    "batch_normalization": _NORM | _STATISTICS,
    "instance_normalization": _NORM,
}
# Later versions of Keras leave out the number of the first.
_NUMBERED = re.compile(rf"({'|'.join(_ARRAYS)})(?:_([0-9]+))?")


def keras_names(module: nn.Module) -> dict[str, Path]:
    """Name -> path of every variable of a network."""
    return {
        f"{kind}#{place}/{array}": (collection, *path.split("/"), leaf)
        for kind, layers in keras_order(module).items()
        for place, path in enumerate(layers, 1)
        for array, (collection, leaf) in _ARRAYS[kind].items()
    }


def keras_networks(tensors: Tensors) -> list[dict[str, np.ndarray]]:
    """The networks of a file, each with its layers named by their places.

    Args:
      tensors: as `readers.keras_h5` names them: "conv2d_71/kernel", or, in a file of
        several networks, "model_1/conv2d_71/kernel".

    Returns:
      Per network the arrays by name, in the file's order. Layers that have a name of
      their own keep it.
    """
    networks = defaultdict(dict)
    for name, tensor in tensors.items():
        *network, layer, array = name.split("/")
        networks[tuple(network)][layer, array] = tensor
    return [_by_place(network) for network in networks.values()]


def _by_place(network: Mapping[tuple[str, str], np.ndarray]) -> dict[str, np.ndarray]:
    numbered = defaultdict(list)
    for layer in dict.fromkeys(layer for layer, _ in network):
        if match := _NUMBERED.fullmatch(layer):
            numbered[match[1]].append((int(match[2] or 0), layer))
    places = {
        layer: f"{kind}#{place}"
        for kind, layers in numbered.items()
        for place, (_, layer) in enumerate(sorted(layers), 1)
    }
    return {
        f"{places.get(layer, layer)}/{array}": tensor
        for (layer, array), tensor in network.items()
    }


def check_order(network: str, tensors: Tensors) -> None:
    """Compares the numbers of a file's layers to where they stand in it.

    Keras itself goes by where a layer stands. Many layers have the same shape, so only
    this tells whether a file's numbers mean what they mean in published ones.

    Args:
      network: whose the tensors are.
      tensors: one of `keras_networks`, whose names and shapes fit.

    Raises:
      CheckpointError: the layers fit by number and by order, but not alike.
    """
    layers = list(dict.fromkeys(name.split("/")[0] for name in tensors))
    if layers == FILE_ORDERS[network]:
        return
    published = dict(zip(layers, FILE_ORDERS[network], strict=True))
    by_number = {name: tensor.shape for name, tensor in tensors.items()}
    by_order = {}
    for name, shape in by_number.items():
        layer, array = name.split("/")
        by_order[f"{published[layer]}/{array}"] = shape
    if by_order == by_number:
        raise CheckpointError(
            f"its layers fit {network} by their numbers and by their order, but not "
            "alike; the file was edited. Use it as it was published, or save it again "
            "from the program that wrote it"
        )


def from_keras(path: Path, value: np.ndarray) -> np.ndarray:
    """A Keras array in the layout of the Flax variable at `path`.

    Raises:
      ValueError: the number of axes is not one a kernel can have.
    """
    value = np.asarray(value, np.float32)
    if path[-1] != "kernel":
        return value
    if value.ndim != 4:
        raise ValueError(f"{value.ndim} axes")
    if "conv_transpose" in path:  # (h, w, out, in), flipped: see nn.blocks
        return value[::-1, ::-1].swapaxes(2, 3)
    return value
