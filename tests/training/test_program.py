"""The sharded step is the single-device step, and talks little."""

import re

import jax
import numpy as np
import optax
import pytest
import tiny_task

from lipsync_jax.data.device import to_mesh
from lipsync_jax.errors import ConfigError
from lipsync_jax.training import arrays, mesh
from lipsync_jax.training.program import Program

_COLLECTIVE = re.compile(
    r"= (\([^)]*\)|\S+) (all-reduce|all-gather|all-to-all|collective-permute)\("
)


@pytest.fixture(scope="module")
def three_steps():
    """Runs three SGD steps; returns the state, losses and the compiled text."""
    results = {}

    def run(devices, fsdp=1, microbatches=1):
        key = (devices, fsdp, microbatches)
        if key in results:
            return results[key]
        config = tiny_task.tiny_config(microbatches=microbatches)
        task = tiny_task.TinyTask(config, tx=optax.sgd(0.01))
        program = Program(task, 0, mesh.make(fsdp, jax.devices()[:devices]))
        at = program.run(program.start(), 0)
        feed = to_mesh(tiny_task.TinyData(config).train(0), program.batches)
        batch = next(feed)
        step = program.compile_train(batch)
        losses = []
        for _ in range(3):
            at, metrics = step(at, batch)
            losses.append(float(metrics["loss"]))
            batch = next(feed)
        results[key] = (at.state, losses, step.as_text())
        return results[key]

    return run


@pytest.mark.parametrize("fsdp", [1, 4])
@pytest.mark.parametrize("microbatches", [1, 2])
def test_sharded_step_equals_single_device(three_steps, fsdp, microbatches):
    state, losses, _ = three_steps(1, 1, microbatches)
    sharded, sharded_losses, _ = three_steps(8, fsdp, microbatches)
    np.testing.assert_allclose(losses, sharded_losses, rtol=1e-5)
    named = arrays.named(state)
    for path, value in arrays.named(sharded).items():
        np.testing.assert_allclose(value, named[path], atol=2e-6, err_msg=path)


def test_data_parallel_step_only_reduces(three_steps):
    _, _, text = three_steps(8)
    found = _COLLECTIVE.findall(text)
    reduces = [shape for shape, kind in found if kind == "all-reduce"]
    others = {shape for shape, kind in found if kind != "all-reduce"}
    assert len(reduces) <= 6
    assert others <= {"s32[16]{0}"}  # the ids of which the task counts the distinct


def test_sharded_parameters_are_gathered_and_examples_are_not(three_steps):
    state, _, text = three_steps(8, 4)
    kernel = state.net.params["Conv_1"]["kernel"]
    assert kernel.sharding.spec == jax.P(None, None, None, "fsdp")
    assert kernel.addressable_shards[0].data.shape == (3, 3, 32, 16)
    gathered = [s for s, kind in _COLLECTIVE.findall(text) if kind == "all-gather"]
    shapes = {re.match(r"\w+\[[\d,]*\]", shape).group() for shape in gathered}
    assert shapes == {"f32[3,3,32,64]", "s32[16]"}


def test_first_step_that_is_not_finite_is_remembered():
    config = tiny_task.tiny_config()
    task = tiny_task.TinyTask(config)
    program = Program(task, 0, mesh.make(1, jax.devices()[:1]))
    at = program.run(program.start(), 5)
    data = tiny_task.TinyData(config)
    data.spoilt = 7
    feed = to_mesh(data.train(5), program.batches)
    step, seen = None, []
    for _, batch in zip(range(4), feed, strict=False):
        step = step or program.compile_train(batch)
        at, metrics = step(at, batch)
        seen.append(int(metrics["first_bad"]))
        if len(seen) == 2:  # only the gradient: the metrics are still finite
            assert np.isfinite(metrics["loss"])
    assert seen == [0, 7, 7, 7]
    assert int(at.step) == 9


def test_steps_draw_their_own_random_numbers():
    """Step 3 draws the same after two steps as when the run starts there."""
    config = tiny_task.tiny_config()
    task = tiny_task.TinyTask(config)
    task.train_step = lambda state, batch, key: (state, {"x": jax.random.uniform(key)})
    program = Program(task, 0, mesh.make(1, jax.devices()[:1]))
    batch = next(to_mesh(tiny_task.TinyData(config).train(0), program.batches))
    step = program.compile_train(batch)
    at, drawn = program.run(program.start(), 0), []
    for _ in range(3):
        at, metrics = step(at, batch)
        drawn.append(float(metrics["x"]))
    assert len(set(drawn)) == 3
    _, metrics = step(program.run(program.start(), 2), batch)
    assert float(metrics["x"]) == drawn[2]


def test_checksum_and_digest_see_every_bit_and_no_sharding():
    tree = {"a": np.arange(8.0, dtype=np.float32), "b": np.array([True, False])}
    where = mesh.by_batch(mesh.make())
    sharded = jax.device_put(tree) | {"a": jax.device_put(tree["a"], where)}
    assert int(arrays.checksum(tree)) == int(arrays.checksum(sharded))
    assert arrays.digest(jax.device_put(tree)) == arrays.digest(sharded)
    flipped = tree["a"].copy()
    flipped.view(np.uint32)[3] ^= 1
    swapped = tree["a"][[1, 0, 2, 3, 4, 5, 6, 7]]
    for other in ({**tree, "a": flipped}, {**tree, "a": swapped}):
        assert int(arrays.checksum(other)) != int(arrays.checksum(tree))
        assert arrays.digest(jax.device_put(other)) != arrays.digest(sharded)


def test_mesh_that_does_not_fit():
    with pytest.raises(ConfigError, match=r"fsdp=3 .* 8 devices; .* 1, 2, 4, 8"):
        mesh.make(3)


@pytest.mark.parametrize(
    ("batch", "parts", "better"), [(12, 1, 16), (3, 1, 8), (0, 1, 8), (40, 2, 32)]
)
def test_batch_that_does_not_fit(batch, parts, better):
    with pytest.raises(ConfigError) as error:
        mesh.check_batch(batch, parts, mesh.make())
    message = str(error.value)
    assert f"config.batch_size={batch} must be a multiple of 8 devices" in message
    assert message.endswith(f"--config.batch_size={better}")
