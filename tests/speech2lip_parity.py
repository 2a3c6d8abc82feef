"""Speech2Lip's networks with golden parameters, under the names of its checkpoints."""

import json
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from flax.traverse_util import unflatten_dict
from parity import GOLDENS as WAV2LIP
from parity import _fill, fill_inputs

from convert_torch_weights.names import from_torch
from convert_torch_weights.speech2lip_names import speech2lip_name, speech2lip_network
from lipsync_jax import models_io
from lipsync_jax.systems.speech2lip.model import Speech2Lip

GOLDENS = WAV2LIP.parent / "speech2lip"
_DEPTH = "canonical_depth_head"


@lru_cache
def cases() -> dict[str, Any]:
    """What the goldens were computed from."""
    return json.loads((GOLDENS / "cases.json").read_text())


@lru_cache
def golden(case: str) -> dict[str, np.ndarray]:
    """The arrays of one case."""
    with np.load(GOLDENS / f"{case}.npz") as arrays:
        return dict(arrays)


def inputs(case: str) -> dict[str, np.ndarray]:
    """The golden inputs of a case, drawn and stored, in the original's layouts."""
    drawn = {
        name: fill_inputs(*source["fill_inputs"])
        for name, source in cases()[case]["inputs"].items()
    }
    stored = {
        name.removeprefix("in/"): value
        for name, value in golden(case).items()
        if name.startswith("in/")
    }
    return drawn | stored


def checkpoint(features: int = 29, resolution: int = 500) -> dict[str, np.ndarray]:
    """The golden state_dict of a person's networks."""
    shapes = json.loads((GOLDENS / "manifest.json").read_text())
    shapes["encoder_conv.0.weight"][1] = features
    tensors = {name: _fill.fill(name, shape) for name, shape in shapes.items()}
    depth = fill_inputs(_DEPTH, (resolution, resolution), 6.5, 7.5)
    return {_DEPTH: depth, **tensors}


def variables(module: Speech2Lip) -> dict:
    """The golden variables of a network; every tensor of the checkpoint has a place."""
    tensors = speech2lip_network(checkpoint(module.features, module.resolution))
    paths = {speech2lip_name(path): path for path in models_io.shapes(module)}
    assert paths.keys() == tensors.keys()
    return unflatten_dict(
        {path: from_torch(path, tensors[name]) for name, path in paths.items()}
    )


def apply(module: Speech2Lip, weights: dict, method: Any, *args: Any, **kwargs: Any):
    """Applies a network as one compiled program, in full float32 precision."""
    with jax.default_matmul_precision("highest"):
        run = jax.jit(lambda w, *a: module.apply(w, *a, method=method, **kwargs))
        return jax.tree.map(np.asarray, run(weights, *args))


def stat(value: np.ndarray) -> np.ndarray:
    """What the goldens keep of large arrays: mean, std, min, max, first 8 values."""
    value = np.asarray(value, np.float64)
    first = value.ravel()[:8]
    measures = [value.mean(), value.std(), value.min(), value.max()]
    return np.array([*measures, *first, *[0] * (8 - len(first))])


def channels_last(x: np.ndarray) -> np.ndarray:
    """(..., C, H, W) -> (..., H, W, C)."""
    return np.moveaxis(x, -3, -1)


def close(found: Any, want: np.ndarray, tolerance: float, name: str = "") -> None:
    """Asserts that the largest error is small beside the largest value."""
    np.testing.assert_allclose(
        np.asarray(found),
        want,
        rtol=0,
        atol=tolerance * max(np.abs(want).max(), 1e-30),
        err_msg=name,
    )
