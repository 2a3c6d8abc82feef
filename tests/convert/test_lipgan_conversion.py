"""From LipGAN's files to its networks, and what is said about wrong ones."""

from functools import lru_cache

import h5py
import jax
import numpy as np
import pytest
import torch
from keras_writer import save, save_weights, write_names
from lipgan_parity import converted, filled_layers

from convert_torch_weights import convert, convert_all
from convert_torch_weights.published import PUBLISHED
from lipsync_jax import models_io
from lipsync_jax.cli.main import main
from lipsync_jax.demo.clip import write_clip
from lipsync_jax.errors import CheckpointError

DISC = "disc_mel"
# The last layers of the discriminator's branches, in its published file.
FACE_KERNEL = "conv2d_73/conv2d_73/kernel:0"

layers_of = lru_cache(maxsize=1)(filled_layers)


@pytest.fixture
def disc(tmp_path):
    """A sound file of the discriminator, to be spoilt."""
    return save_weights(tmp_path / "disc.h5", layers_of(DISC))


def renamed(layers, rename):
    """The layers under other names, and their weights, too."""
    return {
        rename(layer): {
            name.replace(layer, rename(layer)): value for name, value in weights.items()
        }
        for layer, weights in layers.items()
    }


def plus(offset):
    """Adds to the numbers of layers."""

    def rename(layer):
        kind, _, number = layer.rpartition("_")
        return f"{kind}_{int(number) + offset}" if number.isdigit() else layer

    return rename


def without_first_number(layer):
    """As newer versions of Keras name layers: conv2d, conv2d_1, conv2d_2."""
    kind, _, number = layer.rpartition("_")
    first = {"conv2d": 68, "instance_normalization": 1}.get(kind)
    if first is None:
        return layer
    return f"{kind}_{int(number) - first}" if int(number) > first else kind


def assert_same(found, expected):
    assert found.network == expected.network
    jax.tree.map(np.testing.assert_array_equal, found.variables, expected.variables)


@pytest.mark.parametrize(
    ("write", "rename"),
    [
        (save_weights, plus(71)),
        (save_weights, without_first_number),
        (save, plus(0)),
    ],
)
def test_numbers_of_any_session(write, rename, tmp_path):
    path = write(tmp_path / "disc.h5", renamed(layers_of(DISC), rename))
    assert_same(convert(path), converted(DISC))


def test_order_of_no_published_file(disc):
    """Numbers suffice where the order does not fit."""
    with h5py.File(disc, "a") as file:
        write_names(file, "layer_names", sorted(layers_of(DISC)))
    assert_same(convert(disc), converted(DISC))


def test_numbers_that_contradict_the_order(disc):
    """All norms have the same shapes, so only the order tells."""
    swap = {"instance_normalization_2": "instance_normalization_3"}
    swap |= {new: old for old, new in swap.items()}
    layers = renamed(layers_of(DISC), lambda layer: swap.get(layer, layer))
    with pytest.raises(CheckpointError, match=r"by their numbers and by their order"):
        convert(save_weights(disc, layers))


def model(layers):
    """A model's group in the file of another: trainable weights, then statistics."""
    weights = {
        name: value for layer in layers.values() for name, value in layer.items()
    }
    return dict(sorted(weights.items(), key=lambda item: "/moving_" in item[0]))


def test_parallel_model(tmp_path):
    """A plain `multi_gpu_model`: the network is one of its layers."""
    layers = {"lambda_1": {}, "lambda_2": {}, "model_1": model(layers_of(DISC))}
    path = save_weights(tmp_path / "parallel.h5", layers)
    assert_same(convert(path), converted(DISC))


def refusal(path, *network):
    with pytest.raises(CheckpointError) as raised:
        convert(path, *network)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    return message


def test_missing_layer(tmp_path):
    layers = dict(layers_of(DISC))
    del layers["conv2d_79"]
    path = save_weights(tmp_path / "disc.h5", layers)
    assert "looks like lipgan_disc, but only 96% of" in refusal(path)
    message = refusal(path, "lipgan_disc")
    assert "2 missing: conv2d#12/kernel, conv2d#12/bias" in message


def test_array_of_another_shape(disc):
    with h5py.File(disc, "a") as file:
        del file[FACE_KERNEL]
        file[FACE_KERNEL] = np.zeros((3, 3, 512, 256), np.float32)
    message = refusal(disc, "lipgan_disc")
    assert "1 of another shape: conv2d#6/kernel (3, 3, 512, 256)" in message


def test_values_that_are_not_finite(disc):
    with h5py.File(disc, "a") as file:
        file[FACE_KERNEL][0, 0, 0, 0] = np.nan
    assert "conv2d#6/kernel holds values that are not finite" in refusal(disc)


def test_another_network_is_named(disc):
    for wanted in ("lipgan", "lipgan_mfcc_disc"):
        message = refusal(disc, wanted)
        assert f"not a {wanted} checkpoint: it looks like lipgan_disc" in message


def test_model_of_somebody_else(tmp_path):
    layers = {"block1_conv1": {"block1_conv1/kernel:0": np.zeros((3, 3, 3, 64), "f4")}}
    path = save_weights(tmp_path / "vgg.h5", layers)
    message = refusal(path)
    assert "not a network this program knows (1 parameters, first: block1" in message
    assert "known: lipgan, " in message and "wav2lip" not in message
    assert "1 unexpected: block1_conv1/kernel" in refusal(path, "lipgan_disc")


def test_files_of_the_other_framework(disc, tmp_path):
    message = refusal(disc, "wav2lip")
    assert "is a file of Keras, but wav2lip was not published as one" in message
    path = tmp_path / "lipgan.pth"
    torch.save({"conv2d_1.weight": torch.zeros(3)}, path)
    assert "is a file of PyTorch, but lipgan was not" in refusal(path, "lipgan")


def test_sizes_of_this_project_were_never_published(disc):
    assert not [name for name in PUBLISHED if name.endswith("_48")]
    assert set(PUBLISHED) <= set(models_io.NETWORKS)
    assert "lipgan_disc_48 was not published" in refusal(disc, "lipgan_disc_48")


def test_command_refuses_in_one_line(disc, tmp_path, capsys):
    disc.write_bytes(disc.read_bytes()[:-1000])
    assert main(["convert", str(disc), "--out", str(tmp_path / "m")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "is cut short" in message
    assert not (tmp_path / "m").exists()


def test_numbers_with_gaps(tmp_path):
    """`basic` creates two blocks that it never uses."""
    network = "gen_mfcc_basic"
    path = save(tmp_path / "gen.h5", renamed(layers_of(network), plus(100)))
    with h5py.File(path) as file:
        assert "conv2d_109" not in file["model_weights"]
        assert "conv2d_110" in file["model_weights"]
    assert_same(convert(path), converted(network))


def test_combined_model(tmp_path):
    """`comb.h5`: the generator comes first."""
    generator = layers_of("gen_mfcc_basic")
    inputs = {"input_face_comb": {}, "input_audio_comb": {}}
    models = {"model_1": model(generator), "model_2": model(filled_layers("disc_mfcc"))}
    path = save(tmp_path / "comb.h5", inputs | models)
    generator, disc = convert_all(path)
    assert_same(generator, converted("gen_mfcc_basic"))
    assert_same(disc, converted("disc_mfcc"))
    assert convert(path).network == "lipgan_mfcc_basic"
    assert convert(path, "lipgan_mfcc_disc").network == "lipgan_mfcc_disc"


def test_checkpoint_to_video(tmp_path, capsys):
    """The commands, one after the other."""
    path = save_weights(tmp_path / "lipgan_basic.h5", filled_layers("gen_mel_basic"))
    folder, out = tmp_path / "models" / "lipgan", tmp_path / "out.mp4"
    assert main(["convert", str(path), "--out", str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(folder)
    assert main(["info", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "lipgan_basic.h5" in shown and "MIT" in shown and "LRS2" in shown

    video, speech = write_clip(tmp_path, 0.4, 64, 64)
    args = ["--face", str(video), "--audio", str(speech), "--out", str(out)]
    args += ["--box", "10", "60", "10", "60", "--batch_size", "4"]
    assert main(["sync", "--model", str(folder), *args]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out.strip() == str(out)
    assert out.stat().st_size > 0
