"""The generator of the demo: 48 pixels, narrow, on drawn talkers."""

from ml_collections import ConfigDict

from configs import wav2lip


def get_config(arg: str = "") -> ConfigDict:
    """`arg` "quick": a tenth of the steps."""
    config = wav2lip.get_config()
    config.network = "wav2lip_48"
    config.arguments.width = 0.25
    # A batch of eight windows is too small for the expert's batch statistics.
    config.method.expert_mode = "eval"
    config.method.sync_weight = 0.01
    config.method.sync_threshold = 100.0  # on from the first evaluation
    config.batch_size = 8
    config.steps = 1200
    config.log_every = 25
    config.eval_every = config.save_every = 300
    config.eval_batches = 2
    config.optimizer.learning_rate = 1e-3
    config.optimizer.ema = 0.98
    config.threads = 2
    if arg == "quick":
        config.steps = 150
        config.eval_every = config.save_every = 75
        config.eval_batches = 2
    elif arg:
        raise ValueError("the only argument is quick")
    return config
