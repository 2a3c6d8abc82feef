"""Wav2Lip with the visual quality discriminator (`hq_wav2lip_train`), 96 pixels.

Needs `--config.method.expert=DIR`, the model folder of a sync expert. What differs from
`configs/wav2lip.py` is below.
"""

from ml_collections import ConfigDict

from configs import wav2lip


def get_config(arg: str = "") -> ConfigDict:
    """`arg` "smoke": a few narrow steps, to see that everything works."""
    config = wav2lip.get_config(arg)
    config.task = "wav2lip_hq"
    config.method.discriminator = "quality_disc"
    config.method.perceptual_weight = 0.07
    config.method.sync_weight = 0.03
    config.optimizer.b1 = 0.5  # of both networks
    return config
