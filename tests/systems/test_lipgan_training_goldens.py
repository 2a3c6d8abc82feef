"""LipGAN's tasks repeat the original's first updates.

In float32, as the original; tolerances are those the goldens came with, or tighter.
They are the original's own noise: Adam's first steps and batch norm over four pictures
enlarge the last bits of a sum. Gradients are read from Adam's first moment, which one
step leaves at (1 - b1) times the gradient.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from lipgan_parity import GOLDENS, converted, manifest, paths
from parity import fill_inputs, rgb

from convert_torch_weights.names import bgr_to_rgb
from lipsync_jax.systems import TASKS
from lipsync_jax.training.config import base_config

GOLDEN = json.loads((GOLDENS / "training.json").read_text())
NETWORKS = {
    "gen_mel_residual": "lipgan",
    "gen_mel_basic": "lipgan_basic",
    "gen_mfcc_residual": "lipgan_mfcc",
    "disc_mel": "lipgan_disc",
    "disc_mfcc": "lipgan_mfcc_disc",
}
# Window of sound and largest value of the golden inputs.
SOUND = {"mel": ((80, 27), 4), "mfcc": ((12, 35), 30)}
LOSSES = {
    "loss": "loss",
    "total": "loss",
    "mae": "l1",
    "adv": "adversarial",
    "disc": "fake",
    "unsync": "unsynced",
    "sync": "synced",
}
LEAVES = {"gamma": "scale", "beta": "bias"}
LEAVES |= {"moving_mean": "mean", "moving_variance": "var"}
# Their kernels are stored for BGR pictures, and ours for RGB: axis of the colours.
COLOURS = {
    "face_encoder_blocks_0_0/conv/kernel": 2,
    "face_encoder_0/conv/kernel": 2,
    "prediction/conv/kernel": -1,
    "prediction/conv/bias": -1,
}


class Run:
    """A task with golden weights, and the golden rows of its case."""

    def __init__(self, case):
        method, features, kind = case.split("_")
        self.case, self.want, self.features = case, GOLDEN[case], features
        self.generator, self.judge = f"gen_{features}_{kind}", f"disc_{features}"
        self.rate = self.want["lr"]
        config = base_config()
        config.network = NETWORKS[self.generator]
        config.batch_size = 4
        config.optimizer.name = "keras_adam"
        config.optimizer.learning_rate = self.rate
        config.optimizer.eps = 1e-7
        config.task = "lipgan_unet"
        if method == "gan":
            config.task = "lipgan"
            config.method.discriminator = NETWORKS[self.judge]
            config.method.adversarial_weight = 0.01
            config.method.margin = 1.0
            config.method.unsynced = "original"
        self.task = TASKS[config.task](config)
        self.state = self._start()

    def _start(self):
        shapes = jax.eval_shape(self.task.init, jax.random.key(0))
        state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        state = self.task.init_from(state, converted(self.generator).variables)
        if hasattr(state, "discriminator"):
            judge = converted(self.judge).variables
            state = state.replace(discriminator=state.discriminator.replaced(judge))
        return state

    def batch(self, step):
        shape, high = SOUND[self.features]
        name = f"lipgan/train_{self.case}/step{step}"
        heard = fill_inputs(f"{name}/audio", (4, *shape, 1), -high, high)

        def faces(kind):
            return rgb(fill_inputs(f"{name}/{kind}", (4, 96, 96, 3), 0, 1))

        return {
            "target": faces("gt"),
            "reference": faces("ref"),
            "mel": heard[..., 0],
            "clip": np.arange(4, dtype=np.int32),
            "frame": np.arange(4, dtype=np.int32),
        }

    def evaluate(self):
        with jax.default_matmul_precision("highest"):
            step = jax.jit(self.task.eval_step)
            return step(self.state, self.batch(0), jax.random.key(0))

    def steps(self):
        """Makes the golden's updates; yields their numbers."""
        for number, losses in enumerate(self.want["steps"]):
            coins = self.want.get("coins")
            key = thrown(coins[number]) if coins else jax.random.key(0)
            batch = self.batch(number)
            with jax.default_matmul_precision("highest"):
                if number == 0:
                    step = jax.jit(self.task.train_step)
                    step = step.lower(self.state, batch, key).compile()
                self.state, metrics = step(self.state, batch, key)
            for name, ours in LOSSES.items():
                if name in losses:
                    bound = loss_bound(self.case, number, name)
                    assert metrics[ours] == pytest.approx(
                        losses[name], rel=0, abs=bound
                    )
            yield number

    def of_generator(self):
        network = self.state.generator
        statistics = keras_rows(self.generator, network.batch_stats)
        return keras_rows(self.generator, network.params) | statistics

    def of_discriminator(self):
        return keras_rows(self.judge, self.state.discriminator.params)

    def gradients(self):
        moments = self.state.generator.opt_state.mu
        return keras_rows(self.generator, jax.tree.map(lambda m: m / 0.1, moments))


def thrown(heads):
    """A step's key for which the coin falls like that."""
    keys = map(jax.random.key, range(100))
    return next(
        key for key in keys if jax.random.bernoulli(jax.random.split(key)[0]) == heads
    )


def loss_bound(case, step, name):
    if step < 2:
        return (1e-5, 4e-4 if name == "adv" else 1e-4)[step]
    return {"unet_mel_basic": 2e-4, "unet_mel_residual": 1e-3}.get(case, 8e-4)


def keras_rows(network, tree):
    """Weight as Keras names it -> [mean, std, first eight] in the file's layout."""
    flat = {"/".join(path): leaf for path, leaf in flatten_dict(tree).items()}
    where = paths(network, NETWORKS[network])
    rows = {}
    for name in manifest()[network]:
        layer, leaf = name.removesuffix(":0").split("/")
        path = f"{where[layer]}/{LEAVES.get(leaf, leaf)}"
        if path not in flat:
            continue
        value = np.asarray(flat[path], np.float64)
        if "transpose" in layer and leaf == "kernel":
            value = value[::-1, ::-1].swapaxes(2, 3)
        if path in COLOURS:
            value = bgr_to_rgb(value, COLOURS[path])
        rows[name] = np.array([value.mean(), value.std(), *value.flatten()[:8]])
    return rows


def errors(want, found, moving=False):
    """Differences to the golden rows, all in one array."""
    rows = {name: row for name, row in want.items() if ("moving_" in name) == moving}
    assert rows
    return np.concatenate([abs(found[name] - row) for name, row in rows.items()])


def check_first_step(want, found, rate):
    error = errors(want, found)
    assert np.quantile(error, 0.95) < 0.15 * rate
    assert error.max() < 2 * rate  # single elements whose gradient is nearly zero
    assert errors(want, found, moving=True).max() < 2e-4


def check_last_step(want, found, median, share):
    """`share`: of the largest number among the running statistics, their bound."""
    assert np.median(errors(want, found)) < median
    largest = max(np.abs(row).max() for name, row in want.items() if "moving_" in name)
    assert errors(want, found, moving=True).max() < share * largest


# The slow cases find little that the others do not.
@pytest.mark.parametrize(
    "case",
    ["unet_mel_basic", pytest.param("unet_mel_residual", marks=pytest.mark.slow)],
)
def test_updates_against_l1(case):
    run = Run(case)
    want = run.want
    assert run.evaluate()["l1"] == pytest.approx(want["eval_loss_before"], abs=1e-5)
    for number in run.steps():
        if number == 0:
            check_gradients(want["grads_step0"], run.gradients())
            check_first_step(want["after_step1"], run.of_generator(), run.rate)
    check_last_step(want["after"], run.of_generator(), 0.25 * run.rate, 0.2)


def check_gradients(want, found):
    for name, (_, spread, *first) in want.items():
        ours = found[name]
        assert ours[1] == pytest.approx(spread, rel=0.02), name
        # Kinks of ReLU and of the absolute value.
        assert abs(ours[2 : 2 + len(first)] - first).max() < 0.15 * spread, name


@pytest.mark.parametrize(
    "case",
    ["gan_mel_residual", pytest.param("gan_mfcc_residual", marks=pytest.mark.slow)],
)
def test_updates_with_the_discriminator(case):
    run = Run(case)
    want, begin = run.want, run.want["steps"][0]
    before = run.evaluate()
    for ours, name in (
        ("distance_drawn", "d_fake_before"),
        ("distance_in_sync", "d_real_before"),
        ("distance_off_sync", "d_unsync_before"),
    ):
        assert before[ours] == pytest.approx(np.mean(begin[name]), rel=0, abs=2e-6)
    for number in run.steps():
        if number == 0:
            rows = want["disc_after_first_two_updates"]
            assert errors(rows, run.of_discriminator()).max() < 0.01 * run.rate
            check_first_step(want["gen_after_step1"], run.of_generator(), run.rate)
    assert errors(want["disc_after"], run.of_discriminator()).max() < 1e-4
    check_last_step(want["gen_after"], run.of_generator(), 0.5 * run.rate, 0.05)
