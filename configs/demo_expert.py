"""The sync expert of the demo: 48 pixels, narrow, on drawn talkers.

Steeper than published runs: 5e-4 instead of 1e-4 learns these in minutes; from 2e-3 on
nothing is learnt at all.
"""

from ml_collections import ConfigDict

from configs import expert


def get_config(arg: str = "") -> ConfigDict:
    """`arg` "quick": a tenth of the steps."""
    config = expert.get_config()
    config.network = "expert_48"
    config.arguments.width = 0.25
    config.batch_size = 32
    config.steps = 3600
    config.log_every = 25
    config.eval_every = config.save_every = 600
    config.eval_batches = 16
    config.optimizer.learning_rate = 5e-4
    config.optimizer.ema = 0.98
    config.threads = 2
    if arg == "quick":
        config.steps = 200
        config.eval_every = config.save_every = 100
        config.eval_batches = 4
    elif arg:
        raise ValueError("the only argument is quick")
    return config
