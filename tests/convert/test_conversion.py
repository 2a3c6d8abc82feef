"""From a checkpoint file to a network, and what is said about wrong ones."""

import jax
import numpy as np
import pytest
import torch
from parity import channels_last, converted, filled, golden, inputs, rgb, to_torch

from convert_torch_weights import convert
from convert_torch_weights.names import from_torch
from lipsync_jax import models_io
from lipsync_jax.cli.main import main
from lipsync_jax.errors import CheckpointError, ModelError


@pytest.fixture(scope="module")
def expert_state():
    return filled("SyncNet_color")


@pytest.fixture(scope="module")
def disc_state():
    return filled("Wav2Lip_disc_qual")


def test_file_to_network_in_the_published_form(tmp_path, expert_state):
    """Legacy container, `module.` prefixes, optimizer: the form of 2020."""
    path = tmp_path / "lipsync_expert.pth"
    state = {f"module.{k}": torch.from_numpy(v) for k, v in expert_state.items()}
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.Adam([parameter])
    parameter.grad = torch.ones(3)
    optimizer.step()
    whole = {"state_dict": state, "optimizer": optimizer.state_dict()}
    torch.save(
        {**whole, "global_step": 1234, "global_epoch": 5},
        path,
        _use_new_zipfile_serialization=False,
    )
    found = convert(path)
    assert found.network == "expert"  # recognised
    assert found.metadata["training"]["global_step"] == 1234
    assert found.metadata["container"] == "legacy"
    assert "research" in found.metadata["licence"]
    want = golden("expert_eval")
    mel = channels_last(inputs("expert/mel", 3, 1, 80, 16, low=-4, high=4))
    face = channels_last(inputs("expert/face", 3, 15, 48, 96, low=0, high=1))
    audio, mouth = jax.jit(found.module.apply)(found.variables, mel, rgb(face))
    np.testing.assert_allclose(audio, want["audio_embedding"], atol=2e-6)
    np.testing.assert_allclose(mouth, want["face_embedding"], atol=2e-6)


@pytest.mark.parametrize("half", [False, True])
def test_bare_state_dict_and_half_precision(tmp_path, disc_state, half):
    path = tmp_path / "disc.pth"
    tensors = {k: torch.from_numpy(v) for k, v in disc_state.items()}
    torch.save({k: v.half() if half else v for k, v in tensors.items()}, path)
    found = convert(path, "visual_quality_disc")  # another name of quality_disc
    kernel = found.variables["params"]["face_encoder_blocks_0_0"]["conv"]["kernel"]
    want = disc_state["face_encoder_blocks.0.0.conv_block.0.weight"]
    rounding = {"rtol": 1e-3, "atol": 1e-7} if half else {"rtol": 0}
    np.testing.assert_allclose(
        kernel[:, :, ::-1], want.transpose(2, 3, 1, 0), **rounding
    )
    assert kernel.dtype == np.float32


def test_torchscript_archive(tmp_path, disc_state):
    """A traced network with the published names, as in `Wav2Lip-SD-GAN.pt`."""

    class Tree(torch.nn.Module):
        def forward(self, x):
            return x + 1

    root = Tree()
    for name, value in disc_state.items():
        *parents, leaf = name.split(".")
        module = root
        for part in parents:
            if part not in dict(module.named_children()):
                module.add_module(part, Tree())
            module = getattr(module, part)
        module.register_parameter(leaf, torch.nn.Parameter(torch.from_numpy(value)))
    path = tmp_path / "disc.pt"
    torch.jit.trace(root, torch.zeros(1)).save(str(path))
    found = convert(path)
    assert (found.network, found.metadata["container"]) == (
        "quality_disc",
        "torchscript",
    )
    want = converted("Wav2Lip_disc_qual", "quality_disc").variables
    jax.tree.map(np.testing.assert_array_equal, found.variables, want)


def write(path, state):
    torch.save({name: torch.from_numpy(value) for name, value in state.items()}, path)
    return path


def test_wrong_parameters_are_listed_by_name(tmp_path, disc_state):
    state = dict(disc_state)
    state["surprise.weight"] = np.zeros(3, np.float32)
    del state["binary_pred.0.bias"]
    name = "face_encoder_blocks.0.0.conv_block.0.weight"
    state[name] = state[name][:, :, :5, :5]
    path = write(tmp_path / "odd.pth", state)
    with pytest.raises(CheckpointError) as error:
        convert(path, "quality_disc")
    message = str(error.value)
    assert "odd.pth" in message
    assert "1 missing: binary_pred.0.bias" in message
    assert "1 unexpected: surprise.weight" in message
    assert f"1 of another shape: {name} (32, 3, 5, 5)" in message
    with pytest.raises(CheckpointError, match="looks like quality_disc"):
        convert(path)


def test_another_network_is_named(tmp_path, disc_state):
    path = write(tmp_path / "disc.pth", disc_state)
    with pytest.raises(CheckpointError, match=r"not a wav2lip .*looks like quality_d"):
        convert(path, "wav2lip")


def test_unknown_file_and_unknown_name(tmp_path, disc_state):
    path = write(tmp_path / "x.pth", {"resnet.weight": np.zeros(2, np.float32)})
    with pytest.raises(CheckpointError, match=r"resnet.weight.*known: .*wav2lip"):
        convert(path)
    with pytest.raises(ModelError, match="unknown network 'gan9000'"):
        convert(path, "gan9000")


def test_not_finite_weights_are_refused(tmp_path, disc_state):
    state = dict(disc_state)
    state["binary_pred.0.bias"] = np.full(1, np.nan, np.float32)
    path = write(tmp_path / "nan.pth", state)
    with pytest.raises(CheckpointError, match=r"binary_pred.0.bias .* not finite"):
        convert(path)


def test_layouts_are_inverse():
    rng = np.random.default_rng(0)
    for path in (
        ("params", "x", "conv", "kernel"),
        ("params", "conv_transpose", "kernel"),
    ):
        value = rng.random((3, 3, 4, 5), np.float32)
        np.testing.assert_array_equal(from_torch(path, to_torch(path, value)), value)


def test_command_writes_a_model_folder(tmp_path, disc_state, capsys):
    path = write(tmp_path / "disc.pth", disc_state)
    out = tmp_path / "models" / "disc"
    assert main(["convert", str(path), "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    model = models_io.load(out)
    assert model.network == "quality_disc"
    assert model.metadata["source"] == "disc.pth"
    want = converted("Wav2Lip_disc_qual", "quality_disc").variables
    jax.tree.map(np.testing.assert_array_equal, model.variables, want)

    assert main(["info", str(out)]) == 0
    assert "quality_disc" in capsys.readouterr().out


def test_command_refuses_in_one_line(tmp_path, capsys):
    page = tmp_path / "wav2lip.pth"
    page.write_text("<!DOCTYPE html><html><body>Sign in</body></html>")
    assert main(["convert", str(page), "--out", str(tmp_path / "m")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "web page" in message
    assert not (tmp_path / "m").exists()
