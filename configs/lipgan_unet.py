"""LipGAN's generator against L1 alone (`train_unet`), 96 pixels."""

from ml_collections import ConfigDict

from configs.expert import smoke
from lipsync_jax.training.config import base_config


def get_config(arg: str = "") -> ConfigDict:
    """`arg` "smoke": a few narrow steps, to see that everything works."""
    config = base_config()
    config.task = "lipgan_unet"
    config.network = "lipgan"  # "lipgan_basic"; "lipgan_mfcc": the paper's features
    config.arguments.width = 1.0  # times the published channels
    # 25ths of a second from a picture to its window of sound. -4: centred; the
    # original's own training has -8 (mel) and -4 (MFCC).
    config.arguments.audio_offset = -4
    config.batch_size = 96  # pictures
    config.steps = 300_000  # the authors: a day, 20 epochs of every picture of LRS2
    config.eval_every = 5_000
    config.eval_batches = 20
    config.save_every = 1_000
    config.optimizer.name = "keras_adam"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.b1 = 0.9
    config.optimizer.eps = 1e-7
    if arg == "smoke":
        smoke(config)
    elif arg:
        raise ValueError("the only argument is smoke")
    return config
