"""The model folder: whole or absent, and never over something else."""

import jax
import numpy as np
import pytest

from lipsync_jax import models_io
from lipsync_jax.errors import ModelError, OutputError

NARROW = {"width": 0.125}


@pytest.fixture(scope="module")
def variables():
    module = models_io.build("expert", NARROW)
    return jax.jit(module.init)(jax.random.key(0), *models_io.example_inputs(module))


def test_round_trip(tmp_path, variables):
    folder = models_io.save(tmp_path / "m", "expert", variables, arguments=NARROW)
    assert sorted(p.name for p in folder.iterdir()) == [
        "model.json",
        "weights.safetensors",
    ]
    model = models_io.load(folder, "expert")
    assert model.module == models_io.build("expert", NARROW)
    jax.tree.map(np.testing.assert_array_equal, model.variables, variables)
    with pytest.raises(ModelError, match="a wav2lip model is needed"):
        models_io.load(folder, "wav2lip")


def test_replaces_a_model_but_nothing_else(tmp_path, variables):
    folder = tmp_path / "m"
    for _ in range(2):
        models_io.save(folder, "expert", variables, arguments=NARROW)
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(OutputError, match="not a model folder"):
        models_io.save(photos, "expert", variables, arguments=NARROW)
    assert (photos / "cat.jpg").read_bytes() == b"cat"


def test_nothing_is_left_after_a_failed_write(tmp_path, variables, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(models_io, "save_file", full)
    with pytest.raises(OutputError, match="No space left"):
        models_io.save(tmp_path / "m", "expert", variables, arguments=NARROW)
    assert list(tmp_path.iterdir()) == []


def test_unknown_arguments_are_named():
    with pytest.raises(ModelError, match=r"takes no depth; it takes: resolution"):
        models_io.build("wav2lip", {"depth": 3})


@pytest.mark.parametrize("name", models_io.NETWORKS)
def test_example_inputs_fit_every_network(name):
    assert models_io.shapes(models_io.NETWORKS[name][1])
