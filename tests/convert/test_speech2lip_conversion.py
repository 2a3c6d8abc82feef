"""From a person's checkpoint of Speech2Lip to a model folder."""

import jax
import numpy as np
import pytest
import torch
from speech2lip_parity import checkpoint, variables

from convert_torch_weights import convert
from lipsync_jax import models_io
from lipsync_jax.cli.main import main
from lipsync_jax.errors import CheckpointError
from lipsync_jax.systems.speech2lip.model import MEL, Speech2Lip


def write(path, tensors):
    """As the published program saves a person."""
    model = {name: torch.from_numpy(np.array(x)) for name, x in tensors.items()}
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.Adam([parameter])
    parameter.grad = torch.ones(3)
    optimizer.step()
    entries = {"epoch_it": 70, "it": 400_000, "loss_val_best": -float("inf")}
    torch.save({**entries, "model": model, "optimizer": optimizer.state_dict()}, path)
    return path


def test_file_to_model_folder(tmp_path, capsys):
    path, folder = tmp_path / "model_may.pt", tmp_path / "may"
    write(path, checkpoint())
    assert main(["convert", str(path), "--out", str(folder)]) == 0
    model = models_io.load(folder, "speech2lip")
    assert model.network == "speech2lip" and model.module == Speech2Lip()
    assert model.metadata["training"] == {"epoch_it": 70, "it": 400_000}
    jax.tree.map(
        np.testing.assert_array_equal, model.variables, variables(Speech2Lip())
    )


def test_network_that_hears_mel(tmp_path):
    found = convert(write(tmp_path / "model.pt", checkpoint(MEL)))
    assert found.network == "speech2lip_mel"


def test_other_picture_sizes(tmp_path):
    path = write(tmp_path / "model.pt", checkpoint(resolution=64))
    with pytest.raises(CheckpointError, match=r"canonical_depth_head \(64, 64\)"):
        convert(path, "speech2lip")
    assert convert(path, "speech2lip", resolution=64).module.resolution == 64


def test_missing_layer(tmp_path):
    tensors = checkpoint()
    del tensors["fc_uv.weight"]
    path = write(tmp_path / "model.pt", tensors)
    with pytest.raises(CheckpointError, match="looks like speech2lip, but only 99%"):
        convert(path)
