"""From TensorFlow's files to a network of Lip2Wav."""

import numpy as np
import pytest
from lip2wav_parity import GOLDENS, NETWORKS, PREFIX, filled, variables
from tensorflow_writer import write

from convert_torch_weights import convert
from lipsync_jax import models_io
from lipsync_jax.cli.main import main
from lipsync_jax.errors import CheckpointError


@pytest.fixture(scope="module")
def dl(tmp_path_factory):
    """The golden checkpoint of `dl`, with what training leaves in it."""
    tensors = filled(NETWORKS["dl"])
    name = f"{PREFIX}memory_layer/kernel"
    tensors["global_step"] = np.int32(159000).reshape(())
    tensors[f"Tacotron_model/{name}/Adam"] = tensors[name]
    tensors["Tacotron_model/beta1_power"] = np.float32(0).reshape(())
    folder = tmp_path_factory.mktemp("taco pretrained")
    return write(folder / "tacotron_model.ckpt-159000", tensors)


def test_a_published_checkpoint(dl, tmp_path, capsys):
    folder = tmp_path / "model"
    assert main(["convert", f"{dl}.index", "--out", str(folder)]) == 0
    model = models_io.load(folder, "lip2wav")
    assert model.network == "lip2wav_dl"
    assert model.metadata["container"] == "tensorflow"
    assert model.metadata["source"] == "tacotron_model.ckpt-159000.index"
    assert model.metadata["training"] == {"global_step": 159000}
    want = variables(NETWORKS["dl"])
    np.testing.assert_array_equal(
        model.variables["params"]["memory_layer"]["kernel"],
        want["params"]["memory_layer"]["kernel"],
    )
    first = model.variables["params"]["encoder_convolutions"]["conv_layer_1"]["conv"]
    name = "encoder_convolutions/conv_layer_1_encoder_convolutions/conv3d/kernel"
    stored = filled(NETWORKS["dl"])[PREFIX + name]
    np.testing.assert_array_equal(first["kernel"], stored[..., ::-1, :])  # RGB


@pytest.mark.parametrize("network", [None, "lip2wav_dl"])
def test_the_prefix_means_the_checkpoint(dl, network):
    assert convert(dl, network).network == "lip2wav_dl"


def test_another_network(dl):
    with pytest.raises(CheckpointError, match="it looks like lip2wav_dl; convert it"):
        convert(dl, "lip2wav_hs")
    with pytest.raises(CheckpointError, match="is a file of TensorFlow, but wav2lip"):
        convert(dl, "wav2lip")


def test_sizes_that_nobody_published():
    micro = GOLDENS / "ckpt_micro" / "tacotron_model.ckpt-7.index"
    with pytest.raises(CheckpointError, match="not a network this program knows"):
        convert(micro)


def test_parts_that_are_missing(dl, tmp_path):
    for name in ("model.ckpt-1.data-00000-of-00001", "model.ckpt-1.meta"):
        (tmp_path / name).write_bytes(b"model")
    with pytest.raises(CheckpointError, match="whose other files are not beside it"):
        convert(tmp_path / "model.ckpt-1.data-00000-of-00001")
    with pytest.raises(CheckpointError, match="there is no such file"):
        convert(tmp_path / "model.ckpt-1")
