"""Name map between PyTorch state_dicts and Flax variables.

The Flax modules keep the original paths (`face_decoder_blocks.1.0` is
`face_decoder_blocks_1_0`), so a few rules map every network:

    X.conv_block.0.weight|bias    X/conv/kernel|bias (or X/conv_transpose/...)
    X.conv_block.1.weight|bias    X/norm/scale|bias
    X.conv_block.1.running_*      X/norm/mean|var       (batch_stats)
    X.act.weight                  X/slope
    X.weight|bias, X.running_*    X/kernel|scale|bias|mean|var
    lstm.weight_ih_lK|hh|bias     lstm_K/input|hidden/kernel|bias
"""

import re
from collections.abc import Mapping

import numpy as np

Path = tuple[str, ...]

_BLOCK = {"conv": ".conv_block.0", "conv_transpose": ".conv_block.0"}
_BLOCK["norm"] = ".conv_block.1"
_LEAF = {"kernel": "weight", "scale": "weight", "bias": "bias"}
_LEAF |= {"mean": "running_mean", "var": "running_var"}

_LSTM = {"input": "ih", "hidden": "hh"}

# Step counters that PyTorch keeps, and what only the loss of the speaker encoder needs.
_UNUSED = ("num_batches_tracked", "similarity_weight", "similarity_bias")


def used(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors of a state_dict with which a network computes."""
    return {k: v for k, v in tensors.items() if not k.endswith(_UNUSED)}


def torch_name(path: Path) -> str:
    """PyTorch name of the variable at `path` ("params" or "batch_stats" first)."""
    _, module, *rest = path
    if module == "sam_sa_conv1":
        return "sam.sa.conv1.weight"
    prefix = re.sub(r"_(?=\d)", ".", module)
    if rest == ["slope"]:
        return f"{prefix}.act.weight"
    *block, leaf = rest
    if block and block[0] in _LSTM:
        side = _LSTM[block[0]]
        return f"lstm.{_LEAF[leaf]}_{side}_l{module.removeprefix('lstm_')}"
    return f"{prefix}{_BLOCK[block[0]] if block else ''}.{_LEAF[leaf]}"


def from_torch(path: Path, value: np.ndarray) -> np.ndarray:
    """A PyTorch parameter in the layout of the Flax variable at `path`.

    Raises:
      ValueError: the number of axes is not one a kernel can have.
    """
    value = np.asarray(value, np.float32)
    if path[-1] != "kernel":
        return value
    if "conv_transpose" in path:  # (in, out, h, w), flipped: see nn.blocks
        return np.ascontiguousarray(value[:, :, ::-1, ::-1].transpose(2, 3, 0, 1))
    if value.ndim == 2:  # linear (out, in)
        return np.ascontiguousarray(value.T)
    if value.ndim == 3:  # convolution in time (out, in, t)
        return np.ascontiguousarray(value.transpose(2, 1, 0))
    if value.ndim == 4:  # convolution (out, in, h, w)
        return np.ascontiguousarray(value.transpose(2, 3, 1, 0))
    if value.ndim == 5:  # (out, in, t, h, w), time folded into the channels
        out, cin, t, h, w = value.shape
        return value.transpose(3, 4, 2, 1, 0).reshape(h, w, t * cin, out)
    raise ValueError(f"{value.ndim} axes")


def bgr_to_rgb(value: np.ndarray, axis: int) -> np.ndarray:
    """Reverses every group of three channels along `axis`."""
    order = np.arange(value.shape[axis]).reshape(-1, 3)[:, ::-1].ravel()
    return np.take(value, order, axis=axis)
