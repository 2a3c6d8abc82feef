"""Which network a checkpoint's tensors are, and what keeps them from being one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import flax.linen as nn
import numpy as np

from convert_torch_weights.framework import Framework, Path, Tensors
from convert_torch_weights.published import PUBLISHED
from lipsync_jax import models_io
from lipsync_jax.errors import CheckpointError

# From here on, a file that fits imperfectly counts as a broken one of that network.
_LIKENESS = 0.5


@dataclass(frozen=True)
class Target:
    """A network that tensors may be the parameters of.

    Attributes:
      network: its name.
      module: the Flax module.
      framework: the checkpoint's.
    """

    network: str
    module: nn.Module
    framework: Framework

    @cached_property
    def expected(self) -> dict[str, tuple[Path, tuple[int, ...]]]:
        """Name of a tensor -> path and shape of its Flax variable."""
        shapes = models_io.shapes(self.module)
        names = self.framework.names(self.module, shapes)
        return {name: (path, shapes[path]) for name, path in names.items()}

    def missing(self, tensors: Tensors) -> list[str]:
        """Names that the tensors lack."""
        return [name for name in self.expected if name not in tensors]

    def unexpected(self, tensors: Tensors) -> list[str]:
        """Names that the network does not have."""
        return [name for name in tensors if name not in self.expected]

    def misshapen(self, tensors: Tensors) -> list[str]:
        """Names whose tensors have another shape than the network's."""
        return [
            name
            for name, tensor in tensors.items()
            if name in self.expected and not self._has_shape(name, tensor)
        ]

    def fit(self, tensors: Tensors) -> float:
        """Share of names and shapes that agree, 1 for a perfect match."""
        wrong = len(self.unexpected(tensors)) + len(self.misshapen(tensors))
        return (len(tensors) - wrong) / max(len(tensors), len(self.expected))

    def _has_shape(self, name: str, tensor: np.ndarray) -> bool:
        path, shape = self.expected[name]
        # A broadcast scalar has any shape and no memory.
        probe = np.broadcast_to(np.float32(0), tensor.shape)
        try:
            return self.framework.to_flax(path, probe).shape == shape
        except ValueError:
            return False


def published(framework: Framework) -> list[str]:
    """Names of the networks whose checkpoints are a framework's."""
    return [name for name, its in PUBLISHED.items() if its.framework is framework]


def recognise(networks: Sequence[Tensors], framework: Framework) -> list[str]:
    """Names of the networks that a file holds, in the order of `PUBLISHED`.

    Args:
      networks: the tensors of each of the file's networks.
      framework: the file's.

    Raises:
      CheckpointError: one of them fits none.
    """
    targets = _targets(framework)
    names, problems = [], []
    for tensors in networks:
        try:
            names.append(_recognise(tensors, targets))
        except CheckpointError as error:
            problems.append(str(error))
    if problems:
        others = f"; it also holds {', '.join(names)}: --network takes one of them"
        raise CheckpointError(problems[0] + others * bool(names))
    return sorted(names, key=list(PUBLISHED).index)


def misfit(tensors: Tensors, target: Target) -> str:
    """What keeps tensors from being a network's, in one line."""
    closest = _closest(tensors, _targets(target.framework))
    if closest.network != target.network and closest.fit(tensors) > _LIKENESS:
        return (
            f"not a {target.network} checkpoint: it looks like {closest.network}; "
            f"convert it with --network {closest.network}"
        )
    misshapen = [f"{name} {tensors[name].shape}" for name in target.misshapen(tensors)]
    problems = {
        "missing": target.missing(tensors),
        "unexpected": target.unexpected(tensors),
        "of another shape": misshapen,
    }
    listing = "; ".join(
        f"{len(names)} {kind}: {', '.join(names)}"
        for kind, names in problems.items()
        if names
    )
    return f"not a {target.network} checkpoint: {listing}"


def _targets(framework: Framework) -> list[Target]:
    return [
        Target(name, models_io.build(name), framework) for name in published(framework)
    ]


def _closest(tensors: Tensors, targets: Sequence[Target]) -> Target:
    return max(targets, key=lambda target: target.fit(tensors))


def _recognise(tensors: Tensors, targets: Sequence[Target]) -> str:
    closest = _closest(tensors, targets)
    fit = closest.fit(tensors)
    if fit == 1:
        return closest.network
    if fit > _LIKENESS:
        raise CheckpointError(
            f"looks like {closest.network}, but only {fit:.0%} of its parameters fit; "
            f"see which with --network {closest.network}"
        )
    raise CheckpointError(
        f"not a network this program knows ({len(tensors)} parameters, first: "
        f"{', '.join(list(tensors)[:3])}); known: "
        f"{', '.join(target.network for target in targets)}"
    )
