"""The model folder: everything needed to use a trained or converted network.

model.json            what it is, where it came from, under which terms
weights.safetensors   float32 arrays named by their path in the variables
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from lipsync_jax.checksum import sha256
from lipsync_jax.errors import ModelError, OutputError
from lipsync_jax.evaluation.syncnet import SyncNet
from lipsync_jax.systems import NETWORKS as SYSTEM_NETWORKS

FORMAT = 1
NETWORKS: dict[str, tuple[str, nn.Module]] = {
    **SYSTEM_NETWORKS,
    "syncnet_v2": ("syncnet", SyncNet()),
}

# Fields of modules that configurations and model folders may set.
ARGUMENTS = {"resolution", "width", "words", "people", "lip_height", "lip_width"}
ARGUMENTS |= {"audio_offset", "frames", "fps", "overlap"}  # of windows


@dataclass(frozen=True)
class Model:
    """A loaded model folder.

    Attributes:
      system: "wav2lip", "expert", "discriminator" or "syncnet".
      network: key of `NETWORKS`.
      module: the Flax module.
      variables: {"params": ..., "batch_stats": ...}, NumPy float32 leaves.
      metadata: the rest of model.json (provenance, licence note).
    """

    system: str
    network: str
    module: nn.Module
    variables: dict
    metadata: dict[str, Any]


def build(network: str, arguments: Mapping[str, Any] | None = None) -> nn.Module:
    """The module of a network name; `arguments` override its fields.

    Raises:
      ModelError: unknown name or argument; lists the known ones.
    """
    if network not in NETWORKS:
        raise ModelError(
            f"unknown network {network!r}; known: {', '.join(sorted(NETWORKS))}"
        )
    module = NETWORKS[network][1]
    fields = set(type(module).__dataclass_fields__)
    known = fields & ARGUMENTS
    if unknown := set(arguments or {}) - known:
        raise ModelError(
            f"network {network} takes no {', '.join(sorted(unknown))}; "
            f"it takes: {', '.join(sorted(known)) or 'nothing'}"
        )
    return module.clone(**(arguments or {}))


def example_inputs(module: nn.Module, batch: int = 1) -> tuple[np.ndarray, ...]:
    """Zero inputs of the shapes a module says it takes, float32."""
    return tuple(np.zeros((batch, *shape), np.float32) for shape in module.input_shapes)


def shapes(module: nn.Module) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Path -> shape of every variable of a module, without computing any."""
    tree = jax.eval_shape(module.init, jax.random.key(0), *example_inputs(module))
    return {path: leaf.shape for path, leaf in flatten_dict(tree).items()}


def save(
    folder: str | os.PathLike,
    network: str,
    variables: Mapping,
    *,
    arguments: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a model folder; it appears whole or not at all.

    An existing model folder of that name is replaced; any other non-empty folder
    is left alone.

    Raises:
      OutputError: the folder cannot be written or holds something else.
    """
    folder = Path(folder)
    is_model = (folder / "model.json").is_file()
    if folder.exists() and not is_model and not _is_empty_folder(folder):
        raise OutputError(
            f"{folder}: exists and is not a model folder; choose another name"
        )
    flat = {
        "/".join(path): np.ascontiguousarray(value, np.float32)
        for path, value in flatten_dict(dict(variables)).items()
    }
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        temporary.chmod(0o755)
        save_file(flat, temporary / "weights.safetensors")
        description = {
            "format": FORMAT,
            "system": NETWORKS[network][0],
            "network": network,
            "arguments": dict(arguments or {}),
            "parameters": sum(
                v.size for k, v in flat.items() if k.startswith("params/")
            ),
            "weights_sha256": sha256(temporary / "weights.safetensors"),
            **(metadata or {}),
        }
        (temporary / "model.json").write_text(
            json.dumps(description, indent=2, ensure_ascii=False) + "\n", "utf-8"
        )
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(temporary, folder)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{folder}: cannot write the model folder: {error}") from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def load(folder: str | os.PathLike, system: str | None = None) -> Model:
    """Reads a model folder and checks it whole.

    Args:
      folder: the folder that `lipsync convert` or `lipsync train` wrote.
      system: refuse models of any other system.

    Raises:
      ModelError: missing, damaged, of another system or of a newer format.
    """
    folder = Path(folder)
    description = describe(folder)
    found = description["system"]
    if system is not None and found != system:
        raise ModelError(
            f"{folder}: holds a {found} network ({description['network']}); "
            f"a {system} model is needed here"
        )
    module = build(description["network"], description["arguments"])
    weights = folder / "weights.safetensors"
    if not weights.is_file():
        raise ModelError(f"{folder}: weights.safetensors is missing; convert again")
    if sha256(weights) != description["weights_sha256"]:
        raise ModelError(
            f"{weights}: damaged (its checksum differs from model.json's); "
            "convert or copy the model folder again"
        )
    try:
        flat = load_file(weights)
    except (SafetensorError, ValueError) as error:
        raise ModelError(f"{weights}: cannot be read: {error}") from None
    variables = {tuple(name.split("/")): value for name, value in flat.items()}
    found_shapes = {path: value.shape for path, value in variables.items()}
    if found_shapes != shapes(module):
        wrong = dict(found_shapes.items() ^ shapes(module).items())
        example = "/".join(sorted(wrong)[0])
        raise ModelError(
            f"{weights}: {len(wrong)} arrays do not fit network "
            f"{description['network']} (first: {example}); convert again"
        )
    return Model(
        system=found,
        network=description["network"],
        module=module,
        variables=unflatten_dict(variables),
        metadata=description,
    )


def describe(folder: str | os.PathLike) -> dict[str, Any]:
    """The content of a folder's model.json.

    Raises:
      ModelError: missing or not understood.
    """
    folder = Path(folder)
    path = folder / "model.json"
    if not path.is_file():
        if folder.is_file():
            hint = f"is a file; convert it first: lipsync convert {folder} --out DIR"
        elif folder.is_dir():
            hint = "has no model.json, so it is not a model folder"
        else:
            hint = "no such model folder"
        raise ModelError(f"{folder}: {hint}")
    try:
        description = json.loads(path.read_text("utf-8"))
        version = description["format"]
        for key in ("system", "network", "weights_sha256"):
            description[key] + ""
        dict(description["arguments"])
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        raise ModelError(
            f"{path}: damaged (not a model description); convert again"
        ) from None
    if version != FORMAT:
        raise ModelError(
            f"{path}: format {version}, this program reads format {FORMAT}; "
            "use the version of lipsync_jax that wrote it, or convert again"
        )
    return description


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())
