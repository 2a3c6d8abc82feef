"""DAVS, the whole method, 256 pixels: `--config configs/davs.py:STAGE`.

    identity     the identity encoder learns to tell people apart
    words        speech and lips get the same codes, from which words are told
    generation   all networks at once, as published: the default

Each stage begins with the model folder of the one before (`--init_from`), the last one
with the words' network, too; `launch/davs.sh` runs one after the other. The first two
are not published; the specification tells what is known of them.

All need clips that name their speakers or words: single words with labels (LRW, which
does not name speakers), `lipsync build synthetic_talkers --words N`, or, for the first
stage, any folder of videos in folders of speakers (`talking_faces`).
"""

from ml_collections import ConfigDict

from configs.expert import smoke
from lipsync_jax.training.config import base_config


def get_config(arg: str = "generation") -> ConfigDict:
    """`arg`: a stage; with "_smoke" behind it a few narrow steps.

    Raises:
      ValueError: another `arg`; lists the known ones.
    """
    stage = arg.removesuffix("smoke").removesuffix("_") or "generation"
    if stage not in _STAGES:
        raise ValueError(f"the argument is one of: {', '.join(_STAGES)}")
    config = base_config()
    config.network = "davs"
    config.arguments.width = 1.0  # times the published channels
    config.arguments.resolution = 256  # pixels; 128 or 64 for small machines
    config.method.dropout = 0.5
    # Model folders of networks to begin with; "": new weights.
    config.method.start_from = ConfigDict()
    config.batch_size = 16  # clips
    config.eval_every = 5_000
    config.eval_batches = 20
    config.save_every = 1_000
    config.optimizer.learning_rate = 2e-4  # of all networks
    config.optimizer.b1 = 0.9
    _STAGES[stage](config)
    if arg.endswith("smoke"):
        smoke(config)
        config.arguments.resolution = 64
        config.batch_size = 4
    return config


def _identity(config: ConfigDict) -> None:
    config.task = "davs_identity"
    config.method.start_from.person = ""
    config.batch_size = 64  # clips, two faces of each
    config.steps = 100_000  # as long as evaluations get better


def _words(config: ConfigDict) -> None:
    config.task = "davs_words"
    config.method.words = 500  # labels of the dataset are 0, ..., words - 1
    config.method.word_frames = 12  # every other one, by which the word is told
    config.method.margin = 1.0  # between codes of different clips
    # Of the speaker in codes of lips, where clips name speakers; 0: nobody asks. The
    # published program has only the other direction.
    config.method.person_weight = 0.0
    for name in ("words", "modality", "person"):
        config.method.start_from[name] = ""
    config.steps = 200_000  # as long as evaluations get better


def _generation(config: ConfigDict) -> None:
    _words(config)
    config.task = "davs"
    config.method.person_frames = 20  # of 25, that are to say nothing of the word
    config.method.drawn_frames = 6  # of the word's, that are drawn and judged together
    config.method.l1_weight = 4.0  # of errors in levels of 255
    config.method.mouth_weight = 8.0  # of errors of the mouth, on top
    # Of the word in early maps of the person; the original: 1e6 over 500**2 words.
    config.method.uniformity_weight = 4.0
    for name in ("discriminator", "identity_words"):
        config.method.start_from[name] = ""
    config.steps = 1_000_000  # the original: stopped by hand


_STAGES = {"identity": _identity, "words": _words, "generation": _generation}
