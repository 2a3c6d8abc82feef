"""DAVS's task: what a step leaves, what it depends on, what is exported, mistakes."""

import jax
import numpy as np
import pytest
from davs_training import equal, jit, make_batch, make_state, starts

from configs import davs
from lipsync_jax import models_io
from lipsync_jax.errors import ConfigError
from lipsync_jax.systems import TASKS
from lipsync_jax.training import arrays

NETWORKS = ("generator", "words", "discriminator", "modality", "identity_words")


def make_config(**changes):
    """A narrow configuration; `method__words` sets `method.words`."""
    config = davs.get_config("smoke")
    config.batch_size = 2
    config.method.words = 8
    config.method.person_frames = 4
    config.method.word_frames = 4
    config.method.drawn_frames = 2
    for key, value in changes.items():
        *path, last = key.split("__")
        part = config
        for word in path:
            part = part[word]
        part[last] = value
    return config


@pytest.fixture(scope="module")
def started():
    """(task, its state, the compiled step, what it makes of state and batch)."""
    task = TASKS["davs"](make_config())
    state = make_state(task)
    step = jit(task.learn)

    def run(*args):
        return jax.device_get(step(*args))

    after = run(state, make_batch(), starts(), np.zeros(4, "f"), jax.random.key(1))
    return task, state, run, after


def test_a_step_updates_every_network(started):
    _, before, _, (after, metrics) = started
    for name in NETWORKS:
        old, new = getattr(before, name), getattr(after, name)
        unmoved = [
            path
            for path, value in arrays.named(new.params).items()
            if np.array_equal(value, arrays.named(old.params)[path])
        ]
        assert not unmoved, name
        if old.batch_stats:
            assert not equal(old.batch_stats, new.batch_stats)
    assert all(np.isfinite(value) for value in metrics.values())


def test_the_loss_is_the_sum_of_its_terms(started):
    metrics = started[3][1]
    terms = ("perceptual", "perceptual_joint", "l1_heard", "l1_seen", "restlessness")
    terms += ("contrastive", "uniformity", "words_heard", "words_seen")
    terms += ("disguise_heard", "disguise_seen")
    total = sum(metrics[name] for name in terms)
    assert metrics["loss"] == pytest.approx(float(total), rel=1e-5)


def test_a_step_depends_on_its_choices(started):
    _, state, step, (_, before) = started
    key, off = jax.random.key(1), np.zeros(4, "f")
    cases = {
        "fake": (starts(), np.array([0.1, 0, 0, 0], "f"), key),
        "real_joint": (starts(), np.array([0, 0, 0, 0.1], "f"), key),
        "identity_words": (starts(person=9), off, key),
        "l1_heard": (starts(drawn=0), off, key),
        "words_heard": (starts(word=0), off, key),
        "words_seen": (starts(), off, jax.random.key(2)),  # by dropout
    }
    for name, choices in cases.items():
        _, metrics = step(state, make_batch(), *choices)
        assert metrics[name] != before[name], name
    # Nobody else hears of the labels' softness.
    _, metrics = step(state, make_batch(), *cases["real_joint"])
    assert metrics["real"] == before["real"]
    assert metrics["words_seen"] == before["words_seen"]


def test_lessons_are_learnt(started):
    task, fresh, step, (state, first) = started
    for number in range(4):
        key = jax.random.key(number)
        state, metrics = step(state, make_batch(), starts(), np.zeros(4, "f"), key)
    assert metrics["l1_heard"] < first["l1_heard"]
    assert metrics["words_heard"] < first["words_heard"]
    # The trainer's step does the same with choices of its own.
    chosen = jax.eval_shape(task.train_step, fresh, make_batch(), jax.random.key(0))
    shapes = jax.tree.map(np.shape, (state, metrics))
    assert jax.tree.map(np.shape, chosen) == shapes


def test_evaluation_and_preview(started):
    task, _, _, (state, _) = started
    metrics = jit(task.eval_step)(state, make_batch(), jax.random.key(0))
    assert task.best[0] in metrics
    assert all(0 <= metrics[name] <= 1 for name in ("l1", "recall_1", "accuracy_both"))
    shown = np.asarray(jit(task.preview)(state, make_batch()))
    assert (shown.shape, shown.dtype) == ((2, 64, 4 * 64, 3), np.uint8)
    face, _, _, target = np.split(shown, 4, axis=2)
    np.testing.assert_array_equal(face, make_batch()["video"][:, 0])
    np.testing.assert_array_equal(target, make_batch()["video"][:, 12])


def test_exports_are_model_folders_to_go_on_from(started, tmp_path):
    task, fresh, _, (state, _) = started
    exports = task.export(state)
    assert exports.keys() == {"model", *NETWORKS[1:]}
    for name, export in exports.items():
        variables = jax.device_get(export.variables)
        folder = tmp_path / name
        models_io.save(folder, export.network, variables, arguments=export.arguments)
        loaded = models_io.load(folder)
        assert loaded.module.width == 0.125
        if name == "model":
            assert loaded.module.resolution == 64
            again = task.init_from(fresh, loaded.variables)
            assert equal(again.generator.variables, state.generator.variables)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "wav2lip", "arguments": {}}, "is no DAVS generator"),
        ({"microbatches": 2}, "takes a batch whole"),
        ({"batch_size": 1}, "at least two clips"),
        ({"method__person_frames": 26}, "person_frames is 26; it can be 1 to 25"),
        ({"method__word_frames": 13}, "word_frames is 13; it can be 1 to 12"),
        ({"method__drawn_frames": 5}, "drawn_frames is 5; it can be 1 to 4"),
    ],
)
def test_mistakes(changes, message):
    with pytest.raises(ConfigError, match=message) as error:
        TASKS["davs"](make_config(**changes))
    assert "\n" not in str(error.value)
