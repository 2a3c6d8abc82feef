"""Wav2Lip for faces of 288 pixels, with the discriminator of that size.

Layers of a public fork (primepake/wav2lip_288x288), losses of `wav2lip_hq`. It wants
records with crops of at least 288 pixels, and an expert of the same size:

    lipsync train --config configs/wav2lip_hd.py:expert --workdir runs/expert_288 ...
    lipsync train --config configs/wav2lip_hd.py --workdir runs/hd \
        --config.method.expert=runs/expert_288/best ...
"""

from ml_collections import ConfigDict

from configs import expert, wav2lip_hq


def get_config(arg: str = "") -> ConfigDict:
    """`arg`: "" or "smoke" for the generator, "expert" or "expert_smoke" before it."""
    if arg.startswith("expert"):
        config = expert.get_config(arg.removeprefix("expert").removeprefix("_"))
        # Its cosine can be negative: the original's loss would refuse that.
        config.network = "expert_288_prelu"
        return config
    config = wav2lip_hq.get_config(arg)
    config.network = "wav2lip_288"
    config.method.discriminator = "quality_disc_288"
    return config
