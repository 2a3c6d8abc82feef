"""Name map between checkpoints of the speaker encoder (GE2E) and Flax variables.

lstm_K/input_kernel|input_bias      lstm.weight_ih_lK, lstm.bias_ih_lK
lstm_K/hidden_kernel|hidden_bias    lstm.weight_hh_lK, lstm.bias_hh_lK
linear/kernel|bias                  linear.weight|bias
"""

from collections.abc import Iterable, Mapping

import numpy as np

Path = tuple[str, ...]

_SIDES = {"input": "ih", "hidden": "hh"}
_LEAVES = {"kernel": "weight", "bias": "bias"}


def speaker_names(paths: Iterable[Path]) -> dict[str, Path]:
    """Published name -> path of every variable."""
    return {speaker_name(path): path for path in paths}


def speaker_name(path: Path) -> str:
    """Published name of the variable at `path` ("params" first)."""
    _, module, leaf = path
    if module == "linear":
        return f"linear.{_LEAVES[leaf]}"
    side, kind = leaf.split("_")
    return f"lstm.{_LEAVES[kind]}_{_SIDES[side]}_l{module.removeprefix('lstm_')}"


def used(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors that embed speech; `similarity_*` belong to the loss."""
    return {k: v for k, v in tensors.items() if not k.startswith("similarity_")}


def from_speaker(path: Path, value: np.ndarray) -> np.ndarray:
    """A tensor as the Flax variable at `path`; kernels lie the other way round."""
    value = np.asarray(value, np.float32)
    return np.ascontiguousarray(value.T) if path[-1].endswith("kernel") else value
