"""The sync expert as published: `SyncNet_color`, 96 pixels.

Train it first; the other configurations need its model folder. The originals stop when
the evaluation loss has not fallen for about ten epochs (about 0.25 on LRS2).
"""

from ml_collections import ConfigDict

from lipsync_jax.training.config import base_config


def get_config(arg: str = "") -> ConfigDict:
    """`arg` "smoke": a few narrow steps, to see that everything works."""
    config = base_config()
    config.task = "expert"
    config.network = "expert"
    config.arguments.width = 1.0  # times the published channels
    config.method.loss = "safe"  # "original": the loss that can explode
    config.method.min_distance = 1  # frames to a window out of sync, as published
    config.batch_size = 64  # windows
    config.steps = 200_000  # as long as evaluations get better
    config.eval_every = 10_000
    config.eval_batches = 50  # the original: up to 1402
    config.save_every = 5_000
    config.optimizer.learning_rate = 1e-4  # Adam, b2 0.999 and eps 1e-8 throughout
    config.optimizer.b1 = 0.9
    if arg == "smoke":
        smoke(config)
    elif arg:
        raise ValueError("the only argument is smoke")
    return config


def smoke(config: ConfigDict) -> None:
    """Makes a run short: under a minute on two CPU cores."""
    config.arguments.width = 0.125
    config.batch_size = 8
    config.steps = 4
    config.eval_batches = 2
    config.log_every = 1
    config.eval_every = config.save_every = 4
