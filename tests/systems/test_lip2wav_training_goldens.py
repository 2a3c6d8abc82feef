"""Lip2Wav's task repeats the original's first updates.

The small network in float64, whose third step the original's float32 agrees with to
1e-6; batch norm over few values and Adam's first steps make ours differ by 5e-4.

Gradients are read from Adam's first moment, which one step leaves at (1 - b1) times the
gradient that clipping leaves.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from lip2wav_parity import GOLDENS, NETWORKS, PREFIX, TINY, cases, inputs, variables

from configs import lip2wav
from convert_torch_weights.lip2wav_names import from_lip2wav, lip2wav_name
from lipsync_jax import models_io
from lipsync_jax.systems.lip2wav.losses import is_regularised, teacher_forcing
from lipsync_jax.systems.lip2wav.task import Lip2WavTask
from lipsync_jax.training.gradients import tacotron_decay

SCHEDULES = json.loads((GOLDENS / "schedules.json").read_text())
LOSSES = {
    "before_loss": "before",
    "after_loss": "after",
    "linear_loss": "linear",
    "regularization_loss": "regularisation",
    "loss": "loss",
    "grad_global_norm": "grad_norm",
}


class GivenSpeaker(Lip2WavTask):
    """Takes the golden's embedding of a speaker."""

    def _who(self, state, batch):
        return batch["emb"]


def run(case, dtype, monkeypatch):
    """A task with golden weights: its step, compiled, and its first state."""
    module = TINY if case.startswith("tiny") else NETWORKS[case.split(".")[0]]
    module = module.clone(dropout=0, zoneout=0)
    monkeypatch.setitem(models_io.NETWORKS, "golden", ("lip2wav", module))
    config = lip2wav.get_config("chem")
    config.network, config.arguments, config.dtype = "golden", {}, dtype
    if case.endswith("tf0"):
        config.method.forcing_start, config.method.forcing_length = -1, 1
    task = GivenSpeaker(config)
    shapes = jax.eval_shape(task.init, jax.random.key(0))

    def cast(leaf):
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        return jnp.asarray(leaf, dtype if floating else leaf.dtype)

    state = jax.tree.map(lambda s: cast(jnp.zeros(s.shape, s.dtype)), shapes)
    weights = variables(module, "mild" in cases()[case])
    state = task.init_from(state, jax.tree.map(cast, weights))
    batch = {name: value.astype(dtype) for name, value in inputs(case).items()}
    with jax.default_matmul_precision("highest"):
        step = jax.jit(task.train_step)
        step = step.lower(state, batch, jax.random.key(0)).compile()
    return lambda state: step(state, batch, jax.random.key(0)), state


def rows(tree, collection, first=8):
    """Published name -> [mean, std, first values] in the original's layout."""
    found = {}
    for path, value in flatten_dict(tree).items():
        path = (collection, *path)
        value = from_lip2wav(path, value).astype(np.float64)  # BGR again
        name = lip2wav_name(path).removeprefix(PREFIX)
        found[name] = [value.mean(), value.std(), *value.ravel()[:first]]
    return found


def check_losses(metrics, want, rel):
    for name, ours in LOSSES.items():
        if name in want:
            assert metrics[ours] == pytest.approx(want[name], rel=rel), name


def gradients(state, norm):
    """Rows of the first step's gradients, from what clipping left in Adam."""
    moments = state.generator.opt_state[1].mu
    return rows(jax.tree.map(lambda m: m * 10 * max(norm, 1), moments), "params")


def is_noise(name):
    """Whether a norm follows the bias, so that its gradient is rounding noise."""
    return name.endswith(("conv3d/bias", "conv1d/bias"))


@pytest.mark.parametrize("case", ["tiny.train_tf1", "tiny.train_tf0"])
def test_updates(case, monkeypatch):
    with jax.enable_x64(True):
        check_updates(*run(case, "float64", monkeypatch), case)


def check_updates(step, state, case):
    want = cases()[case]
    for number, losses in enumerate(want["steps"][:-1]):
        state, metrics = step(state)
        check_losses(metrics, losses, rel=1e-5)
        assert metrics["teacher_forcing"] == (not case.endswith("tf0"))
        if number == 0:
            found = gradients(state, float(metrics["grad_norm"]))
            assert found.keys() == want["gradients"].keys()
            for name, (l2, mean, std, *first) in want["gradients"].items():
                scale = 1e-4 if is_noise(name) else 1e-4 * (abs(mean) + std)
                np.testing.assert_allclose(
                    found[name], [mean, std, *first], rtol=1e-4, atol=scale
                )
                assert l2 < 1e-4 or not is_noise(name)
    assert state.step == len(want["steps"]) - 1
    found = rows(state.generator.params, "params")
    found |= rows(state.generator.batch_stats, "batch_stats")
    assert found.keys() == want["params_after"].keys()
    for name, row in want["params_after"].items():
        np.testing.assert_allclose(found[name], row, rtol=0, atol=1e-5, err_msg=name)
    # What would be the next step's losses.
    check_losses(step(state)[1], want["steps"][-1], rel=1e-5)


@pytest.mark.slow
def test_updates_of_a_published_size(monkeypatch):
    step, state = run("dl.train", "float32", monkeypatch)
    want = cases()["dl.train"]
    state, metrics = step(state)
    check_losses(metrics, want["steps"][0], rel=1e-4)
    # The original's own float32 noise is 3e-3.
    found = gradients(state, float(metrics["grad_norm"]))
    for name, (_, _, std, *_) in want["gradients"].items():
        if not is_noise(name):
            assert found[name][1] == pytest.approx(std, rel=1e-2), name
    check_losses(step(state)[1], want["steps"][1], rel=1e-3)


def test_regularised_weights():
    want = json.loads((GOLDENS / "manifest.json").read_text())["regularized"]
    shapes = models_io.shapes(NETWORKS["chem"])
    found = {
        lip2wav_name(path).removeprefix(PREFIX)
        for path in shapes
        if path[0] == "params" and is_regularised(path)
    }
    assert found == set(want)


@pytest.mark.parametrize("preset", SCHEDULES)
def test_schedules(preset):
    method = lip2wav.get_config(preset).method
    rate = tacotron_decay(1e-3, 0)
    for step, learning_rate, told in SCHEDULES[preset]:
        assert rate(jnp.int32(step)) == pytest.approx(learning_rate, rel=1e-5)
        found = teacher_forcing(
            jnp.int32(step), method.forcing_start, method.forcing_length
        )
        assert found == pytest.approx(told, abs=1e-6), step


def test_words_are_always_told():
    method = lip2wav.get_config("lrw").method
    assert teacher_forcing(10**6, method.forcing_start, method.forcing_length) == 1
