"""LipGAN's networks with golden parameters, as Keras' files and converted from them."""

import json
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from keras_writer import Layers, save_weights
from parity import GOLDENS as WAV2LIP
from parity import _fill, fill_inputs, rgb

from convert_torch_weights import Converted, convert
from lipsync_jax.systems.lipgan.model import VARIANTS, keras_order

GOLDENS = WAV2LIP.parent / "lipgan"
# Chosen with the goldens, so that outputs depend on the sound and distances are < 1.
_GAIN = {"residual": 1.125, "basic": 1.5}
_RAISED = {
    "disc_mel": ("instance_normalization_11/beta:0", "conv2d_73/bias:0"),
    "disc_mfcc": ("conv2d_73/bias:0", "conv2d_80/bias:0"),
}
# Keras' names of what a norm holds; kernels and biases of layers keep theirs.
_LEAVES = {"gamma": "scale", "beta": "bias"}
_LEAVES |= {"moving_mean": "mean", "moving_variance": "var"}


@lru_cache
def manifest() -> dict[str, dict[str, list[int]]]:
    """Network -> weight, as Keras names it -> shape; in the order of the files."""
    return json.loads((GOLDENS / "manifest.json").read_text())


def filled(network: str, salt: str = "") -> dict[str, np.ndarray]:
    """The golden weights of a network in Keras' layout."""
    weights = {}
    for name, shape in manifest()[network].items():
        kind = _leaf(name)
        if kind == "kernel":
            # Drawn as (out, in, h, w).
            order = (2, 3, 0, 1) if "transpose" in name else (2, 3, 1, 0)
            drawn = [shape[order.index(axis)] for axis in range(4)]
            value = _fill.fill(name, drawn, kind, salt).transpose(order)
            value = value * np.float32(_GAIN.get(network.split("_")[-1], 1))
        else:
            value = _fill.fill(name, shape, kind, salt)
        if name in _RAISED.get(network, ()):
            value = value + np.float32(1)
        weights[name] = value
    return weights


def _leaf(weight: str) -> str:
    leaf = weight.split("/")[1].removesuffix(":0")
    return _LEAVES.get(leaf, leaf)


def layers(network: str) -> list[str]:
    """The layers with weights, in the order of the files."""
    return list(dict.fromkeys(name.split("/")[0] for name in manifest()[network]))


def paths(network: str, name: str) -> dict[str, str]:
    """Layer -> path among the parameters of the network `name`."""
    found = {}
    for kind, order in keras_order(VARIANTS[name]).items():
        same = [layer for layer in layers(network) if layer.rpartition("_")[0] == kind]
        same.sort(key=lambda layer: int(layer.rpartition("_")[2]))
        found |= dict(zip(same, order, strict=True))
    return found


def filled_layers(network: str) -> Layers:
    """The golden weights by layer, with the layers that have none, as in files."""
    found = {layer: {} for layer in _layer_names()[network]}
    for name, value in filled(network).items():
        found[name.split("/")[0]][name] = value
    return found


@lru_cache
def _layer_names() -> dict[str, list[str]]:
    return json.loads((GOLDENS / "layers.json").read_text())


@lru_cache(maxsize=1)
def converted(network: str) -> Converted:
    """The network of a manifest entry, from a file as published."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{network}.h5"
        save_weights(path, filled_layers(network))
        return convert(path)


def inputs(network: str) -> tuple[np.ndarray, np.ndarray]:
    """The golden inputs (audio, face), RGB; the face is masked for generators."""
    is_mel = "_mel" in network
    shape, high = ((80, 27, 1), 4) if is_mel else ((12, 35, 1), 30)
    audio = fill_inputs(f"lipgan/{network}/fwd/audio", (2, *shape), -high, high)
    channels = 6 if network.startswith("gen") else 3
    source = f"lipgan/{network}/fwd/face{channels}"
    face = fill_inputs(source, (2, 96, 96, channels), 0, 1)
    face[:, 48:, :, 3:] = 0
    return audio, rgb(face)


def golden(name: str, network: str = "") -> dict[str, np.ndarray]:
    """The arrays of a golden file; with `network`, those of one."""
    with np.load(GOLDENS / f"{name}.npz") as file:
        return {
            key.removeprefix(f"{network}/"): file[key]
            for key in file.files
            if key.startswith(network)
        }
