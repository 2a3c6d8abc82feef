"""Where the weights lie in an HDF5 file of Keras 2; a program of its own.

    python keras_listing.py FILE    prints {"error": ...} or {"arrays": {name: place}}

A place is the array's type as NumPy names it, its shape, and the offset of its bytes.

The HDF5 library follows links into other files, allocates what a file declares, and on
some damaged files loops forever or crashes. Hence every name is checked before it is
followed, no array is read here, and `keras_h5` runs this file in a process of its own,
whose memory and time have an end.
"""

import json
import math
import sys
from contextlib import suppress
from itertools import islice

import h5py
import numpy as np

Place = tuple[str, tuple[int, ...], int]

_MAX_MEMORY = 2**31
_MAX_NAMES = 4096
_MAX_NAME_BYTES = 256


class Refused(Exception):
    """What is wrong with the file, in one line."""


def arrays(file: h5py.File, size: int) -> dict[str, Place]:
    """The places of a file's weights.

    Args:
      file: the file.
      size: its bytes.

    Returns:
      Places under "layer/kind" ("conv2d_1/kernel"), those of a model within a model
      under "model/layer/kind", in the order of the layers.

    Raises:
      Refused: the file is damaged, or not one of Keras 2.
    """
    weights = _weights_group(file)
    found: dict[str, Place] = {}
    total = 0
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
                raise Refused(f"is damaged: it lists {name} twice")
            found[name] = _place(_child(group, *path), name)
            _, shape, offset = found[name]
            nbytes = 4 * math.prod(shape)
            total += nbytes
            # Arrays that overlap could make a small file fill the memory.
            if max(offset + nbytes, total) > size:
                raise Refused(
                    f"is damaged: {name}, declared as {shape}, reaches beyond the "
                    f"file's {size} bytes"
                )
    if not found:
        raise Refused("is a Keras file without weights")
    return found


def _weights_group(file: h5py.File) -> h5py.Group:
    """The group that lists the layers."""
    group: h5py.Group = file
    if not _strings(file, "layer_names") and _is_inside(file, "model_weights"):
        group = _child(file, "model_weights")
    if not _strings(group, "layer_names"):
        listing = ", ".join(ascii(name)[:40] for name in islice(file, 5))
        raise Refused(
            "is an HDF5 file, but not one that Keras 2 wrote (no layer_names in it): "
            f"it holds {listing or 'nothing'}; expected a file of model.save_weights "
            "or model.save"
        )
    backend = _strings(group, "backend") or _strings(file, "backend")
    if backend not in ([], ["tensorflow"]):
        raise Refused(
            f"was written by Keras on {backend[0][:40]!a}, where kernels lie the other "
            "way round; load it into Keras on TensorFlow and save it from there"
        )
    return group


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
            raise Refused(
                f"is damaged: {'/'.join(path)[:60]!a} is missing, or links elsewhere"
            )
        child = child[name]
    return child


def _place(dataset: h5py.Group | h5py.Dataset, name: str) -> Place:
    if not isinstance(dataset, h5py.Dataset):
        raise Refused(f"is damaged: {name} is not an array")
    if dataset.dtype.newbyteorder("=") != np.float32:
        raise Refused(
            f"its {name} is stored as {str(dataset.dtype)[:40]}; expected float32, as "
            "Keras writes it"
        )
    offset = dataset.id.get_offset()
    if offset is None:
        raise Refused(
            f"its {name} is empty, compressed, in pieces or in another file, which "
            "Keras never does; use the file as it was published, or rewrite it with "
            "`h5repack -l CONTI`"
        )
    return dataset.dtype.str, dataset.shape, offset


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
        raise Refused(
            f"is damaged: its attribute {name} is not a list of names, but "
            f"{shape} of {str(kind)[:40]}"
        )
    values = np.ravel(group.attrs[name])
    texts = [v.decode() if isinstance(v, bytes) else str(v) for v in values]
    if not all(t.isprintable() and len(t) <= _MAX_NAME_BYTES for t in texts):
        raise Refused(f"is damaged: its attribute {name} is not of names")
    return texts


def _answer(path: str) -> dict:
    try:
        with open(path, "rb") as raw:
            size = raw.seek(0, 2)
        with h5py.File(path, "r", locking=False) as file:
            return {"arrays": arrays(file, size)}
    except Refused as error:
        return {"error": str(error)}
    except Exception as error:  # h5py raises nearly everything on flipped bits
        reason = " ".join(str(error).split()) or type(error).__name__
        if "truncated file" in reason:
            return {
                "error": "is cut short: an HDF5 file of which only part is here; "
                "download it again"
            }
        return {"error": f"is a damaged HDF5 file ({reason[:100]}); download it again"}


if __name__ == "__main__":
    with suppress(ImportError, ValueError, OSError):  # not every system has this
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
    print(json.dumps(_answer(sys.argv[1])))
