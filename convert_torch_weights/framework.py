"""What differs between checkpoints of several frameworks, once they are read."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import flax.linen as nn
import numpy as np

from convert_torch_weights.keras_names import (
    check_order,
    from_keras,
    keras_names,
    keras_networks,
)
from convert_torch_weights.lip2wav_names import (
    from_lip2wav,
    lip2wav_names,
    of_model,
)
from convert_torch_weights.names import from_torch, torch_name, used

Path = tuple[str, ...]
Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Framework:
    """How a framework names and lays out parameters.

    Attributes:
      name: what it is called.
      networks: splits the tensors of a file into those of each of its networks.
      names: (module, paths of its variables) -> {name of a tensor: path}.
      to_flax: (path, tensor) -> float32 in the layout of the variable at the path;
        ValueError when a kernel cannot have that many axes.
      check: (network, its tensors) -> CheckpointError if they fit, but are not to be
        trusted.
    """

    name: str
    networks: Callable[[Tensors], list[Tensors]]
    names: Callable[[nn.Module, Iterable[Path]], dict[str, Path]]
    to_flax: Callable[[Path, np.ndarray], np.ndarray]
    check: Callable[[str, Tensors], None]


TORCH = Framework(
    name="PyTorch",
    networks=lambda tensors: [used(tensors)],
    names=lambda module, paths: {torch_name(path): path for path in paths},
    to_flax=from_torch,
    check=lambda network, tensors: None,
)
KERAS = Framework(
    name="Keras",
    networks=keras_networks,
    names=lambda module, paths: keras_names(module),
    to_flax=from_keras,
    check=check_order,
)
# Of networks published as TensorFlow's files there is one family.
TENSORFLOW = Framework(
    name="TensorFlow",
    networks=lambda tensors: [of_model(tensors)],
    names=lambda module, paths: lip2wav_names(paths),
    to_flax=from_lip2wav,
    check=lambda network, tensors: None,
)
