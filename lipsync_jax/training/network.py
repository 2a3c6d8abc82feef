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
      ema: running average of `params`, or None if not kept.
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
        return cls(
            params=params,
            batch_stats=variables.get("batch_stats", {}),
            opt_state=optimizer.init(params),
            ema=_copy(params) if ema else None,
        )

    @property
    def variables(self) -> dict[str, Any]:
        """What `module.apply` takes while training."""
        return {"params": self.params, "batch_stats": self.batch_stats}

    @property
    def inference_variables(self) -> dict[str, Any]:
        """What is exported: the averaged weights if they are kept."""
        params = self.params if self.ema is None else self.ema
        return {"params": params, "batch_stats": self.batch_stats}

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
        ema = self.ema
        if ema is not None:
            ema = optax.incremental_update(params, ema, 1 - decay)
        return Network(params, batch_stats, opt_state, ema)

    def replaced(self, variables: Mapping[str, Any]) -> "Network":
        """The network with other weights and statistics (fine-tuning)."""
        params = variables["params"]
        return self.replace(
            params=params,
            batch_stats=variables.get("batch_stats", {}),
            ema=None if self.ema is None else _copy(params),
        )


def _copy(tree: Any) -> Any:
    """Own buffers: the trainer donates the state, where none may occur twice."""
    return jax.tree.map(jnp.copy, tree)
