"""LPIPS equals the package's own (version 0.1, AlexNet), from its published files."""

import json
import re

import jax
import numpy as np
import pytest
import torch
from parity import _fill, fill_inputs
from speech2lip_parity import GOLDENS, cases, channels_last, close, golden, stat

from convert_torch_weights import convert
from lipsync_jax import models_io
from lipsync_jax.cli.main import main
from lipsync_jax.errors import CheckpointError
from lipsync_jax.systems.lpips.model import LPIPS, SMALLEST

SHAPES = json.loads((GOLDENS / "manifest_lpips.json").read_text())


def tensors():
    """The golden network under the names of the package."""
    filled = {}
    for name, shape in SHAPES.items():
        source = name.replace("lins.", "lin")
        kind = "scale" if source.startswith("lin") else None
        filled[name] = torch.from_numpy(_fill.fill(f"LPIPS.{source}", shape, kind))
    return filled


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """AlexNet as torchvision has it, the heads, and both as the package saves them."""
    folder, state = tmp_path_factory.mktemp("lpips"), tensors()
    alexnet = {"classifier.1.weight": torch.zeros(4, 3)}
    for name, tensor in state.items():
        if name.startswith("net."):
            alexnet[f"features.{name.split('.', 2)[2]}"] = tensor
    heads = {name: x for name, x in state.items() if re.match(r"lin\d", name)}
    for name, content in (("alexnet", alexnet), ("alex", heads), ("whole", state)):
        torch.save(content, folder / f"{name}.pth")
    return folder


@pytest.fixture(scope="module")
def metric(files):
    return convert(files / "alexnet.pth", others=[files / "alex.pth"])


@pytest.fixture(scope="module")
def pictures():
    sources = cases()["lpips"]["inputs"]
    drawn = (fill_inputs(*sources[name]["fill_inputs"]) for name in "xy")
    return [channels_last(picture) for picture in drawn]


def distance(metric, a, b):
    with jax.default_matmul_precision("highest"):
        return jax.jit(metric.module.apply)(metric.variables, a, b)


def test_distances(metric, pictures):
    assert metric.network == "lpips"
    want = golden("lpips")["value"].ravel()
    close(distance(metric, *pictures), want, 2e-5)
    assert np.abs(distance(metric, pictures[0], pictures[0])).max() < 1e-12


def test_every_layer(metric, pictures):
    want = golden("lpips")["per_layer"]
    for head in range(5):
        params = dict(metric.variables["params"])
        for other in set(range(5)) - {head}:
            params[f"lin{other}"] = np.zeros_like(params[f"lin{other}"])
        variables = {"params": params}
        found = jax.jit(metric.module.apply)(variables, *pictures)
        close(found, want[head], 1e-4, f"layer {head}")


def test_gradient(metric, pictures):
    def total(x):
        return distance(metric, x, pictures[1]).sum()

    # The golden's is of the sum over pictures in [-1, 1].
    slope = np.moveaxis(np.asarray(jax.grad(total)(pictures[0])), -1, 1) / 2
    want = golden("lpips")
    close(slope[..., 10:26, 10:26], want["grad_x/patch_16x16"], 1e-4)
    close(stat(slope), want["stat/grad_x"], 1e-4)


def test_equal_pictures_have_a_gradient(metric):
    grey = np.zeros((1, SMALLEST, SMALLEST, 3), np.float32)
    slope = jax.grad(lambda x: distance(metric, x, grey).sum())(grey)
    assert np.isfinite(slope).all()


def test_whole_file(metric, files):
    whole = convert(files / "whole.pth")
    assert whole.network == "lpips"
    jax.tree.map(np.testing.assert_array_equal, whole.variables, metric.variables)


def test_two_files_on_the_command_line(files, tmp_path, capsys):
    out = tmp_path / "lpips"
    parts = [str(files / name) for name in ("alexnet.pth", "alex.pth")]
    assert main(["convert", *parts, "--out", str(out)]) == 0
    model = models_io.load(out, "lpips")
    assert isinstance(model.module, LPIPS)
    assert model.metadata["source"] == "alexnet.pth, alex.pth"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["alexnet"], "give the heads"),
        (["alex"], "give AlexNet"),
        (["alexnet", "alexnet"], "in common"),
    ],
)
def test_wrong_files(files, names, message):
    first, *others = (files / f"{name}.pth" for name in names)
    with pytest.raises(CheckpointError, match=message):
        convert(first, others=others)
