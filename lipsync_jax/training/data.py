"""The batches of a run, from a prepared dataset."""

from pathlib import Path

import jax
from ml_collections import ConfigDict

from lipsync_jax.data.pipeline import eval_batches, train_batches
from lipsync_jax.data.source import open_split
from lipsync_jax.errors import ConfigError
from lipsync_jax.training.loop import Data, HostBatches
from lipsync_jax.training.task import Examples


def from_config(config: ConfigDict, examples: Examples) -> Data:
    """Batches of the configured dataset.

    Raises:
      ConfigError: no dataset is configured.
      DataError: it is not there, or holds nothing that can be used.
    """
    if not config.data.directory:
        raise ConfigError(
            "no dataset: give the folder that `lipsync build` printed with "
            "--config.data.directory=DIR"
        )
    directory = Path(config.data.directory)
    processes = {
        "process_index": jax.process_index(),
        "process_count": jax.process_count(),
    }
    common = {"batch_size": config.batch_size, "seed": config.seed, **processes}
    train = open_split(directory, config.data.train)

    def batches(step: int) -> HostBatches:
        return train_batches(
            train, examples, step=step, threads=config.threads, **common
        )

    if not config.eval_batches:
        return Data(batches, lambda: iter(()))
    held_out = open_split(directory, config.data.eval)
    return Data(
        batches,
        lambda: eval_batches(
            held_out,
            examples,
            batches=config.eval_batches,
            threads=config.threads,
            **common,
        ),
    )
