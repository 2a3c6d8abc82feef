"""The networks of published programs: whose checkpoints they are, on which terms."""

from dataclasses import dataclass

from convert_torch_weights.framework import (
    DAVS,
    KERAS,
    LPIPS,
    SPEECH2LIP,
    TENSORFLOW,
    TORCH,
    Framework,
)


@dataclass(frozen=True)
class Publication:
    """What is known of a network's checkpoints.

    Attributes:
      framework: in which its program writes it.
      terms: what is known of the weights' terms.
    """

    framework: Framework
    terms: str

    @property
    def licence(self) -> str:
        """A note for people who use the converted weights."""
        return (
            f"The weights keep the terms of whoever published them: {self.terms}. "
            "This file's conversion adds no rights."
        )


_WAV2LIP = Publication(
    TORCH,
    "the Wav2Lip weights are for research and personal use only, trained on LRS2, "
    "whose terms forbid commercial use",
)
_OTHERS = Publication(TORCH, "see where you got them")
_LIPGAN = Publication(
    KERAS,
    "LipGAN's program is under the MIT licence, but its weights are trained on LRS2, "
    "which is for research only and whose terms forbid commercial use",
)

_DAVS = Publication(
    DAVS,
    "DAVS's program is under the MIT licence, but its authors ask to use it for "
    "non-commercial research only, and its weights are trained on LRW, which is for "
    "research only",
)
_LIP2WAV = Publication(TENSORFLOW, "see where you got them")
_SPEECH2LIP = Publication(
    SPEECH2LIP, "see where you got them; they draw one person, who has a say in it"
)
_LPIPS = Publication(
    LPIPS,
    "the heads of LPIPS are under the BSD 2-clause licence; AlexNet is torchvision's, "
    "trained on ImageNet, which is for research only",
)

# Network -> its publication. Sizes that are this project's own are not in it. Of the
# networks of one file the first is the one that `sync` uses.
PUBLISHED: dict[str, Publication] = {
    "wav2lip": _WAV2LIP,
    "expert": _WAV2LIP,
    "quality_disc": _WAV2LIP,
    "wav2lip_288": _OTHERS,
    "wav2lip_288_prelu": _OTHERS,
    "wav2lip_sam": _OTHERS,
    "wav2lip_384": _OTHERS,
    "expert_192": _OTHERS,
    "expert_288_prelu": _OTHERS,
    "expert_384": _OTHERS,
    "quality_disc_288": _OTHERS,
    "patch_disc": _OTHERS,
    "syncnet_v2": _OTHERS,
    "lipgan": _LIPGAN,
    "lipgan_basic": _LIPGAN,
    "lipgan_mfcc": _LIPGAN,
    "lipgan_mfcc_basic": _LIPGAN,
    "lipgan_disc": _LIPGAN,
    "lipgan_mfcc_disc": _LIPGAN,
    "davs": _DAVS,
    "davs_words": _DAVS,
    "davs_sequence_disc": _DAVS,
    "davs_disc": _DAVS,
    "davs_identity_words": _DAVS,
    "davs_modality": _DAVS,
    "lip2wav_chem": _LIP2WAV,
    "lip2wav_chess": _LIP2WAV,
    "lip2wav_dl": _LIP2WAV,
    "lip2wav_lrw": _LIP2WAV,
    "speaker_encoder": _OTHERS,
    "speech2lip": _SPEECH2LIP,
    "speech2lip_mel": _SPEECH2LIP,
    "lpips": _LPIPS,
}

# Other names under which people know the same network.
ALIASES = {
    "wav2lip_gan": "wav2lip",
    "wav2lip_sd_gan": "wav2lip",
    "wav2lip_sd_nogan": "wav2lip",
    "lipsync_expert": "expert",
    "syncnet_color": "expert",
    "visual_quality_disc": "quality_disc",
    "wav2lip_192": "wav2lip_sam",
    "lipgan_residual_mel": "lipgan",
    "lip2wav_hs": "lip2wav_chess",
    "lip2wav_eh": "lip2wav_chess",
    "lpips_alex": "lpips",
}
