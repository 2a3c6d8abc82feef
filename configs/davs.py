"""DAVS as published: recognition, disentanglement and drawing at once, 256 pixels.

Needs clips of single words with labels (LRW), or `lipsync build synthetic_talkers
--words N`. The original begins with encoders that were trained before, apart; its
program for that is not published. Give them as a model folder with `--init_from`.
"""

from ml_collections import ConfigDict

from configs.expert import smoke
from lipsync_jax.training.config import base_config


def get_config(arg: str = "") -> ConfigDict:
    """`arg` "smoke": a few narrow steps, to see that everything works."""
    config = base_config()
    config.task = "davs"
    config.network = "davs"
    config.arguments.width = 1.0  # times the published channels
    config.arguments.resolution = 256  # pixels; 128 or 64 for small machines
    config.method.words = 500  # labels of the dataset are 0, ..., words - 1
    config.method.person_frames = 20  # of 25, that are to say nothing of the word
    config.method.word_frames = 12  # every other one, by which the word is told
    config.method.drawn_frames = 6  # of those, that are drawn and judged together
    config.method.margin = 1.0  # between codes of different clips
    config.method.l1_weight = 4.0  # of errors in levels of 255
    config.method.mouth_weight = 8.0  # of errors of the mouth, on top
    # of the word in early maps of the person; the original has 1e6 over 500**2 words
    config.method.uniformity_weight = 4.0
    config.method.dropout = 0.5
    config.batch_size = 16  # clips
    config.steps = 1_000_000  # the original: stopped by hand
    config.eval_every = 5_000
    config.eval_batches = 20
    config.save_every = 1_000
    config.optimizer.learning_rate = 2e-4  # of all networks
    config.optimizer.b1 = 0.9
    if arg == "smoke":
        smoke(config)
        config.arguments.resolution = 64
        config.batch_size = 4
    elif arg:
        raise ValueError("the only argument is smoke")
    return config
