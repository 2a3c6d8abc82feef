"""DAVS's stages before generation, and how one goes on from another."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from davs_training import equal, jit, make_batch, make_state, starts
from tiny_clips import make_clip, prepare

from configs import davs
from lipsync_jax import models_io
from lipsync_jax.data.pipeline import eval_batches, train_batches
from lipsync_jax.data.source import open_split
from lipsync_jax.errors import ConfigError, ModelError
from lipsync_jax.systems import TASKS
from lipsync_jax.systems.davs.examples_identity import identity_examples
from lipsync_jax.training import arrays


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Words of three speakers, and of two others, one of whom is known."""

    def clip(name, speaker):
        clip = make_clip(name, frames=29)
        return replace(clip, speaker=speaker, label=len(name) % 3)

    people = {"train": ["eve", "ann", "bob", "ann"], "validation": ["bob", "cid"]}
    splits = {
        split: [clip(f"{split}{n}", who) for n, who in enumerate(names)]
        for split, names in people.items()
    }
    return prepare(tmp_path_factory.mktemp("words"), **splits)


def make_config(stage, dataset=None, **method):
    config = davs.get_config(f"{stage}_smoke")
    config.batch_size = 2
    config.data.directory = dataset and str(dataset)
    if stage != "identity":
        config.method.words = 8
        config.method.word_frames = 4
    config.method.update(method)
    return config


def moved(before, after):
    """Parts of a network whose weights are others."""
    old, new = arrays.named(before.params), arrays.named(after.params)
    return {
        path.split("/")[0] for path in old if not np.array_equal(old[path], new[path])
    }


def batch_of(people):
    return {**make_batch(), "person": np.array(people, np.int32)}


@pytest.fixture(scope="module")
def words(dataset):
    """(task, state, step, what it leaves) of the second stage, with its adversaries."""
    task = TASKS["davs_words"](make_config("words", dataset, person_weight=1.0))
    state = make_state(task)
    step = jit(task.learn)
    return task, state, step, step(state, batch_of([0, 2]), starts(), jax.random.key(1))


def test_words_move_the_encoders_of_what_is_said(words):
    _, before, _, (after, metrics) = words
    assert moved(before.generator, after.generator) == {"audio_encoder", "lip_encoder"}
    for name in ("words", "modality", "person"):
        assert moved(getattr(before, name), getattr(after, name)), name
    old, new = before.generator.batch_stats, after.generator.batch_stats
    assert equal(old["decoder"], new["decoder"])
    assert not equal(old["lip_encoder"], new["lip_encoder"])
    terms = ("words_heard", "words_seen", "disguise_heard", "disguise_seen")
    terms += ("contrastive_heard", "contrastive_seen", "anonymity")
    total = sum(metrics[name] for name in terms)
    assert metrics["loss"] == pytest.approx(float(total), rel=1e-5)
    assert after.discriminator is None and after.identity_words is None


def test_both_modalities_move_towards_each_other(words, dataset):
    """A change of the margin reaches either encoder."""
    _, state, _, (after, metrics) = words
    wide = make_config("words", dataset, person_weight=1.0, margin=3.0)
    step = jit(TASKS["davs_words"](wide).learn)
    other, _ = step(state, batch_of([0, 2]), starts(), jax.random.key(1))
    for name in ("audio_encoder", "lip_encoder"):
        mean = after.generator.opt_state[0].mu[name]
        assert not equal(mean, other.generator.opt_state[0].mu[name]), name
    heard, seen = metrics["contrastive_heard"], metrics["contrastive_seen"]
    assert heard == pytest.approx(float(seen), rel=1e-5)


def test_the_person_matters_only_where_it_is_asked_for(words, dataset):
    _, state, step, (_, metrics) = words
    _, other = step(state, batch_of([1, 1]), starts(), jax.random.key(1))
    assert other["person"] != metrics["person"]
    assert other["words_seen"] == metrics["words_seen"]
    assert {"person", "anonymity", "accuracy_person"} <= metrics.keys()
    plain = TASKS["davs_words"](make_config("words"))  # no dataset is looked at
    assert plain.modules.keys() == {"generator", "words", "modality"}
    shapes = jax.eval_shape(
        plain.train_step,
        jax.eval_shape(plain.init, jax.random.key(0)),
        make_batch(),
        jax.random.key(0),
    )
    assert shapes[1].keys().isdisjoint({"person", "anonymity", "accuracy_person"})


@pytest.fixture(scope="module")
def identity(dataset):
    task = TASKS["davs_identity"](make_config("identity", dataset))
    return task, make_state(task)


def faces():
    rng = np.random.default_rng(1)
    return {
        "faces": rng.integers(0, 256, (2, 2, 64, 64, 3), np.uint8),
        "person": np.array([2, 0], np.int32),
    }


def test_identity_moves_its_encoder(identity):
    task, before = identity
    assert task.modules["person"].people == 3
    step = jit(task.train_step)
    after, first = step(before, faces(), jax.random.key(0))
    assert moved(before.generator, after.generator) == {"identity_encoder"}
    assert moved(before.person, after.person) == {"fc"}
    for number in range(3):
        after, metrics = step(after, faces(), jax.random.key(number))
    assert metrics["loss"] < first["loss"]


def test_the_nearest_face_should_be_the_same_persons(identity):
    task, state = identity
    batch = faces()
    batch["faces"][:, 1] = batch["faces"][:, 0]  # each clip's two faces are equal
    assert jit(task.eval_step)(state, batch, jax.random.key(0))["recall_1"] == 1
    shown = np.asarray(jit(task.preview)(state, batch))
    face, nearest = np.split(shown, 2, axis=2)
    np.testing.assert_array_equal(face, batch["faces"][:, 0])
    np.testing.assert_array_equal(face, nearest)
    # Crosswise, the nearest is the other person.
    batch["faces"][:, 1] = batch["faces"][::-1, 0]
    assert jit(task.eval_step)(state, batch, jax.random.key(0))["recall_1"] == 0


def test_identity_examples(identity, dataset):
    task, _ = identity
    source = open_split(dataset, "train")
    stream = train_batches(source, task.examples, batch_size=4, seed=0, threads=1)
    batch = next(stream)
    stream.close()
    assert batch["faces"].shape == (4, 2, 64, 64, 3)
    assert sorted(batch["person"]) == [0, 0, 1, 2]  # ann, ann, bob, eve
    held_out = open_split(dataset, "validation")
    stream = eval_batches(held_out, task.examples, batch_size=2, batches=1, threads=1)
    assert sorted(next(stream)["person"]) == [1, 3]  # bob is known, cid is new
    stream.close()
    (starts,) = {
        tuple(identity_examples(64, {"ann": 0}).starts(meta))
        for meta in source.meta
        if meta.speaker != "ann"
    }
    assert starts == ()


def saved(export, folder):
    """The model folder of an export, as text."""
    variables = jax.device_get(export.variables)
    made = models_io.save(folder, export.network, variables, arguments=export.arguments)
    return str(made)


def test_a_stage_goes_on_from_another(words, tmp_path):
    task, _, _, (state, _) = words
    exports = task.export(state)
    folder = saved(exports["words"], tmp_path / "best_words")
    config = make_config("generation", word_frames=4, drawn_frames=2, person_frames=4)
    config.method.start_from.words = folder
    generation = TASKS["davs"](config)
    begun = jax.jit(lambda: generation.init(jax.random.key(0)).words)()
    assert equal(begun.params, state.words.params)
    generator = models_io.load(saved(exports["model"], tmp_path / "best"))
    fresh = make_state(generation)
    again = generation.init_from(fresh, generator.variables)
    assert equal(again.generator.params, state.generator.params)


def test_networks_that_do_not_fit(words, tmp_path):
    task, _, _, (state, _) = words
    exports = task.export(state)

    def refused(name, export, stage="generation", **changes):
        config = make_config(stage, **changes)
        config.method.start_from[name] = saved(exports[export], tmp_path / export)
        with pytest.raises((ConfigError, ModelError)) as error:
            TASKS[config.task](config)
        assert "\n" not in str(error.value)
        return str(error.value)

    message = refused("words", "words", words=9)
    assert "holds davs_words of {'frames': 4, 'width': 0.125, 'words': 8}" in message
    assert "start_from.words needs davs_words of" in message
    assert "needs davs_modality of" in refused("modality", "words")
    assert "this stage trains no such network" in refused("person", "person")


def test_who_speaks_has_to_be_known(tmp_path):
    config = make_config("identity")
    with pytest.raises(ConfigError, match="give the folder that `lipsync build` pr"):
        TASKS["davs_identity"](config)
    nobody = [replace(make_clip(str(n), frames=29), speaker="") for n in range(2)]
    config = make_config("words", prepare(tmp_path, train=nobody), person_weight=1.0)
    with pytest.raises(ConfigError, match=r"train: its clips name 0 speakers; people"):
        TASKS["davs_words"](config)
