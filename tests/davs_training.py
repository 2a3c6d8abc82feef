"""Small batches and states for the stages of DAVS's training."""

from functools import partial

import jax
import numpy as np

from lipsync_jax.systems.davs.windows import Starts

# These programs run a few times, and would be compiled ten times as long.
jit = partial(
    jax.jit,
    compiler_options={
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
    },
)


def make_batch():
    rng = np.random.default_rng(0)
    return {
        "video": rng.integers(0, 256, (2, 25, 64, 64, 3), np.uint8),
        "mfcc": rng.uniform(-20, 20, (2, 25, 20, 12)).astype("f"),
        "label": np.array([3, 5], np.int32),
    }


def make_state(task):
    """Like what `init` gives, which takes a quarter of a minute to compile."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        where = jax.tree_util.keystr(path)
        if "kernel" in where and "opt_state" not in where:
            fan_in = np.prod(leaf.shape[:-1])
            return (rng.standard_normal(leaf.shape) / np.sqrt(fan_in)).astype("f")
        one = "opt_state" not in where and ("scale" in where or "var" in where)
        return np.full(leaf.shape, one, leaf.dtype)

    shapes = jax.eval_shape(task.init, jax.random.key(0))
    return jax.tree_util.tree_map_with_path(draw, shapes)


def starts(person=0, identity=24, word=1, drawn=2):
    return Starts(*map(np.int32, (person, identity, word, drawn)))


def equal(a, b):
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, a, b)))
