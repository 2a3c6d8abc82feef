"""Lip2Wav: speech from silent faces, for one speaker or for words of many.

`--config configs/lip2wav.py:NAME`, one of the published settings:

    chem                     a lecturer whose face fills the picture: 96 pixels
    chess, hs, eh            smaller faces: 48 pixels
    dl                       48 pixels, 25 frames per second, a narrower decoder
    lrw                      words of many speakers (LRW): 128 pixels, 25 per second

Clips must have the network's frame rate. For another one, or for windows of another
length, set `config.arguments.fps` and `frames`: the spectrogram lasts as long. Words
of many speakers need a speaker encoder: `--config.method.speaker_encoder=DIR`.
"""

from ml_collections import ConfigDict

from configs.expert import smoke
from lipsync_jax.training.config import base_config

# Network, frames, per second, faces in common, batch, when the network is told less.
_PRESETS = {
    "chem": ("lip2wav_chem", 90, 30.0, 15, 24, (29_000, 130_000)),
    "chess": ("lip2wav_chess", 90, 30.0, 15, 24, (75_000, 200_000)),
    "hs": ("lip2wav_chess", 90, 30.0, 15, 24, (29_000, 100_000)),
    "eh": ("lip2wav_chess", 90, 30.0, 15, 20, (29_000, 100_000)),
    "dl": ("lip2wav_dl", 75, 25.0, 15, 24, (29_000, 100_000)),
    "lrw": ("lip2wav_lrw", 25, 25.0, 10, 32, (0, 0)),
    "smoke": ("lip2wav_dl", 10, 25.0, 5, 4, (2, 2)),
}


def get_config(arg: str = "chem") -> ConfigDict:
    """`arg`: see above, or "smoke": a few narrow steps, to see that everything works.

    Raises:
      ValueError: another `arg`; lists the known ones.
    """
    if arg not in _PRESETS:
        raise ValueError(f"the argument is one of: {', '.join(_PRESETS)}")
    network, frames, fps, overlap, batch_size, (start, length) = _PRESETS[arg]
    config = base_config()
    config.task = "lip2wav"
    config.network = network
    config.arguments.width = 1.0  # times the published channels
    config.arguments.frames = frames  # faces of a window
    config.arguments.fps = fps
    config.arguments.overlap = overlap  # faces in common with the next window, in use
    config.method.speaker_encoder = ""  # model folder; "" for one speaker
    config.method.forcing_start = start  # steps in which all frames before are told
    config.method.forcing_length = length  # steps until none is; 0: all for ever
    config.batch_size = batch_size
    config.steps = 200_000  # the published weights: 159 000 (lectures), 313 000 (lrw)
    config.eval_every = 2_500
    config.eval_batches = 20
    config.save_every = 1_000
    config.optimizer.name = "keras_adam"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "tacotron"
    config.optimizer.eps = 1e-6
    config.optimizer.clip_norm = 1.0
    if arg == "smoke":
        smoke(config)
        config.batch_size = batch_size
    return config
