"""LipGAN's tasks: losses, pairs out of sync, what a run leaves, and mistakes."""

import importlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from lipgan_parity import GOLDENS

from lipsync_jax import models_io
from lipsync_jax.errors import ConfigError, DataError, LipSyncError
from lipsync_jax.systems import TASKS
from lipsync_jax.systems.lipgan import pairs
from lipsync_jax.systems.lipgan.losses import contrastive
from lipsync_jax.systems.lipgan.model import DISCRIMINATORS, GENERATORS
from lipsync_jax.systems.lipgan.task_gan import _fits

UNIT = json.loads((GOLDENS / "unit.json").read_text())


@pytest.mark.parametrize("case", ["real", "fake", "mixed"])
def test_contrastive_loss(case):
    want = UNIT[case]
    distance, label = jnp.array(want["d"]), jnp.array(want["y"])
    loss, slope = jax.value_and_grad(contrastive)(distance, label, 1.0)
    assert loss == pytest.approx(want["loss"], rel=1e-6)
    np.testing.assert_allclose(slope, want["grad"], rtol=1e-5, atol=1e-8)


def test_contrastive_loss_of_another_margin():
    distance = jnp.array([0.1, 0.5, 0.7])
    assert contrastive(distance, 1, 0.5) == pytest.approx(0.16 / 3)


def test_pairs_out_of_sync_are_of_other_moments():
    batch = {
        "mel": jnp.arange(6.0)[:, None, None] * jnp.ones((6, 80, 27)),
        "clip": jnp.array([7, 7, 7, 7, 8, 8]),
        "frame": jnp.array([0, 5, 6, 20, 0, 30]),
    }
    found = set()
    for seed in range(100):
        heard = pairs.unsynced(batch, jax.random.key(seed), "random")
        whose = np.asarray(heard[:, 0, 0], int).tolist()
        found |= set(enumerate(whose))
    near = {(i, i) for i in range(6)} | {(0, 1), (1, 0), (1, 2), (2, 1)}
    assert found == {(i, j) for i in range(6) for j in range(6)} - near


def test_original_pairs_are_rolled():
    batch = {"mel": jnp.arange(4.0)[:, None, None]}
    heard = pairs.unsynced(batch, jax.random.key(0), "original")
    assert heard.ravel().tolist() == [2, 3, 0, 1]


def test_a_batch_of_one_moment_has_pairs_all_the_same():
    same = jnp.zeros(3, jnp.int32)
    batch = {"mel": jnp.ones((3, 80, 27)), "clip": same, "frame": same}
    heard = pairs.unsynced(batch, jax.random.key(0), "random")
    assert heard.shape == (3, 80, 27)


@pytest.mark.parametrize("network", GENERATORS)
def test_each_generator_has_one_discriminator(network):
    generator = GENERATORS[network]
    assert sum(_fits(module, generator) for module in DISCRIMINATORS.values()) == 1


def make_config(name="lipgan", **changes):
    """A narrow published configuration; `method__margin` sets `method.margin`."""
    config = importlib.import_module(f"configs.{name}").get_config("smoke")
    config.network = "lipgan_basic"
    config.batch_size = 4
    for key, value in changes.items():
        *path, last = key.split("__")
        part = config
        for word in path:
            part = part[word]
        part[last] = value
    return config


def make_batch(size=4, shape=(80, 27)):
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 256, (2, size, 96, 96, 3), np.uint8)
    return {
        "target": faces[0],
        "reference": faces[1],
        "mel": rng.uniform(-4, 4, (size, *shape)).astype(np.float32),
        "clip": np.arange(size, dtype=np.int32),
        "frame": np.zeros(size, np.int32),
    }


def make_state(task):
    """Like what `init` gives, which takes a quarter of a minute to compile."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def draw(path, leaf):
        if path[-1].key == "kernel":
            fan_in = np.prod(leaf.shape[:-1])
            return jnp.float32(rng.standard_normal(leaf.shape) / np.sqrt(fan_in))
        return leaf + (path[-1].key in ("scale", "var"))

    def started(network):
        variables = jax.tree_util.tree_map_with_path(draw, network.variables)
        return network.replaced(variables)

    return state.replace(
        generator=started(state.generator), discriminator=started(state.discriminator)
    )


@pytest.fixture(scope="module")
def started():
    """(task, its state, the state after a step, what the step said)."""
    task = TASKS["lipgan"](make_config())
    state = make_state(task)
    after, metrics = jax.jit(task.train_step)(state, make_batch(), jax.random.key(1))
    return task, state, after, jax.device_get(metrics)


def equal(before, after):
    same = jax.tree.map(lambda a, b: bool((a == b).all()), before, after)
    return all(jax.tree.leaves(same))


def test_a_step_updates_both_networks(started):
    _, before, after, metrics = started
    names = {"loss", "l1", "adversarial", "fake", "unsynced", "synced", "grad_norm"}
    assert metrics.keys() == names
    assert all(np.isfinite(value) for value in metrics.values())
    total = metrics["l1"] + 0.01 * metrics["adversarial"]
    assert metrics["loss"] == pytest.approx(total, rel=1e-6)
    assert not equal(before.generator.params, after.generator.params)
    assert not equal(before.discriminator.params, after.discriminator.params)
    assert after.generator.opt_state.count == 1
    assert after.discriminator.opt_state.count == 2


def test_microbatches_teach_the_discriminator_the_same(started):
    """It has no batch norm, and faces are drawn for it with running statistics."""
    _, state, whole, _ = started
    task = TASKS["lipgan"](make_config(microbatches=2))
    parts, _ = jax.jit(task._teach)(state, make_batch(), jax.random.key(1))
    want = flatten_dict(whole.discriminator.opt_state.mu)
    scale = max(abs(value).max() for value in want.values())
    for path, value in flatten_dict(parts.discriminator.opt_state.mu).items():
        np.testing.assert_allclose(
            value, want[path], rtol=0, atol=1e-4 * scale, err_msg=str(path)
        )


def test_exports_are_model_folders_to_go_on_from(started, tmp_path):
    task, state, trained, _ = started
    exports = task.export(trained)
    assert {key: export.network for key, export in exports.items()} == {
        "model": "lipgan_basic",
        "disc": "lipgan_disc",
    }
    for key, export in exports.items():
        folder = models_io.save(
            tmp_path / key,
            export.network,
            jax.device_get(export.variables),
            arguments=export.arguments,
        )
        loaded = models_io.load(folder)
        assert loaded.module.width == 0.125
        if key == "model":
            assert loaded.module.audio_offset == -4
            fresh = task.init_from(state, loaded.variables)
    stats = flatten_dict(fresh.generator.batch_stats)
    old = flatten_dict(trained.generator.batch_stats)
    assert stats.keys() == old.keys()
    for path, value in stats.items():
        want = 0 if path[-1] == "steps" else old[path]
        np.testing.assert_array_equal(value, want)


def test_preview_and_evaluation(started):
    task, _, state, _ = started
    batch = make_batch()
    shown = np.asarray(jax.jit(task.preview)(state, batch))
    assert (shown.shape, shown.dtype) == ((4, 96, 4 * 96, 3), np.uint8)
    reference, masked, _, target = np.split(shown, 4, axis=2)
    np.testing.assert_array_equal(reference, batch["reference"])
    np.testing.assert_array_equal(target, batch["target"])
    np.testing.assert_array_equal(masked[:, :48], target[:, :48])
    assert (masked[:, 48:] == 0).all()
    measured = jax.jit(task.eval_step)(state, batch, jax.random.key(0))
    assert task.best[0] in measured
    assert 0 <= measured["discriminator_accuracy"] <= 1


MISTAKES = [
    ({"network": "lipgna"}, "config.network is 'lipgna'"),
    ({"network": "wav2lip"}, "no LipGAN generator; the task lipgan needs one"),
    ({"method__discriminator": "judge"}, "lipgan_basic needs lipgan_disc"),
    ({"method__discriminator": "quality_disc"}, "is no LipGAN discriminator"),
    (
        {"method__discriminator": "lipgan_mfcc_disc"},
        "12x35 features of sound; lipgan_basic needs lipgan_disc",
    ),
    ({"network": "lipgan_mfcc"}, "80x27 features of sound; lipgan_mfcc needs"),
    (
        {"network": "lipgan_48"},
        "faces of 96 pixels and 80x27 features of sound; lipgan_48 needs",
    ),
    ({"method__unsynced": "shuffled"}, "it can be: random, original"),
    ({"batch_size": 5, "method__unsynced": "original"}, "batch_size=5 divides 10"),
    ({"microbatches": 4}, "at least two examples at a time"),
    ({"dtype": "float8"}, "config.dtype is 'float8'"),
]


@pytest.mark.parametrize("changes,message", MISTAKES)
def test_mistakes_get_one_line(changes, message):
    with pytest.raises(ConfigError) as error:
        TASKS["lipgan"](make_config(**changes))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_configuration_of_the_other_task():
    config = make_config("lipgan_unet", task="lipgan")
    with pytest.raises(ConfigError, match="lacks adversarial_weight, discriminator, "):
        TASKS["lipgan"](config)


def test_arguments_the_network_does_not_take():
    config = make_config("lipgan_unet")
    config.arguments.resolution = 128
    with pytest.raises(LipSyncError, match="lipgan_basic takes no resolution"):
        TASKS["lipgan_unet"](config)


@pytest.mark.parametrize("shape", [(12, 35), (80, 16), (80, 27, 1), (80,)])
@pytest.mark.parametrize("name", ["lipgan", "lipgan_unet"])
def test_sound_of_another_front_end(name, shape):
    task = TASKS[name](make_config(name))
    state = jax.eval_shape(task.init, jax.random.key(0))
    for function in (task.train_step, task.eval_step):
        with pytest.raises(DataError) as error:
            jax.eval_shape(function, state, make_batch(shape=shape), jax.random.key(0))
        found = "x".join(map(str, shape))
        assert f"windows of {found} features, lipgan_basic hears 80x27" in str(error)
        assert "\n" not in str(error.value)
