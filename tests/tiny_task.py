"""A task and its data, small enough to train in a test: no system involved.

As a program, `python tiny_task.py WORKDIR [KEY=VALUE ...]` trains it, which is what
the tests kill. `TINY_DELAY` slows a step down, `TINY_NAN` spoils one.
"""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from lipsync_jax.nn.norm import BatchNorm
from lipsync_jax.training.config import base_config
from lipsync_jax.training.gradients import accumulate, optimizer
from lipsync_jax.training.loop import Data
from lipsync_jax.training.network import Network
from lipsync_jax.training.task import Export

SIZE = 8


class Net(nn.Module):
    """Image (B, 8, 8, 3) -> number (B,). `width` is its number of features."""

    input_shapes = ((SIZE, SIZE, 3),)

    width: int = 32
    norm: bool = True

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Conv(self.width, (3, 3))(x)
        if self.norm:
            x = BatchNorm(name="norm")(x, train)
        x = nn.relu(nn.Conv(64, (3, 3))(nn.relu(x)))
        return nn.Dense(1)(x.mean((1, 2)))[:, 0]


@flax.struct.dataclass
class State:
    net: Network
    weight: jax.Array  # of the second loss; switched on by an evaluation


class TinyTask:
    """Learns the mean of a picture, and from some evaluation on to answer small."""

    best = ("loss", "min")
    examples = None

    def __init__(self, config, norm=True, tx=None):
        self.config = config
        self.net = Net(config.arguments.width, norm)
        self.tx = tx or optimizer(config)

    def init(self, key):
        images = jnp.zeros((1, SIZE, SIZE, 3))
        ema = self.config.optimizer.ema > 0
        net = Network.create(self.net, (images,), self.tx, key, ema=ema)
        return State(net, jnp.float32(0))

    def train_step(self, state, batch, key):
        def part(stats, batch):
            def loss(params):
                out, new = self.net.apply(
                    {"params": params, "batch_stats": stats},
                    batch["image"].astype(jnp.float32) / 255,
                    train=True,
                    mutable=["batch_stats"],
                )
                error = jnp.square(out - batch["target"]).mean()
                value = error + state.weight * jnp.square(out).mean()
                value = value * batch["poison"].mean()
                return value, (dict(new).get("batch_stats", {}), error)

            grads, (stats, error) = jax.grad(loss, has_aux=True)(state.net.params)
            return stats, (grads, {"loss": error})

        stats, (grads, metrics) = accumulate(
            part, state.net.batch_stats, batch, self.config.microbatches
        )
        noise = jax.random.normal(key) * 1e-4
        grads = jax.tree.map(lambda g: g + noise, grads)
        net = state.net.updated(grads, self.tx, stats, self.config.optimizer.ema)
        new = jnp.diff(jnp.sort(batch["id"])) > 0
        metrics |= {"weight": state.weight, "distinct": 1 + new.sum()}
        return state.replace(net=net), metrics

    def eval_step(self, state, batch, key):
        out = self.net.apply(
            state.net.inference_variables, batch["image"].astype(jnp.float32) / 255
        )
        return {"loss": jnp.square(out - batch["target"]).mean()}

    def after_eval(self, state, metrics):
        low = metrics["loss"] < self.config.method.threshold
        return state.replace(weight=jnp.where(low, 0.5, state.weight))

    def preview(self, state, batch):
        return batch["image"][:4]

    def export(self, state):
        variables = state.net.inference_variables
        return {"model": Export("tiny", dict(self.config.arguments), variables)}

    def init_from(self, state, variables):
        return state.replace(net=state.net.replaced(variables))


def tiny_config(**changes):
    config = base_config()
    config.task = config.network = "tiny"
    config.arguments.width = 32
    config.method.threshold = 10.0
    config.optimizer.learning_rate = 1e-3
    config.batch_size = 16
    config.steps = 12
    config.log_every = 2
    config.eval_every = config.save_every = 4
    config.eval_batches = 2
    config.keep = 2
    config.update_from_flattened_dict(changes)
    return config


def batch(seed: int, size: int) -> dict[str, np.ndarray]:
    """All examples of a batch, by its number alone."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (size, SIZE, SIZE, 3), np.uint8)
    target = image.mean((1, 2, 3)).astype(np.float32) / 255
    return {
        "id": np.arange(seed * size, (seed + 1) * size, dtype=np.int32),
        "image": image,
        "target": target,
        "poison": np.ones(size, np.float32),
    }


class TinyData:
    """Batches that are a function of their number; remembers what it gave."""

    def __init__(self, config, process=0, processes=1):
        self.config = config
        self.mine = slice(process, None, processes)
        self.delay = float(os.environ.get("TINY_DELAY", 0))
        self.spoilt = int(os.environ.get("TINY_NAN", 0))
        self.data = Data(self.train, self.evaluate)

    def train(self, step: int) -> Iterator[dict[str, np.ndarray]]:
        while True:
            step += 1
            whole = batch(step, self.config.batch_size)
            if step == self.spoilt:
                whole["poison"][3] = np.nan
            time.sleep(self.delay)
            yield {name: value[self.mine] for name, value in whole.items()}

    def evaluate(self) -> Iterator[dict[str, np.ndarray]]:
        for index in range(self.config.eval_batches):
            whole = batch(10**4 + index, self.config.batch_size)
            yield {name: value[self.mine] for name, value in whole.items()}


def register() -> None:
    """Lets model folders hold the tiny network."""
    from lipsync_jax import models_io

    models_io.NETWORKS["tiny"] = ("tiny", Net())


def main(workdir: str, *words: str) -> None:
    """Trains as `lipsync train` does, with the data of this file."""
    import ast

    from lipsync_jax.errors import LipSyncError
    from lipsync_jax.training import distributed
    from lipsync_jax.training.loop import train

    register()
    values = dict(word.split("=", 1) for word in words)
    values = {key: ast.literal_eval(value) for key, value in values.items()}
    if cache := os.environ.get("TINY_CACHE"):
        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    join = values.pop("join", None)
    if join:
        distributed.join(*join)
    config = tiny_config(**values)
    data = TinyData(config, jax.process_index(), jax.process_count())
    try:
        print(train(TinyTask(config), config, Path(workdir), data.data))
    except LipSyncError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main(*sys.argv[1:])
