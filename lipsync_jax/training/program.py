"""A task's functions, compiled for a mesh."""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from lipsync_jax.training import arrays
from lipsync_jax.training import mesh as mesh_lib
from lipsync_jax.training.task import Batch, Metrics, State, Task


@flax.struct.dataclass
class Run:
    """Where a run stands, on the devices; a pytree.

    Attributes:
      state: the task's.
      step: number of updates made, int32.
      first_bad: the first step that left a value that is not finite, 0 if none,
        int32. Kept on the device, so that watching it costs no waiting.
    """

    state: State
    step: jax.Array
    first_bad: jax.Array


def steps_ahead() -> int:
    """How many steps the devices are given before the oldest must be done.

    On CPUs none: a step that waits already holds its memory, which costs more than
    the moment between two steps (an eighth of a full-size Wav2Lip step).
    """
    return 0 if jax.default_backend() == "cpu" else 2


class Program:
    """Jitted functions of one task on one mesh.

    Random keys depend on the seed and the step alone, so none is saved.

    Attributes:
      shapes: shapes, dtypes and shardings of the state.
      batches: sharding of a batch.
      after_eval: (state, metrics) -> state; the old state is donated.
      preview: (state, batch) -> pictures or None.
    """

    def __init__(self, task: Task, seed: int, mesh: Mesh):
        """Plans shardings from shapes; nothing is computed yet."""
        init_key, self._step_key, self._eval_key = jax.random.split(
            jax.random.key(seed), 3
        )
        everywhere = mesh_lib.replicated(mesh)
        shapes = jax.eval_shape(task.init, init_key)
        sharded = mesh_lib.by_size(mesh, shapes)
        run = Run(sharded, everywhere, everywhere)
        self.batches = mesh_lib.by_batch(mesh)
        self.shapes = jax.tree.map(
            lambda s, where: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=where),
            shapes,
            sharded,
        )
        self._task = task
        self._everywhere = everywhere
        self._init = jax.jit(lambda: task.init(init_key), out_shardings=sharded)
        self._replace = jax.jit(task.init_from, donate_argnums=0, out_shardings=sharded)
        self._train = jax.jit(
            self._train_step,
            donate_argnums=0,
            in_shardings=(run, self.batches),
            out_shardings=(run, everywhere),
        )
        self._evaluate = jax.jit(
            self._eval_step,
            in_shardings=(sharded, self.batches, everywhere),
            out_shardings=everywhere,
        )
        self.after_eval = jax.jit(
            task.after_eval, donate_argnums=0, out_shardings=sharded
        )
        self.preview = jax.jit(
            task.preview,
            in_shardings=(sharded, self.batches),
            out_shardings=everywhere,
        )

    def start(self, variables: Any = None) -> State:
        """A new state, sharded; with the main network's `variables` if given."""
        state = self._init()
        return state if variables is None else self._replace(state, variables)

    def run(self, state: State, step: int) -> Run:
        """The state at a step, ready to train; `state` is consumed."""
        scalars = jax.device_put((np.int32(step), np.int32(0)), self._everywhere)
        return Run(state, *scalars)

    def compile_train(
        self, batch: Batch
    ) -> Callable[[Run, Batch], tuple[Run, Metrics]]:
        """The training step for batches like this one; it donates the run."""
        scalar = jax.ShapeDtypeStruct((), jnp.int32, sharding=self._everywhere)
        return self._train.lower(Run(self.shapes, scalar, scalar), batch).compile()

    def evaluate(self, state: State, batch: Batch, index: int) -> Metrics:
        """Metrics of the evaluation batch number `index`."""
        return self._evaluate(state, batch, np.int32(index))

    def _train_step(self, run: Run, batch: Batch) -> tuple[Run, Metrics]:
        key = jax.random.fold_in(self._step_key, run.step)
        state, metrics = self._task.train_step(run.state, batch, key)
        step = run.step + 1
        good = (run.first_bad > 0) | arrays.all_finite((state, metrics))
        first_bad = jnp.where(good, run.first_bad, step)
        # A copy to read: the run itself is donated to the next step.
        return Run(state, step, first_bad), {**metrics, "first_bad": first_bad}

    def _eval_step(self, state: State, batch: Batch, index: jax.Array) -> Metrics:
        key = jax.random.fold_in(self._eval_key, index)
        return self._task.eval_step(state, batch, key)
