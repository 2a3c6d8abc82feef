"""Writing trained networks as model folders, and starting from one."""

import math
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from lipsync_jax import __version__, models_io
from lipsync_jax.errors import ModelError
from lipsync_jax.training import arrays
from lipsync_jax.training.task import Export, State, Task


def save(
    workdir: Path,
    folder: str,
    networks: dict[str, Export],
    metadata: dict[str, Any],
) -> None:
    """Writes each network: "model" as `folder`, others as `folder_NAME`.

    Every process must call it; process 0 writes.

    Raises:
      OutputError: a folder cannot be written.
    """
    for name, export in networks.items():
        variables = jax.tree.map(arrays.to_host, export.variables)
        if jax.process_index() == 0:
            models_io.save(
                workdir / (folder if name == "model" else f"{folder}_{name}"),
                export.network,
                variables,
                arguments=export.arguments,
                metadata=metadata,
            )


def metadata(
    config: ConfigDict, step: int, evaluation: dict[str, float]
) -> dict[str, Any]:
    """Where a trained model comes from, for its model.json."""
    return {
        "trained": {
            "lipsync_jax": __version__,
            "task": config.task,
            "step": step,
            "evaluation": evaluation,
            "dataset": config.data.directory,
        }
    }


def sizes(networks: dict[str, Export]) -> dict[str, int]:
    """Name -> number of parameters."""
    return {
        name: sum(math.prod(x.shape) for x in jax.tree.leaves(e.variables["params"]))
        for name, e in networks.items()
    }


def load_for(task: Task, shapes: State, folder: Path) -> Any:
    """The variables of a model folder that this task can go on training.

    Raises:
      ModelError: no model folder, or one of another network or size.
    """
    model = models_io.load(folder)
    want = task.export(shapes)["model"]
    if model.network != want.network:
        raise ModelError(
            f"{folder}: holds network {model.network}; this run trains "
            f"{want.network}; choose a configuration for {model.network}"
        )
    found = {k: v.shape for k, v in arrays.named(model.variables).items()}
    needed = {k: v.shape for k, v in arrays.named(want.variables).items()}
    for path in sorted(found.keys() | needed.keys()):
        if found.get(path) != needed.get(path):
            raise ModelError(
                f"{folder}: is of another size: {path} is {found.get(path)}, this run "
                f"needs {needed.get(path)}; set config.arguments to "
                f"{model.metadata['arguments']}"
            )
    return model.variables
