"""What differs between checkpoints of several frameworks, once they are read.

A program whose checkpoints are unlike others of its framework counts as one of its own.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import flax.linen as nn
import numpy as np

from convert_torch_weights.davs_names import davs_name, davs_parts, is_davs
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
from convert_torch_weights.lpips_names import (
    from_lpips,
    is_lpips,
    lpips_name,
    lpips_network,
)
from convert_torch_weights.names import from_torch, torch_name, used
from convert_torch_weights.readers import Checkpoint
from convert_torch_weights.speech2lip_names import (
    is_speech2lip,
    speech2lip_name,
    speech2lip_network,
)

Path = tuple[str, ...]
Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Framework:
    """How a framework names and lays out parameters.

    Attributes:
      name: what it is called.
      wrote: whether a checkpoint is its.
      networks: splits the tensors of a file into those of each of its networks.
      names: (module, paths of its variables) -> {name of a tensor: path}.
      to_flax: (path, tensor) -> float32 in the layout of the variable at the path;
        ValueError when a kernel cannot have that many axes.
      check: (network, its tensors) -> CheckpointError if they fit, but are not to be
        trusted.
      together: whether a file holds all networks of a program, if none was left out.
    """

    name: str
    wrote: Callable[[Checkpoint], bool]
    networks: Callable[[Tensors], list[Tensors]]
    names: Callable[[nn.Module, Iterable[Path]], dict[str, Path]]
    to_flax: Callable[[Path, np.ndarray], np.ndarray]
    check: Callable[[str, Tensors], None] = lambda network, tensors: None
    together: bool = False


TORCH = Framework(
    name="PyTorch",
    wrote=lambda checkpoint: True,
    networks=lambda tensors: [used(tensors)],
    names=lambda module, paths: {torch_name(path): path for path in paths},
    to_flax=from_torch,
)
KERAS = Framework(
    name="Keras",
    wrote=lambda checkpoint: checkpoint.container == "keras",
    networks=keras_networks,
    names=lambda module, paths: keras_names(module),
    to_flax=from_keras,
    check=check_order,
)
# Of networks published as TensorFlow's files there is one family.
TENSORFLOW = Framework(
    name="TensorFlow",
    wrote=lambda checkpoint: checkpoint.container == "tensorflow",
    networks=lambda tensors: [of_model(tensors)],
    names=lambda module, paths: lip2wav_names(paths),
    to_flax=from_lip2wav,
)
DAVS = Framework(
    name="DAVS's program",
    wrote=lambda checkpoint: is_davs(checkpoint.tensors),
    networks=davs_parts,
    names=lambda module, paths: {davs_name(path): path for path in paths},
    to_flax=from_torch,
    together=True,
)
SPEECH2LIP = Framework(
    name="Speech2Lip's program",
    wrote=lambda checkpoint: is_speech2lip(checkpoint.tensors),
    networks=lambda tensors: [speech2lip_network(tensors)],
    names=lambda module, paths: {speech2lip_name(path): path for path in paths},
    to_flax=from_torch,
)
LPIPS = Framework(
    name="the package lpips",
    wrote=lambda checkpoint: is_lpips(checkpoint.tensors),
    networks=lambda tensors: [lpips_network(tensors)],
    names=lambda module, paths: {lpips_name(path): path for path in paths},
    to_flax=from_lpips,
)
FRAMEWORKS = (
    KERAS,
    TENSORFLOW,
    DAVS,
    SPEECH2LIP,
    LPIPS,
    TORCH,
)  # the first that wrote a checkpoint
