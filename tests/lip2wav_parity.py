"""Lip2Wav's networks with golden parameters, under the names of its checkpoints."""

import json
from functools import lru_cache
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax.traverse_util import unflatten_dict
from parity import GOLDENS as WAV2LIP
from parity import _fill, fill_inputs

from convert_torch_weights.lip2wav_names import from_lip2wav, lip2wav_names
from lipsync_jax import models_io
from lipsync_jax.systems.lip2wav.decoder import Attention, postnet_rows
from lipsync_jax.systems.lip2wav.encoder import encoder_rows
from lipsync_jax.systems.lip2wav.model import VARIANTS, Lip2Wav

GOLDENS = WAV2LIP.parent / "lip2wav"
PREFIX = "Tacotron_model/inference/"
# 24 mel frames of ten faces.
TINY = Lip2Wav(
    resolution=12,
    frames=10,
    fps=100 / 3,
    encoder=encoder_rows(4, blocks=2),
    encoder_units=8,
    decoder_units=16,
    prenet=(16, 16),
    attention=Attention(units=8, filters=4),
    postnet=postnet_rows(16),
    n_mels=20,
    speaker_size=16,
    dropout=0,
)
# Names of the goldens' networks.
NETWORKS = {
    "tiny": TINY,
    "chem": VARIANTS["lip2wav_chem"],
    "av48": VARIANTS["lip2wav_chess"],
    "dl": VARIANTS["lip2wav_dl"],
    "lrw": VARIANTS["lip2wav_lrw"],
}
_KINDS = {
    "kernel": "kernel",
    "gamma": "scale",
    "attention_variable_projection": "vector",
}
_KINDS |= {"moving_mean": "mean", "moving_variance": "var"}


@lru_cache
def cases() -> dict[str, Any]:
    """What the goldens were computed from, and scalars that came out."""
    return json.loads((GOLDENS / "cases.json").read_text())


@lru_cache
def manifest() -> dict[str, dict[str, tuple[int, ...]]]:
    """Network -> published name of a parameter -> shape."""
    networks = json.loads((GOLDENS / "manifest.json").read_text())
    return {
        network: {PREFIX + name: tuple(shape) for name, shape in shapes.items()}
        for network, shapes in networks.items()
        if network in NETWORKS
    }


def golden(case: str) -> dict[str, np.ndarray]:
    """The arrays of one case."""
    with np.load(GOLDENS / "forward.npz") as arrays:
        return {
            key.removeprefix(f"{case}."): arrays[key]
            for key in arrays.files
            if key.startswith(f"{case}.")
        }


def filled_tensor(name: str, shape: tuple[int, ...], kind: str = "") -> np.ndarray:
    """A golden parameter in TensorFlow's layout; kernels are drawn as (out, ...)."""
    kind = kind or _KINDS.get(name.rsplit("/", 1)[-1], "bias")
    if kind != "kernel":
        return _fill.fill(name, shape, kind)
    drawn = _fill.fill(name, (shape[-1], *shape[:-1]), kind)
    return np.moveaxis(drawn, 0, -1) if len(shape) > 1 else drawn


def filled(module: nn.Module, mild: bool = False) -> dict[str, np.ndarray]:
    """The golden checkpoint of a network; `mild`: whose attention is not sharp."""
    shapes = models_io.shapes(module)
    tensors = {}
    for name, path in lip2wav_names(shapes).items():
        is_v = name.endswith("attention_variable_projection")
        kind = "kernel" if mild and is_v else ""
        tensors[name] = filled_tensor(name, shapes[path], kind)
    return tensors


def variables(module: nn.Module, mild: bool = False) -> dict:
    """The golden variables of a network."""
    tensors = filled(module, mild)
    names = lip2wav_names(models_io.shapes(module))
    return unflatten_dict(
        {path: from_lip2wav(path, tensors[name]) for name, path in names.items()}
    )


def inputs(case: str) -> dict[str, np.ndarray]:
    """The golden inputs of a case by the last part of their names; RGB."""
    found = {}
    for name, source in cases()[case]["inputs"].items():
        drawn = fill_inputs(name, source["shape"], source["low"], source["high"])
        key = name.split("/")[-1]
        found[key] = drawn[..., ::-1] if key == "faces" else drawn
    return found


def apply(module, weights, *args, **kwargs):
    """Applies a network as one compiled program, in full float32 precision."""
    with jax.default_matmul_precision("highest"):
        run = jax.jit(lambda w, *a: module.apply(w, *a, **kwargs))
        return jax.tree.map(np.asarray, run(weights, *args))
