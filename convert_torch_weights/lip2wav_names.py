"""Name map between Lip2Wav's checkpoints and Flax variables.

TensorFlow's layouts are Flax's, so values stay as they are, but for the colours of the
first layer. Names differ where TensorFlow puts a layer into a scope of its own (section
5 of the system's specification):

    encoder_convolutions/conv_layer_X/conv    ..._encoder_convolutions/conv3d
    postnet_convolutions/conv_layer_X/conv    ..._postnet_convolutions/conv1d
    .../norm/scale|bias|mean|var              .../batch_normalization/gamma|beta|...
"""

import re
from collections.abc import Iterable, Mapping

import numpy as np

Path = tuple[str, ...]

_MODEL = "Tacotron_model/inference/"
_RULES = (
    (r"^(\w+_convolutions)/(\w+)/", r"\1/\2_\1/"),
    (r"^(encoder.*)/conv/", r"\1/conv3d/"),
    (r"^(postnet.*)/conv/", r"\1/conv1d/"),
    (r"/norm/scale$", "/batch_normalization/gamma"),
    (r"/norm/bias$", "/batch_normalization/beta"),
    (r"/norm/mean$", "/batch_normalization/moving_mean"),
    (r"/norm/var$", "/batch_normalization/moving_variance"),
    (
        r"^encoder_LSTM/(fw|bw)/gates/",
        r"encoder_LSTM/bidirectional_rnn/\1/encoder_\1_LSTM/",
    ),
    (r"/decoder_LSTM_1/gates/", "/decoder_LSTM/multi_rnn_cell/cell_0/decoder_LSTM_1/"),
    (r"/decoder_LSTM_2/gates/", "/decoder_LSTM/multi_rnn_cell/cell_1/decoder_LSTM_2/"),
    (
        r"\b(\w+)_projection/(kernel|bias)$",
        r"\1_projection/projection_\1_projection/\2",
    ),
)
_FIRST = ("params", "encoder_convolutions", "conv_layer_1", "conv", "kernel")


def lip2wav_names(paths: Iterable[Path]) -> dict[str, Path]:
    """Published name -> path of every variable of a network."""
    return {lip2wav_name(path): path for path in paths}


def lip2wav_name(path: Path) -> str:
    """Published name of the variable at `path` ("params" or "batch_stats" first)."""
    name = "/".join(path[1:])
    for pattern, replacement in _RULES:
        name = re.sub(pattern, replacement, name)
    return _MODEL + name


def of_model(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint with which the model computes.

    Others are the optimizer's and the number of the step.
    """
    return {name: x for name, x in tensors.items() if name.startswith(_MODEL)}


def from_lip2wav(path: Path, value: np.ndarray) -> np.ndarray:
    """A tensor of a checkpoint as the Flax variable at `path`; sees RGB, not BGR."""
    value = np.asarray(value, np.float32)
    return value[..., ::-1, :] if path == _FIRST else value
