"""Where arrays live: the device mesh and the shardings made for it.

Axis `data` splits the batch. Axis `fsdp` does, too, and splits large parameters and
optimizer moments besides: each of its devices keeps a part, XLA gathers a layer's
weights when they are used. Models and losses never mention devices.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lipsync_jax.errors import ConfigError

_SMALL = 2**14  # elements below which an array is cheaper to keep whole


def make(fsdp: int = 1, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh over all devices of all processes.

    Args:
      fsdp: devices that share one copy of the state.
      devices: instead of all.

    Raises:
      ConfigError: `fsdp` does not divide the number of devices.
    """
    count = len(devices) if devices is not None else jax.device_count()
    if fsdp < 1 or count % fsdp:
        divisors = [n for n in range(1, count + 1) if count % n == 0]
        raise ConfigError(
            f"config.mesh.fsdp={fsdp} does not divide the {count} devices; "
            f"it may be {', '.join(map(str, divisors))}"
        )
    return jax.make_mesh(
        (count // fsdp, fsdp),
        ("data", "fsdp"),
        axis_types=(AxisType.Auto, AxisType.Auto),
        devices=devices,
    )


def check_batch(batch_size: int, microbatches: int, mesh: Mesh) -> None:
    """Refuses a batch that does not spread evenly.

    Raises:
      ConfigError: names the numbers and a batch size that works.
    """
    unit = mesh.size * microbatches
    if batch_size < 1 or batch_size % unit:
        better = max(unit, round(batch_size / unit) * unit)
        raise ConfigError(
            f"config.batch_size={batch_size} must be a multiple of {mesh.size} devices "
            f"x {microbatches} microbatches; use e.g. --config.batch_size={better}"
        )


def replicated(mesh: Mesh) -> NamedSharding:
    """Whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def by_batch(mesh: Mesh) -> NamedSharding:
    """Split on the first axis over all devices."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def by_size(mesh: Mesh, shapes: Any) -> Any:
    """Shardings of a state: large arrays are split over `fsdp`.

    The largest axis that `fsdp` divides is split; small arrays stay whole.

    Args:
      mesh: from `make`.
      shapes: a tree of anything with a shape.
    """
    parts = mesh.shape["fsdp"]

    def sharding(leaf: Any) -> NamedSharding:
        axes = [axis for axis, n in enumerate(leaf.shape) if n % parts == 0]
        if parts == 1 or not axes or math.prod(leaf.shape) < _SMALL:
            return replicated(mesh)
        axis = max(axes, key=lambda axis: leaf.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*[None] * axis, "fsdp"))

    return jax.tree.map(sharding, shapes)
