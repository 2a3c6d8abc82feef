"""LipGAN of the demo: 48 pixels, narrow, on drawn talkers."""

from ml_collections import ConfigDict

from configs import lipgan


def get_config(arg: str = "") -> ConfigDict:
    """`arg` "quick": a tenth of the steps."""
    config = lipgan.get_config()
    config.network = "lipgan_48"
    config.arguments.width = 0.25
    config.method.discriminator = "lipgan_disc_48"
    config.batch_size = 16
    config.steps = 1500
    config.log_every = 25
    config.eval_every = config.save_every = 500
    config.eval_batches = 4
    config.optimizer.learning_rate = 1e-3
    config.optimizer.ema = 0.98
    config.threads = 2
    if arg == "quick":
        config.steps = 200
        config.eval_every = config.save_every = 100
        config.eval_batches = 2
    elif arg:
        raise ValueError("the only argument is quick")
    return config
