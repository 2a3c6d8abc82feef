"""One learning network: its weights, statistics, optimizer and running average.

A task's state is made of these: one for a generator alone, two with its adversary.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax


@flax.struct.dataclass
class Network:
    """A network that learns; a pytree.

    Attributes:
      params: float32 weights.
      batch_stats: running statistics of its batch norms; {} if it has none.
      opt_state: of the optimizer.
      ema: running averages of `params` and `batch_stats`, or None if not kept.
    """

    params: Any
    batch_stats: Any
    opt_state: Any
    ema: Any = None

    @classmethod
    def create(
        cls,
        module: nn.Module,
        inputs: Sequence[jax.Array],
        optimizer: optax.GradientTransformation,
        key: jax.Array,
        ema: bool = False,
    ) -> "Network":
        """A new network; `inputs` are what a call takes, only shapes matter."""
        variables = module.init(key, *inputs)
        params = variables["params"]
        network = cls(
            params=params,
            batch_stats=variables.get("batch_stats", {}),
            opt_state=optimizer.init(params),
        )
        return network.replace(ema=_copy(network.variables)) if ema else network

    @property
    def variables(self) -> dict[str, Any]:
        """What `module.apply` takes while training."""
        return {"params": self.params, "batch_stats": self.batch_stats}

    @property
    def inference_variables(self) -> dict[str, Any]:
        """What is exported: the averages if they are kept."""
        return self.variables if self.ema is None else self.ema

    def updated(
        self,
        grads: Any,
        optimizer: optax.GradientTransformation,
        batch_stats: Any,
        decay: float = 0.0,
    ) -> "Network":
        """The network after one step of the optimizer.

        Args:
          grads: gradient of the loss, shaped like `params`.
          optimizer: the one that `create` was given.
          batch_stats: the statistics that the forward pass left.
          decay: of the running average, if it is kept.
        """
        updates, opt_state = optimizer.update(grads, self.opt_state, self.params)
        params = optax.apply_updates(self.params, updates)
        network = Network(params, batch_stats, opt_state)
        if self.ema is None:
            return network
        # Statistics belong to the weights that made them: both are averaged.
        ema = optax.incremental_update(network.variables, self.ema, 1 - decay)
        return network.replace(ema=ema)

    def replaced(self, variables: Mapping[str, Any]) -> "Network":
        """The network with other weights and statistics (fine-tuning)."""
        network = self.replace(
            params=variables["params"], batch_stats=variables.get("batch_stats", {})
        )
        ema = None if self.ema is None else _copy(network.variables)
        return network.replace(ema=ema)


def _copy(tree: Any) -> Any:
    """Own buffers: the trainer donates the state, where none may occur twice."""
    return jax.tree.map(jnp.copy, tree)
