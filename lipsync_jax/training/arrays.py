"""Facts about whole trees of arrays, the same for every mesh and process count."""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils


def named(tree: Any) -> dict[str, Any]:
    """Leaves by their path, e.g. "generator/params/conv/kernel", sorted."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    paths = [jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in leaves]
    return dict(sorted(zip(paths, (leaf for _, leaf in leaves), strict=True)))


def unnamed(leaves: dict[str, Any], like: Any) -> Any:
    """The inverse of `named`: a tree of the structure of `like`."""
    paths, structure = jax.tree_util.tree_flatten_with_path(like)
    keys = [jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in paths]
    return jax.tree.unflatten(structure, [leaves[key] for key in keys])


def to_host(array: jax.Array) -> np.ndarray:
    """The whole array; every process must call it."""
    if array.is_fully_addressable:
        return np.asarray(array)
    return multihost_utils.process_allgather(array, tiled=True)


def all_finite(tree: Any) -> jax.Array:
    """Whether no floating-point value is infinite or NaN; scalar bool."""
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.stack([jnp.isfinite(x).all() for x in leaves]).all()


def digest(tree: Any) -> str:
    """SHA-256 of all values; equal runs have equal digests.

    Every process must call it.
    """
    result = hashlib.sha256()
    for path, leaf in named(tree).items():
        value = to_host(leaf)
        result.update(f"{path} {value.dtype} {value.shape}\n".encode())
        result.update(np.ascontiguousarray(value).data)
    return result.hexdigest()


@jax.jit
def checksum(tree: Any) -> jax.Array:
    """A number that almost surely changes when any bit of the tree does; uint32.

    Made of sums of integers, so it is computed in place on a sharded tree, and the
    same for every sharding.
    """
    total = jnp.uint32(0)
    for leaf in named(tree).values():
        bits = leaf.astype(jnp.uint8) if leaf.dtype == bool else leaf
        words = {1: jnp.uint8, 2: jnp.uint16}.get(leaf.dtype.itemsize, jnp.uint32)
        # 64-bit values become a last axis of two words.
        words = jax.lax.bitcast_convert_type(bits, words).astype(jnp.uint32)
        place = jnp.uint32(0)
        for axis, n in enumerate(words.shape):
            index = jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
            place = place * jnp.uint32(n) + index
        # An odd factor for each place: swapped values and single bits both show.
        total = total * jnp.uint32(31) + jnp.sum(
            words * (2 * place + 1), dtype=jnp.uint32
        )
    return total
