"""The published systems, one folder each, all with the same rooms."""

from flax import linen as nn

from lipsync_jax.systems.expert import model as expert
from lipsync_jax.systems.wav2lip import model as wav2lip
from lipsync_jax.systems.wav2lip.synthesize import Synthesizer as Wav2LipSynthesizer

# network name -> (system, module with the published sizes)
NETWORKS: dict[str, tuple[str, nn.Module]] = {
    **{name: ("expert", module) for name, module in expert.VARIANTS.items()},
    **{name: ("wav2lip", module) for name, module in wav2lip.GENERATORS.items()},
    **{
        name: ("discriminator", module)
        for name, module in wav2lip.DISCRIMINATORS.items()
    },
}

# system -> how its models make pixels from face crops and speech
SYNTHESIZERS = {"wav2lip": Wav2LipSynthesizer}
