"""Writes HDF5 files as Keras 2.2.4 does."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import h5py
import numpy as np

# Layer -> its weights by their names ("conv2d_1/kernel:0"), or model -> those of all
# its layers; in the file's order.
Layers = Mapping[str, Mapping[str, np.ndarray]]


def save_weights(path: Path, layers: Layers) -> Path:
    """`Model.save_weights`."""
    with h5py.File(path, "w") as file:
        write_layers(file, layers)
    return path


def save(path: Path, layers: Layers) -> Path:
    """`Model.save` of a model that was trained for a step."""
    with h5py.File(path, "w") as file:
        _write_versions(file)
        file.attrs["model_config"] = np.bytes_('{"class_name": "Model"}')
        file.attrs["training_config"] = np.bytes_('{"loss": "mae"}')
        write_layers(file.create_group("model_weights"), layers)
        optimizer = file.create_group("optimizer_weights")
        moments = ["training/Adam/Variable:0", "training/Adam/Variable_1:0"]
        write_names(optimizer, "weight_names", ["Adam/iterations:0", *moments])
        optimizer["Adam/iterations:0"] = np.int64(1)
        for name in moments:
            optimizer[name] = np.zeros((3, 3), np.float32)
    return path


def write_layers(group: h5py.Group, layers: Layers) -> None:
    """A model's weights into a group."""
    _write_versions(group)
    write_names(group, "layer_names", layers)
    for layer, weights in layers.items():
        write_names(group.create_group(layer), "weight_names", weights)
        for name, value in weights.items():
            group[layer][name] = value


def write_names(group: h5py.Group, attribute: str, names: Iterable[str]) -> None:
    """A list of names; an empty one is of float64."""
    group.attrs[attribute] = np.array([name.encode() for name in names])


def _write_versions(group: h5py.Group) -> None:
    group.attrs["backend"] = np.bytes_("tensorflow")
    group.attrs["keras_version"] = np.bytes_("2.2.4")
