"""From DAVS's checkpoints, with several networks each, to model folders."""

from collections import OrderedDict

import jax
import numpy as np
import pytest
import torch
from davs_parity import checkpoint, manifest, variables

from convert_torch_weights import convert, convert_all
from convert_torch_weights.davs_names import PARTS
from lipsync_jax import models_io
from lipsync_jax.cli.main import main
from lipsync_jax.errors import CheckpointError

SMALL = ("model_fusion", "ID_lip_discriminator", "discriminator_audio")


def state_dict(key):
    """As the published program saves a network: from `DataParallel`."""
    tensors = checkpoint({key: manifest()[key]})
    names = {name: f"module.{name.removeprefix(f'{key}.')}" for name in tensors}
    return OrderedDict((names[n], torch.from_numpy(x)) for n, x in tensors.items())


def adam():
    """State of an optimizer after a step."""
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.Adam([parameter])
    parameter.grad = torch.ones(3)
    optimizer.step()
    return optimizer.state_dict()


def write(path, entries):
    """In the container of PyTorch 0.2."""
    entries = {"step": 101_000, "epoch": 101, **entries, "optimizer_G": adam()}
    torch.save(entries, path, _use_new_zipfile_serialization=False)
    return path


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file like the published one, less its two large discriminators."""
    path = tmp_path_factory.mktemp("davs") / "101_DAVS_checkpoint.pth.tar"
    yield write(path, {key: state_dict(key) for key in (*PARTS.values(), *SMALL)})
    path.unlink()  # 200 MB


@pytest.fixture(scope="module")
def entries():
    """Small stand-ins: a tensor for each network."""
    keys = (*PARTS.values(), *SMALL)
    return {key: {"module.fc.weight": torch.zeros(2, 3)} for key in keys}


def test_file_to_model_folders(published, tmp_path, capsys):
    folder = tmp_path / "models" / "davs"
    assert main(["convert", str(published), "--out", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(folder)
    for name in ("words", "identity_words", "modality"):
        assert f"davs_{name} is in {folder}_{name}" in err
        found = models_io.load(f"{folder}_{name}").variables
        jax.tree.map(np.testing.assert_array_equal, found, variables(f"davs_{name}"))
    assert "holds no davs_sequence_disc, davs_disc; sync needs none of them" in err
    assert err.count("\n") == 4

    model = models_io.load(folder, "davs")
    # Their outputs are the goldens' (test_davs_parity, test_davs_originals).
    jax.tree.map(np.testing.assert_array_equal, model.variables, variables("davs"))
    assert model.network == "davs"
    assert model.metadata["container"] == "legacy"
    assert model.metadata["training"] == {"step": 101_000, "epoch": 101}
    assert "non-commercial" in model.metadata["licence"]


def test_one_network_of_the_file(published):
    (found,) = convert_all(published, "davs_modality")
    assert (found.network, found.absent) == ("davs_modality", ())
    with pytest.raises(CheckpointError, match="is a file of DAVS's program, but wav2l"):
        convert(published, "wav2lip")


@pytest.mark.parametrize("missing", PARTS.values())
def test_generation_needs_all_four(entries, missing, tmp_path, capsys):
    del (entries := dict(entries))[missing]
    path = write(tmp_path / "davs.pth.tar", entries)
    folder = tmp_path / "davs"
    assert main(["convert", str(path), "--out", str(folder)]) == 2
    message = capsys.readouterr().err
    assert f"{path}: lacks {missing}: a checkpoint of DAVS is of use with" in message
    assert message.count("\n") == 1 and not folder.exists()


def test_the_format_before(tmp_path):
    """What earlier stages wrote has other keys."""
    keys = ("mfcc_encoder", "model_fusion", "face_encoder", "face_fusion")
    parts = {key: {"module.fc.weight": torch.zeros(2, 3)} for key in keys}
    path = write(tmp_path / "old.pth.tar", parts)
    message = r"lacks ID_encoder, lip_feature_encoder, Decoder: .* face_encoder, face_f"
    with pytest.raises(CheckpointError, match=message):
        convert(path)


def test_wrong_parameters(entries, tmp_path):
    path = write(tmp_path / "davs.pth.tar", entries)
    with pytest.raises(CheckpointError, match="not a network this program knows"):
        convert(path)
    entries = {**entries, "discriminator_audio": state_dict("discriminator_audio")}
    path = write(tmp_path / "davs.pth.tar", entries)
    with pytest.raises(CheckpointError, match="also holds davs_modality: --network ta"):
        convert(path)
    spoilt = {**entries, "model_fusion": state_dict("model_fusion")}
    spoilt["model_fusion"]["module.fc_2.bias"] = torch.zeros(20)
    path = write(tmp_path / "davs.pth.tar", spoilt)
    with pytest.raises(CheckpointError, match=r"1 of another shape: fc_2.bias \(20,\)"):
        convert(path, "davs_words")


def test_networks_of_another_program(tmp_path):
    path = tmp_path / "gan.pth"
    parts = {"netG": {"w": torch.zeros(2)}, "netF": {"w": torch.zeros(2)}}
    torch.save(parts, path)
    with pytest.raises(
        CheckpointError, match=r"not a network .* first: netG.w, netF.w"
    ):
        convert(path)
