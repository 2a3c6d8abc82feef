"""HDF5 files of Keras 2: `Model.save_weights`, and `Model.save`.

The group of the weights lists its layers in the attribute `layer_names` (HDF5's own
order is alphabetical). Each layer is a group, whose attribute `weight_names` lists its
arrays by their paths below it. A model within a model has one group for all its layers.
`Model.save` puts all this into the group `model_weights`. (LipGAN, section 4.2.)

The HDF5 library follows links into other files, inflates what is compressed, and
allocates what a file declares. Hence every name is checked before it is followed and
every size before it is read.
"""

import math
from itertools import islice
from pathlib import Path

import h5py
import numpy as np

from convert_torch_weights.readers.checkpoint import Checkpoint
from lipsync_jax.errors import CheckpointError

SIGNATURE = b"\x89HDF\r\n\x1a\n"

_MAX_NAMES = 4096
_MAX_NAME_BYTES = 256

# What h5py raises on files with flipped bits.
_HDF5_ERRORS = (
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    OverflowError,
    NotImplementedError,
)


def read_keras(path: Path) -> Checkpoint:
    """Reads an HDF5 file; see `read_checkpoint`.

    Returns:
      The weights as "layer/kind" ("conv2d_1/kernel"), those of a model within a model
      as "model/layer/kind", in the order of the layers. Optimizer states are skipped.
    """
    size = path.stat().st_size
    try:
        with h5py.File(path, "r", locking=False) as file:
            datasets = _datasets(_weights_group(file))
            _refuse_oversize(datasets, size)
            tensors = {name: dataset[()] for name, dataset in datasets.items()}
    except _HDF5_ERRORS as error:
        reason = " ".join(str(error).split())
        if "truncated file" in reason:
            raise CheckpointError(
                f"is cut short: an HDF5 file of which only {size} bytes are here; "
                "download it again"
            ) from error
        raise CheckpointError(
            f"is a damaged HDF5 file ({reason[:100]}); download it again"
        ) from error
    return Checkpoint(tensors, "keras", {})


def _weights_group(file: h5py.File) -> h5py.Group:
    """The group that lists the layers."""
    group: h5py.Group = file
    if not _strings(file, "layer_names") and _is_inside(file, "model_weights"):
        group = _child(file, "model_weights")
    if not _strings(group, "layer_names"):
        listing = ", ".join(ascii(name)[:40] for name in islice(file, 5))
        raise CheckpointError(
            "is an HDF5 file, but not one that Keras 2 wrote (no layer_names in it): "
            f"it holds {listing or 'nothing'}; expected a file of model.save_weights "
            "or model.save"
        )
    backend = _strings(group, "backend") or _strings(file, "backend")
    if backend not in ([], ["tensorflow"]):
        raise CheckpointError(
            f"was written by Keras on {backend[0][:40]!a}, where kernels lie the other "
            "way round; load it into Keras on TensorFlow and save it from there"
        )
    return group


def _datasets(weights: h5py.Group) -> dict[str, h5py.Dataset]:
    """The weights, unread, by layer and kind."""
    found: dict[str, h5py.Dataset] = {}
    for group_name in _strings(weights, "layer_names"):
        group = _child(weights, *group_name.split("/"))
        paths = [name.split("/") for name in _strings(group, "weight_names")]
        # A layer's group holds one layer, under the layer's name or, where Keras had
        # to tell two apart, one like it; a model's group holds many.
        is_model = len({tuple(layer) for *layer, _ in paths}) > 1
        for path in paths:
            *layer, kind = path
            inner = [group_name, *layer] if is_model else [group_name]
            name = "/".join([*inner, kind.removesuffix(":0")])
            if name in found:
                raise CheckpointError(f"is damaged: it lists {name} twice")
            found[name] = _checked(_child(group, *path), name)
    if not found:
        raise CheckpointError("is a Keras file without weights")
    return found


def _is_inside(group: h5py.Group, name: str) -> bool:
    """Whether an object of that name lies in this file, not behind a link."""
    links = group.id.links
    return (
        name not in ("", ".")
        and links.exists(name.encode())
        and links.get_info(name.encode()).type == h5py.h5l.TYPE_HARD
    )


def _child(group: h5py.Group, *path: str) -> h5py.Group | h5py.Dataset:
    """What lies at the path."""
    child = group
    for name in path:
        if not isinstance(child, h5py.Group) or not _is_inside(child, name):
            raise CheckpointError(
                f"is damaged: {'/'.join(path)[:60]!a} is missing, or links elsewhere"
            )
        child = child[name]
    return child


def _checked(dataset: h5py.Group | h5py.Dataset, name: str) -> h5py.Dataset:
    if not isinstance(dataset, h5py.Dataset):
        raise CheckpointError(f"is damaged: {name} is not an array")
    if dataset.dtype.newbyteorder("=") != np.float32:
        raise CheckpointError(
            f"its {name} is stored as {str(dataset.dtype)[:40]}; expected float32, as "
            "Keras writes it"
        )
    properties = dataset.id.get_create_plist()
    if (
        properties.get_layout() != h5py.h5d.CONTIGUOUS
        or properties.get_external_count() > 0
    ):
        raise CheckpointError(
            f"its {name} is compressed, in pieces or in another file, which Keras "
            "never does; use the file as it was published, or rewrite it with "
            "`h5repack -l CONTI`"
        )
    if dataset.id.get_storage_size() != _size(dataset):
        raise CheckpointError(
            f"is damaged: {name}, declared as {dataset.shape}, takes "
            f"{dataset.id.get_storage_size()} bytes in the file"
        )
    return dataset


def _size(dataset: h5py.Dataset) -> int:
    return math.prod(dataset.shape) * dataset.dtype.itemsize


def _refuse_oversize(datasets: dict[str, h5py.Dataset], size: int) -> None:
    """Arrays that overlap could make a small file fill the memory."""
    total = sum(map(_size, datasets.values()))
    if total > size:
        raise CheckpointError(
            f"is damaged: a file of {size} bytes declares weights of {total} bytes"
        )


def _strings(group: h5py.Group, name: str) -> list[str]:
    """A list of strings among the attributes; empty when there is none.

    Keras splits a list that is too long for one attribute over name0, name1, ...
    """
    parts = [name] if name in group.attrs else []
    while (part := f"{name}{len(parts)}") in group.attrs:
        parts.append(part)
    return [text for part in parts for text in _attribute(group, part)]


def _attribute(group: h5py.Group, name: str) -> list[str]:
    identifier = group.attrs.get_id(name)
    shape, kind = identifier.shape, identifier.dtype
    if shape is None or 0 in shape:  # Keras' empty list is one of float64
        return []
    is_text = h5py.check_string_dtype(kind) is not None
    fits = math.prod(shape) <= _MAX_NAMES and kind.itemsize <= _MAX_NAME_BYTES
    if not is_text or not fits:
        raise CheckpointError(
            f"is damaged: its attribute {name} is not a list of names, but "
            f"{shape} of {str(kind)[:40]}"
        )
    values = np.ravel(group.attrs[name])
    texts = [v.decode() if isinstance(v, bytes) else str(v) for v in values]
    if not all(t.isprintable() and len(t) <= _MAX_NAME_BYTES for t in texts):
        raise CheckpointError(f"is damaged: its attribute {name} is not of names")
    return texts
