"""Batch norm folded into the convolution before it: the inference form."""

from collections.abc import Mapping

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from lipsync_jax.nn.norm import EPSILON


def fold_batch_norm(variables: Mapping, epsilon: float = EPSILON) -> dict:
    """Variables for the same module built with `folded=True`.

    Wherever a convolution stands beside a `norm`, the normalisation
    `scale * (y - mean) / sqrt(var + eps) + bias` is affine in the convolution's
    output, so it moves into kernel and bias. Computed in float64. Norms that stand
    alone, before their convolution, stay.

    Args:
      variables: {"params": ..., "batch_stats": ...} of the unfolded module.
      epsilon: of its batch norms.

    Returns:
      {"params": ...}, and {"batch_stats": ...} if any are left, with NumPy float32
      leaves.
    """
    params, stats = variables["params"], variables.get("batch_stats", {})
    folded = {"params": _fold(params, stats, epsilon)}
    flat = flatten_dict(stats)
    left = {path: np.asarray(flat[path]) for path in flat if "norm" not in path}
    return {**folded, "batch_stats": unflatten_dict(left)} if left else folded


def _fold(params: Mapping, stats: Mapping, epsilon: float) -> dict:
    if "norm" not in params:
        return {
            name: _fold(value, stats.get(name, {}), epsilon)
            if isinstance(value, Mapping)
            else np.asarray(value)
            for name, value in params.items()
        }
    name = "conv" if "conv" in params else "conv_transpose"
    norm, moments, conv = params["norm"], stats["norm"], params[name]
    wide = {key: np.asarray(value, np.float64) for key, value in moments.items()}
    scale = np.asarray(norm["scale"], np.float64) / np.sqrt(wide["var"] + epsilon)
    bias = np.asarray(conv.get("bias", 0), np.float64)
    folded = {
        "kernel": (np.asarray(conv["kernel"]) * scale).astype(np.float32),
        "bias": (np.asarray(norm["bias"]) + (bias - wide["mean"]) * scale).astype(
            np.float32
        ),
    }
    rest = {k: np.asarray(v) for k, v in params.items() if k not in (name, "norm")}
    return {name: folded, **rest}
