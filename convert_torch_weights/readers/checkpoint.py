"""What a reader returns, and how weights are found among a checkpoint's entries."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from convert_torch_weights.readers.torch_pickle import LazyTensor
from lipsync_jax.errors import CheckpointError

Scalar = int | float | str | None


@dataclass(frozen=True)
class Checkpoint:
    """The weights of one checkpoint file.

    Attributes:
      tensors: state_dict names, without `module.` and behind their key where the file
        holds several state_dicts, or Keras' layers and arrays (see `keras_h5`), in the
        file's order. Read-only arrays of the stored shapes, not always contiguous,
        tied weights sharing memory; stored dtypes, except bfloat16, which becomes
        float32.
      container: "zip", "legacy", "torchscript", "keras" or "tensorflow".
      extra: Scalar entries beside the weights, such as global_step.
    """

    tensors: dict[str, np.ndarray]
    container: str
    extra: dict[str, Scalar]


def find_weights(entries: Any) -> tuple[dict[str, LazyTensor], dict[str, Scalar]]:
    """Splits what `torch.save` was given into weights and scalar entries.

    Weights are the mapping under `state_dict` or `model_state`, or, where there is no
    such entry, the tensors of a flat mapping, or those of all entries that are
    mappings of tensors alone, as optimizer states are not.

    Raises:
      CheckpointError: Nothing of this is there.
    """
    if not isinstance(entries, dict):
        raise CheckpointError(
            f"holds a {type(entries).__name__} where a dictionary of weights was "
            "expected; save model.state_dict() instead"
        )
    scalars = {k: v for k, v in entries.items() if isinstance(v, Scalar)}
    weights = entries.get("state_dict", entries.get("model_state"))
    if weights is None:
        weights = _of_several(entries) or {
            k: v for k, v in entries.items() if k not in scalars
        }
    if not _are_weights(weights):
        raise CheckpointError(
            "expected weights under 'state_dict', or nothing but tensors; found the "
            f"entries {_listing(entries)}"
        )
    extra = {str(name): value for name, value in scalars.items()}
    return without_module_prefix(weights), extra


def _are_weights(entry: Any) -> bool:
    """Whether it is a mapping of tensors and nothing else."""
    return (
        isinstance(entry, dict)
        and bool(entry)
        and all(isinstance(value, LazyTensor) for value in entry.values())
    )


def _of_several(entries: dict[Any, Any]) -> dict[str, LazyTensor]:
    """The tensors of all state_dicts among the entries, named behind their keys."""
    return {
        f"{key}.{name}": tensor
        for key, weights in entries.items()
        if _are_weights(weights)
        for name, tensor in weights.items()
    }


def without_module_prefix(weights: dict[Any, LazyTensor]) -> dict[str, LazyTensor]:
    """Drops the name part `module`, which DataParallel adds."""
    renamed = {}
    for name, tensor in weights.items():
        short = ".".join(part for part in str(name).split(".") if part != "module")
        if not short.isprintable() or short in renamed:
            raise CheckpointError(
                f"the tensor name {name!a} is malformed or occurs with and without "
                "'module.'"
            )
        renamed[short] = tensor
    return renamed


def _listing(entries: dict[Any, Any], limit: int = 12) -> str:
    names = [ascii(name)[:60] for name in list(entries)[:limit]]
    return ", ".join(names) + (" ..." if len(entries) > limit else "") or "(none)"
