"""Batch norm folded into the convolution before it: the inference form."""

from collections.abc import Mapping

import numpy as np

from lipsync_jax.nn.norm import EPSILON


def fold_batch_norm(variables: Mapping, epsilon: float = EPSILON) -> dict:
    """Variables for the same module built with `folded=True`.

    Wherever a convolution stands beside a `norm`, the normalisation
    `scale * (y - mean) / sqrt(var + eps) + bias` is affine in the convolution's
    output, so it moves into kernel and bias. Computed in float64.

    Args:
      variables: {"params": ..., "batch_stats": ...} of the unfolded module.
      epsilon: of its batch norms.

    Returns:
      {"params": ...} with NumPy float32 leaves.
    """
    params, stats = variables["params"], variables.get("batch_stats", {})
    return {"params": _fold(params, stats, epsilon)}


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
    bias = np.asarray(conv["bias"], np.float64)
    folded = {
        "kernel": (np.asarray(conv["kernel"]) * scale).astype(np.float32),
        "bias": (np.asarray(norm["bias"]) + (bias - wide["mean"]) * scale).astype(
            np.float32
        ),
    }
    rest = {k: np.asarray(v) for k, v in params.items() if k not in (name, "norm")}
    return {name: folded, **rest}
