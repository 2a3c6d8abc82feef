"""Name map between DAVS's checkpoints and Flax variables.

A checkpoint holds one state_dict for each of nine networks, four of which are one here.
The Flax modules keep the original paths, but norms stand with their convolution:

    X/conv/kernel|bias        X.weight|bias
    X/norm/scale|bias|...     Y.weight|bias|running_*, Y by `_NORMS`
    X/kernel|scale|bias|...   X.weight|bias|running_*
"""

import re
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from convert_torch_weights.names import used
from lipsync_jax.errors import CheckpointError

Path = tuple[str, ...]
Tensors = Mapping[str, np.ndarray]

# Parts of the network "davs" -> their keys in a checkpoint.
PARTS = {
    "identity_encoder": "ID_encoder",
    "lip_encoder": "lip_feature_encoder",
    "audio_encoder": "mfcc_encoder",
    "decoder": "Decoder",
}
# Other keys of a checkpoint -> networks; the last two are in the program alone.
OTHERS = {
    "netD": "davs_disc",
    "netD_mul": "davs_sequence_disc",
    "ID_lip_discriminator": "davs_identity_words",
    "model_fusion": "davs_words",
    "discriminator_audio": "davs_modality",
    "ID_fc": "davs_identity_fc",
    "Face_ID_fc": "davs_people",
}
# Layers of checkpoints with which nothing computes.
_UNUSED = re.compile(
    r"mfcc_encoder\.model1\.bn5\."
    r"|lip_feature_encoder\.model\.(conv5|conv6|fc)\."
    r"|netD(_mul)?\.(conv8|bn7|bn8|bn9)\."
    r"|(model_fusion|ID_fc)\.dis\."
    r"|ID_fc\.fc_2\."
)

# Convolution -> its norm; the first that is found.
_NORMS = (
    (r"deconv1_1_new$", "deconv1_1_bn"),
    (r"conv_last0$", "bn_end0"),
    (r"model\.l0$", "bn1"),
    (r"^conv2_(\d)$", r"norm_\1"),
    (r"^conv3$", "norm3"),
    (r"conv(\d)$", r"bn\1"),
    (r"$", "_bn"),
)
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}
_LEAVES |= {"mean": "running_mean", "var": "running_var"}


def is_davs(tensors: Tensors) -> bool:
    """Whether a file holds one of DAVS's networks."""
    keys = {name.partition(".")[0] for name in tensors}
    return not keys.isdisjoint({*PARTS.values(), *OTHERS})


def davs_parts(tensors: Tensors) -> list[dict[str, np.ndarray]]:
    """Splits a checkpoint into its networks; the one that draws comes first.

    Raises:
      CheckpointError: one of the four that draw is not there.
    """
    keys = {name.partition(".")[0] for name in tensors}
    if missing := [key for key in PARTS.values() if key not in keys]:
        raise CheckpointError(
            f"lacks {', '.join(missing)}: a checkpoint of DAVS is of use with "
            f"{', '.join(PARTS.values())}; found: {', '.join(sorted(keys))}"
        )
    networks = davs_networks(used(tensors))
    return [networks.pop("davs"), *networks.values()]


def davs_networks(
    tensors: Tensors,
) -> dict[str, dict[str, np.ndarray]]:
    """Splits a checkpoint, and leaves out what no network uses.

    Args:
      tensors: by key of the checkpoint and name, such as "netD.conv1.weight".

    Returns:
      Network -> name -> tensor. The names in "davs" begin with a key, others do not.
    """
    networks = defaultdict(dict)
    for name, tensor in tensors.items():
        key, _, inner = name.partition(".")
        if _UNUSED.match(name):
            continue
        if key in PARTS.values():
            networks["davs"][name] = tensor
        elif key in OTHERS:
            networks[OTHERS[key]][inner] = tensor
    return dict(networks)


def davs_name(path: Path) -> str:
    """Published name of the variable at `path` ("params" or "batch_stats" first)."""
    _, first, *modules, leaf = path
    modules = [PARTS.get(first, first), *modules]
    kind = modules.pop() if modules[-1] in ("conv", "conv_transpose", "norm") else ""
    # "convblock1_conv1_0", "model1_conv1" and "downsample_0" are two names each.
    name = re.sub(r"(?<=\d)_(?=conv)|(?<=downsample)_", ".", ".".join(modules))
    if kind == "norm":
        conv, norm = next(pair for pair in _NORMS if re.search(pair[0], name))
        name = re.sub(conv, norm, name)
    return f"{name}.{_LEAVES[leaf]}"
