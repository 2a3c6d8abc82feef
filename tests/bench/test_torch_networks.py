"""The PyTorch baseline computes what the Flax modules do: they are the same layers."""

import copy
import importlib

import jax
import numpy as np
import pytest
import torch
from flax.traverse_util import flatten_dict
from parity import to_torch

from lipsync_jax import models_io
from lipsync_jax.bench import torch_networks, torch_train, train_step
from lipsync_jax.bench.inputs import random_inputs, random_variables
from lipsync_jax.bench.network import GENERATORS
from lipsync_jax.systems.lipgan.model import DISCRIMINATORS

LEAVES = {
    "conv/kernel": "conv.weight",
    "conv_transpose/kernel": "conv.weight",
    "conv/bias": "conv.bias",
    "conv_transpose/bias": "conv.bias",
    "norm/scale": "norm.weight",
    "norm/bias": "norm.bias",
    "norm/mean": "norm.running_mean",
    "norm/var": "norm.running_var",
    "slope": "slope.weight",
    # of Wav2Lip's layers that are no blocks
    "kernel": "conv.weight",
    "bias": "conv.bias",
}
COMPARED = [*GENERATORS, *DISCRIMINATORS]


@pytest.fixture(autouse=True)
def _one_thread():
    """Several wait for each other, where other programs run, too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def narrow(name):
    return models_io.build(name, {"width": 0.125})


def load(network, variables):
    """Copies Flax's variables; every tensor of the network must get one."""
    state = {}
    for path, value in flatten_dict(variables).items():
        block, *rest = path[1:]
        leaf = LEAVES["/".join(rest)]
        state[f"blocks.{block}.{leaf}"] = torch.from_numpy(to_torch(path, value).copy())
    for name in network.state_dict():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(0)
    network.load_state_dict(state)


@pytest.mark.parametrize(
    "name",
    [
        "wav2lip_48",
        "wav2lip_sam",
        "lipgan_48",
        "lipgan_mfcc_basic",
        "lipgan_disc_48",
        "lipgan_mfcc_disc",
    ],
)
def test_outputs_are_those_of_flax(name):
    module = narrow(name)
    variables = random_variables(module)
    want = jax.jit(module.apply)(variables, *random_inputs(module, 2))
    network, tensors = torch_networks.build(module, 2)
    load(network, variables)
    with torch.inference_mode():
        found = network(*tensors).numpy()
    if found.ndim == 4:
        found = found.transpose(0, 2, 3, 1)
    assert np.std(want) > 0.01
    np.testing.assert_allclose(found, want, rtol=0, atol=5e-6)


@pytest.mark.parametrize("name", COMPARED)
def test_every_network_that_is_measured_has_its_baseline(name):
    module = narrow(name)
    network, _ = torch_networks.build(module, 1)
    load(network, random_variables(module))


@pytest.mark.parametrize("name", train_step.COMPARED)
def test_steps_update_every_kernel(name, monkeypatch):
    config = importlib.import_module(f"configs.{name}").get_config()
    config.network = "wav2lip_48" if name == "wav2lip" else "lipgan_48"
    config.arguments.width = 0.125
    config.method.discriminator = "lipgan_disc_48"
    build, made = torch_networks.build, []

    def noted(*args):
        made.append(build(*args))
        return made[-1]

    monkeypatch.setattr(torch_networks, "build", noted)
    step = torch_train.STEPS[config.task](config, 2)
    step()
    before = [copy.deepcopy(network.state_dict()) for network, _ in made]
    step()
    assert len(made) == (2 if name == "lipgan" else 1)
    for (network, _), old in zip(made, before, strict=True):
        for key, value in network.state_dict().items():
            if value.ndim == 4:
                assert not torch.equal(value, old[key]), key


def test_the_steps_that_are_compared_exist():
    assert set(train_step.COMPARED) == torch_train.STEPS.keys()
