"""LipGAN with its discriminator of pairs (`train`), 96 pixels.

What differs from `configs/lipgan_unet.py` is below.
"""

from ml_collections import ConfigDict

from configs import lipgan_unet


def get_config(arg: str = "") -> ConfigDict:
    """`arg` "smoke": a few narrow steps, to see that everything works."""
    config = lipgan_unet.get_config(arg)
    config.task = "lipgan"
    config.method.discriminator = "lipgan_disc"  # "lipgan_mfcc_disc" for MFCCs
    config.method.adversarial_weight = 0.01  # L1 has 1
    config.method.margin = 1.0  # distance at which pairs out of sync are left alone
    config.method.unsynced = "random"  # "original": batches rolled by ten
    config.optimizer.learning_rate = 1e-4  # of both networks
    return config
