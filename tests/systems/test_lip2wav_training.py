"""The task of Lip2Wav beyond the goldens: it learns, and says what is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict
from lip2wav_parity import TINY, variables
from parity import fill_inputs

from configs import lip2wav
from lipsync_jax import models_io
from lipsync_jax.errors import ConfigError, ModelError
from lipsync_jax.systems import TASKS
from lipsync_jax.systems.lip2wav.speaker import SpeakerEncoder
from lipsync_jax.training.config import load_config

# 8 mel frames of five faces, 24 pixels.
NETWORK = TINY.clone(resolution=24, frames=5, fps=50.0, dropout=0.1, n_mels=80)


@pytest.fixture
def config(monkeypatch):
    monkeypatch.setitem(models_io.NETWORKS, "tiny", ("lip2wav", NETWORK))
    config = lip2wav.get_config("smoke")
    config.network, config.arguments = "tiny", {}
    return config


def start(task):
    """A state of golden weights: compiling `init` would take long."""
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return task.init_from(state, variables(task.module))


def batch(size=4, voice=False):
    faces = fill_inputs("lip2wav/faces", (size, 5, 24, 24, 3), 0, 256)
    mel = fill_inputs("lip2wav/mel", (size, 8, 80), -4, 4)
    found = {"faces": faces.astype(np.uint8), "mel": mel}
    if voice:
        found["voice"] = fill_inputs("lip2wav/voice", (size, 160, 40), 0, 0.5)
    return found


def test_learns(config):
    config.method.forcing_start = config.method.forcing_length = 10
    config.microbatches = 2
    task = TASKS["lip2wav"](config)
    state, given = start(task), batch()
    step = jax.jit(task.train_step)
    one, same, other = (step(state, given, jax.random.key(seed)) for seed in (1, 1, 2))
    assert one[1]["loss"] == same[1]["loss"] != other[1]["loss"]
    seen = []
    for number in range(40):
        state, metrics = step(state, given, jax.random.key(number))
        seen.append({name: float(value) for name, value in metrics.items()})
    assert seen[-1]["loss"] < 0.9 * seen[0]["loss"]
    parts = ("before", "after", "linear", "regularisation")
    assert seen[0]["loss"] == pytest.approx(sum(seen[0][name] for name in parts))
    told = [losses["teacher_forcing"] for losses in seen]
    assert told[:11] == [1] * 11 and told[-1] < 1e-6
    assert told[15] == pytest.approx(0.5)


def test_evaluation_and_what_is_shown(config):
    task = TASKS["lip2wav"](config)
    state, given = start(task), batch()
    evaluate = jax.jit(task.eval_step)
    found, again = (evaluate(state, given, jax.random.key(seed)) for seed in (0, 1))
    assert {"l1", "focus", "before", "after", "linear"} == found.keys()
    assert 1 / 5 < found["focus"] < 1
    assert again["l1"] != found["l1"]  # dropout in use

    pictures = jax.jit(task.preview)(state, given)
    assert pictures.shape == (4, 80 + 80 + 5, 8, 3) and pictures.dtype == np.uint8
    want = np.round((given["mel"][0, 3, 0] + 4) / 8 * 255)
    assert pictures[0, 79, 3, 0] == pytest.approx(want, abs=1)  # low tones below

    export = task.export(state)["model"]
    assert export.network == "tiny"
    assert export.variables["params"] is state.generator.params


def test_who_speaks_makes_a_difference(config, tmp_path):
    shapes = models_io.shapes(SpeakerEncoder())
    flat = {p: fill_inputs("/".join(p), shape) / 16 for p, shape in shapes.items()}
    weights = unflatten_dict(flat)
    folder = models_io.save(tmp_path / "speaker", "speaker_encoder", weights)
    models_io.NETWORKS["tiny"] = ("lip2wav", NETWORK.clone(speaker_size=256))
    config.method.speaker_encoder = str(folder)
    task = TASKS["lip2wav"](config)
    assert task.examples.example.keywords["voice"]
    state, given = start(task), batch(voice=True)
    speaker = jax.tree.map(jnp.asarray, weights)
    evaluate = jax.jit(task.eval_step)

    def error(voice):
        told = {**given, "voice": voice}
        return evaluate(state.replace(speaker=speaker), told, jax.random.key(0))["l1"]

    assert error(given["voice"]) == error(given["voice"].copy())
    assert error(given["voice"]) != error(given["voice"][:, ::-1])


def test_mistakes(config, tmp_path):
    config.network = "expert"
    with pytest.raises(ConfigError, match=r"expert, which is no network of Lip2Wav"):
        TASKS["lip2wav"](config)
    config.network, config.arguments = "lip2wav_dl", {"frames": 9}
    with pytest.raises(ConfigError, match=r"9 faces at 25 .* last 29 mel frames"):
        TASKS["lip2wav"](config)
    config.network, config.arguments = "tiny", {}
    config.method.speaker_encoder = str(tmp_path / "none")
    with pytest.raises(ModelError, match=r"no such model folder"):
        TASKS["lip2wav"](config)


@pytest.mark.parametrize("name", ["chem", "chess", "hs", "eh", "dl", "lrw", "smoke"])
def test_configurations(name):
    narrow = "--config.arguments.width=0.25"
    config = load_config(f"configs/lip2wav.py:{name}", [narrow])
    task = TASKS[config.task](config)
    module = models_io.NETWORKS[config.network][1]
    assert task.module.width == 0.25
    if name != "smoke":
        sizes = (module.frames, module.fps, module.overlap)
        found = config.arguments
        assert (found.frames, found.fps, found.overlap) == sizes
    with pytest.raises(ConfigError, match="the argument is one of: chem, chess"):
        load_config("configs/lip2wav.py:obama")
