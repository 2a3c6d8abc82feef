"""DAVS's task repeats the original's first updates.

In double precision, since Adam's first steps and batch norm over two clips enlarge the
last bits of a sum; the second step's tolerances are what remains of that there. Steps
of the published lengths are compared in single precision, before Adam. Gradients are
read from Adam's first moment, which one step leaves at (1 - b1) times the gradient.
"""

import json

import double_precision
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from davs_parity import GOLDENS, checkpoint, converted, manifest
from flax.traverse_util import flatten_dict
from parity import channels_last, fill_inputs

from configs import davs
from convert_torch_weights.davs_names import OTHERS, davs_name
from lipsync_jax.systems import TASKS
from lipsync_jax.systems.davs.task import (
    DISGUISE_WEIGHT,
    RESTLESSNESS_WEIGHT,
    SOFTNESS,
)
from lipsync_jax.systems.davs.windows import Starts

pytestmark = pytest.mark.slow

GOLDEN = json.loads((GOLDENS / "training.json").read_text())
NETWORKS = {
    "generator": "davs",
    "words": "davs_words",
    "discriminator": "davs_sequence_disc",
    "modality": "davs_modality",
    "identity_words": "davs_identity_words",
}
KEYS = {network: key for key, network in OTHERS.items()}
# Our metrics -> the original's losses, and what they are multiplied with here.
LOSSES = {
    "fake": ("loss_D_sequence_fake", 1),
    "fake_joint": ("loss_D_sequence_combine_fake", 1),
    "real": ("loss_D_sequence_real", 1),
    "real_joint": ("loss_D_sequence_combine_real", 1),
    "modality_seen": ("image_loss_D_real", 1),
    "modality_heard": ("audio_loss_D_real", 1),
    "identity_words": ("CE_loss", 1),
    "perceptual": ("loss_G_GAN_sequence", 1),
    "perceptual_joint": ("loss_G_GAN_sequence_combine", 1),
    "l1_heard": ("loss_G_L1_audio", 1),
    "l1_seen": ("loss_G_L1_image", 1),
    "restlessness": ("G_x_loss", RESTLESSNESS_WEIGHT),
    "contrastive": ("EmbeddingL2", 1),
    "uniformity": ("softmax_loss", 1),
    "words_heard": ("audio_CE_loss", 1),
    "words_seen": ("image_CE_loss", 1),
    "disguise_heard": ("audio_loss_D_inv", DISGUISE_WEIGHT),
    "disguise_seen": ("image_loss_D_inv", DISGUISE_WEIGHT),
    "loss": ("loss_G", 1),
}
LENGTHS = {"small": (4, 4, 2), "default": (20, 12, 6)}


class Run:
    """A task with golden weights, and its batch."""

    def __init__(self, case, dtype):
        config = davs.get_config()
        config.batch_size = 2
        config.dtype = np.dtype(dtype).name
        config.method.dropout = 0.0
        names = ("person_frames", "word_frames", "drawn_frames")
        config.method.update(dict(zip(names, LENGTHS[case], strict=True)))
        self.dtype = dtype
        self.task = TASKS["davs"](config)
        self.state = self._start(GOLDEN[case].get("sizes", {}))
        video = fill_inputs("davs_train_video", (2, 25, 3, 256, 256), 0, 1)
        mfcc = fill_inputs("davs_train_mfcc", (2, 25, 1, 20, 12), -20, 20)
        self.batch = {
            "video": channels_last(video).astype(dtype),
            "mfcc": mfcc[:, :, 0].astype(dtype),
        }
        self._learn = jax.jit(self.task.learn)

    def _start(self, sizes):
        def wide(tree):
            return jax.tree.map(lambda x: jnp.asarray(x, self.dtype), tree)

        def empty(leaf):
            floating = jnp.issubdtype(leaf.dtype, jnp.floating)
            return jnp.zeros(leaf.shape, self.dtype if floating else leaf.dtype)

        state = jax.eval_shape(self.task.init, jax.random.key(0))
        state = jax.tree.map(empty, state)
        tensors = checkpoint({**manifest(), **sizes})
        networks = {}
        for name, network in NETWORKS.items():
            module = self.task.modules[name]
            variables = wide(converted(tensors, network, module))
            networks[name] = getattr(state, name).replaced(variables)
        return state.replace(**networks)

    def step(self, want):
        """One update with the golden choices."""
        batch = {**self.batch, "label": np.array(want["labels"], np.int32)}
        off = SOFTNESS * np.array(want["draws"]["soft_label_random"], self.dtype)
        chosen = starts(want["draws"]), off, jax.random.key(0)
        with jax.default_matmul_precision("highest"):
            self.state, metrics = self._learn(self.state, batch, *chosen)
        return metrics

    def rows(self, collection, part):
        """Published name -> mean, deviation, first eight values of all networks."""
        rows = {}
        for name, network in NETWORKS.items():
            key = f"{KEYS[network]}." if network in KEYS else ""
            tree = part(getattr(self.state, name))
            for path, value in flatten_dict(tree).items():
                value = in_torchs_layout(path, np.asarray(value, np.float64))
                row = [value.mean(), value.std(), *value.ravel()[:8]]
                rows[key + davs_name((collection, *path))] = np.array(row)
        return rows

    def grads(self):
        """Gradients of the first step."""
        return self.rows("params", lambda network: moments(network))


def starts(draws):
    names = ("dis_select_start", "A_select", "pred_start", "B_start")
    return Starts(*(np.int32(draws.get(name, 0)) for name in names))


def moments(network):
    return jax.tree.map(lambda mu: mu / 0.1, network.opt_state[0].mu)


def in_torchs_layout(path, value):
    if path[-1] != "kernel":
        return value
    if "conv_transpose" in path:
        return value[::-1, ::-1].transpose(2, 3, 0, 1)
    return value.T if value.ndim == 2 else value.transpose(3, 2, 0, 1)


def check_losses(metrics, want, rtol, loose=()):
    """Compares losses; those in `loose` to a tenth of the precision."""
    for name, (golden, weight) in LOSSES.items():
        wanted = weight * want["losses"][golden]
        bound = 10 * rtol if name in loose else rtol
        np.testing.assert_allclose(metrics[name], wanted, rtol=bound, err_msg=name)


def check_rows(found, want, atol):
    assert want
    for name, row in want.items():
        bound = atol * max(1, np.abs(row).max())
        np.testing.assert_allclose(
            found[name][: len(row)], row, rtol=0, atol=bound, err_msg=name
        )


def check_norms(run, want, rtol):
    for name, network in NETWORKS.items():
        grads = moments(getattr(run.state, name))
        parts = grads.items() if network == "davs" else [(network, grads)]
        for part, tree in parts:
            squares = (jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(tree))
            key = KEYS.get(part) or davs_name(("params", part, "kernel"))
            wanted = want["grad_l2"][key.removesuffix(".weight")]
            np.testing.assert_allclose(sum(squares) ** 0.5, wanted, rtol=rtol)


def test_updates_in_double_precision(monkeypatch):
    double_precision.use(monkeypatch)
    first, second, _ = GOLDEN["small"]["steps"]
    with jax.enable_x64(True):
        run = Run("small", np.float64)
        check_losses(run.step(first), first, 1e-8)
        check_norms(run, first, 1e-8)
        check_rows(run.grads(), first["grads"], 1e-6)
        check_rows(run.rows("params", lambda n: n.params), first["params_after"], 1e-9)
        stats = run.rows("batch_stats", lambda n: n.batch_stats)
        check_rows(stats, first["buffers_after"], 1e-9)

        check_losses(run.step(second), second, 1e-6)
        check_rows(run.rows("params", lambda n: n.params), second["params_after"], 2e-6)
        stats = run.rows("batch_stats", lambda n: n.batch_stats)
        check_rows(stats, second["buffers_after"], 1e-6)


def test_published_lengths():
    want = GOLDEN["default"]
    run = Run("default", np.float32)
    # The adversary has taken its first step with Adam here: signs of noise.
    check_losses(run.step(want), want, 1e-4, loose=("perceptual_joint",))
    check_norms(run, want, 2e-2)
