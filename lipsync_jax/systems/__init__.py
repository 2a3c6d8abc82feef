"""The published systems, one folder each, all with the same rooms."""

from collections.abc import Callable

from flax import linen as nn
from ml_collections import ConfigDict

from lipsync_jax.systems.davs import model as davs
from lipsync_jax.systems.davs import model_judges as davs_judges
from lipsync_jax.systems.davs.synthesize import Synthesizer as DavsSynthesizer
from lipsync_jax.systems.davs.synthesize import VideoSynthesizer as DavsVideoSynthesizer
from lipsync_jax.systems.expert import model as expert
from lipsync_jax.systems.lip2wav import model as lip2wav
from lipsync_jax.systems.lip2wav.speaker import SpeakerEncoder
from lipsync_jax.systems.lipgan import model as lipgan
from lipsync_jax.systems.lipgan.synthesize import Synthesizer as LipGANSynthesizer
from lipsync_jax.systems.lpips.model import LPIPS
from lipsync_jax.systems.speech2lip import model as speech2lip
from lipsync_jax.systems.wav2lip import model as wav2lip
from lipsync_jax.systems.wav2lip.synthesize import Synthesizer as Wav2LipSynthesizer
from lipsync_jax.training.task import Task

# network name -> (system, module with the published sizes)
NETWORKS: dict[str, tuple[str, nn.Module]] = {
    **{name: ("expert", module) for name, module in expert.VARIANTS.items()},
    **{name: ("wav2lip", module) for name, module in wav2lip.GENERATORS.items()},
    **{
        name: ("discriminator", module)
        for name, module in wav2lip.DISCRIMINATORS.items()
    },
    **{name: ("lipgan", module) for name, module in lipgan.GENERATORS.items()},
    **{
        name: ("lipgan_discriminator", module)
        for name, module in lipgan.DISCRIMINATORS.items()
    },
    **{name: ("davs", module) for name, module in davs.GENERATORS.items()},
    **{
        name: ("davs_discriminator", module)
        for name, module in davs_judges.DISCRIMINATORS.items()
    },
    **{
        name: ("davs_classifier", module)
        for name, module in davs_judges.CLASSIFIERS.items()
    },
    **{name: ("lip2wav", module) for name, module in lip2wav.VARIANTS.items()},
    "speaker_encoder": ("speaker_encoder", SpeakerEncoder()),
    **{name: ("speech2lip", module) for name, module in speech2lip.VARIANTS.items()},
    "lpips": ("lpips", LPIPS()),
}

# system -> how its models make pixels from face crops and speech
SYNTHESIZERS = {
    "wav2lip": Wav2LipSynthesizer,
    "lipgan": LipGANSynthesizer,
    "davs": DavsSynthesizer,
}

# the same from face crops and another, speaking face
VIDEO_SYNTHESIZERS = {"davs": DavsVideoSynthesizer}


def _expert(config: ConfigDict) -> Task:
    from lipsync_jax.systems.expert.task import ExpertTask

    return ExpertTask(config)


def _wav2lip(config: ConfigDict) -> Task:
    from lipsync_jax.systems.wav2lip.task import Wav2LipTask

    return Wav2LipTask(config)


def _wav2lip_hq(config: ConfigDict) -> Task:
    from lipsync_jax.systems.wav2lip.task_hq import Wav2LipHQTask

    return Wav2LipHQTask(config)


def _lipgan_unet(config: ConfigDict) -> Task:
    from lipsync_jax.systems.lipgan.task import LipGANTask

    return LipGANTask(config)


def _lipgan(config: ConfigDict) -> Task:
    from lipsync_jax.systems.lipgan.task_gan import LipGANAdversarialTask

    return LipGANAdversarialTask(config)


def _davs_identity(config: ConfigDict) -> Task:
    from lipsync_jax.systems.davs.task_identity import DavsIdentityTask

    return DavsIdentityTask(config)


def _davs_words(config: ConfigDict) -> Task:
    from lipsync_jax.systems.davs.task_words import DavsWordsTask

    return DavsWordsTask(config)


def _davs(config: ConfigDict) -> Task:
    from lipsync_jax.systems.davs.task import DavsTask

    return DavsTask(config)


def _lip2wav(config: ConfigDict) -> Task:
    from lipsync_jax.systems.lip2wav.task import Lip2WavTask

    return Lip2WavTask(config)


# `config.task` -> how it is trained; imported when used, since using a model needs none
TASKS: dict[str, Callable[[ConfigDict], Task]] = {
    "expert": _expert,
    "wav2lip": _wav2lip,
    "wav2lip_hq": _wav2lip_hq,
    "lipgan_unet": _lipgan_unet,
    "lipgan": _lipgan,
    "davs_identity": _davs_identity,
    "davs_words": _davs_words,
    "davs": _davs,
    "lip2wav": _lip2wav,
}
