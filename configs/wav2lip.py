"""Wav2Lip as published, without the discriminator (`wav2lip_train`), 96 pixels.

Needs `--config.method.expert=DIR`, the model folder of a sync expert.
"""

from ml_collections import ConfigDict

from configs.expert import smoke
from lipsync_jax.training.config import base_config


def get_config(arg: str = "") -> ConfigDict:
    """`arg` "smoke": a few narrow steps, to see that everything works."""
    config = base_config()
    config.task = "wav2lip"
    config.network = "wav2lip"
    config.arguments.width = 1.0  # times the published channels
    config.method.expert = ""  # model folder
    config.method.expert_mode = "train"  # as in the original; "eval" is cleaner
    config.method.loss = "safe"  # "original": the loss that can explode
    config.method.sync_weight = 0.01  # the script's; the paper says 0.03
    config.method.sync_threshold = 0.75  # sync loss that switches the weight on
    config.method.min_distance = 1  # frames to the reference window, as published
    config.batch_size = 16  # windows of five frames
    config.steps = 300_000  # until the evaluation's sync loss is about 0.2
    config.eval_every = 3_000
    config.eval_batches = 50  # the original: 701
    config.save_every = 3_000
    config.optimizer.learning_rate = 1e-4  # Adam, b2 0.999 and eps 1e-8 throughout
    config.optimizer.b1 = 0.9
    if arg == "smoke":
        smoke(config)
        config.batch_size = 4
    elif arg:
        raise ValueError("the only argument is smoke")
    return config
