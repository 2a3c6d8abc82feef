"""Name map between Speech2Lip's checkpoints and Flax variables.

A checkpoint keeps its weights under `model`; they have the original paths here, except
that what belongs together stands together, and norms with their convolution:

    audio/X, lip/X                              X
    post_fusion_unet/down1/double_conv_3/conv   ...down1.maxpool_conv.1.double_conv.3
    post_fusion_unet/up1/double_conv_3/norm     ...up1.conv.double_conv.4
    post_fusion_unet/outc/conv                  post_fusion_unet.outc.conv
"""

import re
from collections.abc import Mapping

import numpy as np

from convert_torch_weights.names import used

Path = tuple[str, ...]
Tensors = Mapping[str, np.ndarray]

_KEY = "model."
_DEPTH = "canonical_depth_head"
_UNUSED = "coord_linears."  # saved, but nothing computes with them
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}
_LEAVES |= {"mean": "running_mean", "var": "running_var"}
_INNER = {"down": ".maxpool_conv.1", "up": ".conv"}


def is_speech2lip(tensors: Tensors) -> bool:
    """Whether a file holds a person's networks."""
    return _DEPTH in tensors or _KEY + _DEPTH in tensors


def speech2lip_network(tensors: Tensors) -> dict[str, np.ndarray]:
    """The tensors that the networks use, without their key."""
    plain = {k.removeprefix(_KEY): v for k, v in used(tensors).items()}
    return {k: v for k, v in plain.items() if not k.startswith(_UNUSED)}


def speech2lip_name(path: Path) -> str:
    """Published name of the variable at `path` ("params" or "batch_stats" first)."""
    _, part, *rest = path
    if not rest:
        return part
    *modules, leaf = rest
    leaf = _LEAVES[leaf]
    if part != "post_fusion_unet":
        (layer,) = modules
        return f"{_numbered(layer)}.{leaf}"
    block, *layers = modules
    if layers == ["conv"]:
        return f"{part}.{block}.conv.{leaf}"
    layer, kind = layers
    number = int(layer.rpartition("_")[2]) + (kind == "norm")
    inner = _INNER.get(block.rstrip("0123456789"), "")
    return f"{part}.{block}{inner}.double_conv.{number}.{leaf}"


def _numbered(layer: str) -> str:
    """ "encoder_conv_0" -> "encoder_conv.0"."""
    return re.sub(r"_(?=\d+$)", ".", layer)
