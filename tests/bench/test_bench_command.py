"""`lipsync bench`: what it prints, and what it refuses. No figure means anything."""

import itertools
import json

import jax
import numpy as np
import pytest
import tiny_task

from configs import expert
from lipsync_jax.bench import train_step, turns
from lipsync_jax.bench.pipeline import bench_pipeline
from lipsync_jax.bench.train_step import _noise_batch, bench_train
from lipsync_jax.cli.main import main
from lipsync_jax.data.examples import Examples
from lipsync_jax.errors import EnvironmentProblem, OptionError
from lipsync_jax.inference.sync import SyncOptions


def test_network_beside_torch(capsys):
    args = ["--network", "lipgan_48", "--batch_size", "1", "--rounds", "1"]
    assert main(["bench", "network", *args, "--compare", "torch", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["network"], result["batch_size"]) == ("lipgan_48", 1)
    speeds = result["jax_frames_per_second"], result["torch_frames_per_second"]
    assert min(speeds) > 0
    assert result["jax_over_torch"] == pytest.approx(speeds[0] / speeds[1], rel=0.05)


class Painter:
    """Stands for a compiled network."""

    size, batch_size, sample_rate = 8, 4, 16_000
    min_seconds, aligned = 0.1, False

    def __init__(self):
        self.calls = 0

    def frame_count(self, samples, fps):
        return int(samples * fps / self.sample_rate)

    def windows(self, blocks, fps, shift=0):
        return itertools.repeat(np.zeros((3, 2), np.float32))

    def __call__(self, crops, windows):
        self.calls += 1
        assert windows.shape == (len(crops), 3, 2)
        return crops


def test_pipeline_takes_any_network():
    painter = Painter()
    options = SyncOptions(detector="haar")
    result = bench_pipeline(painter, None, 0.4, options)
    assert result["size"] == "1920x1080"
    for name in ("decode_ms", "all_but_network_ms_per_frame", "whole_ms_per_frame"):
        assert result[name] > 0
    assert painter.calls == 1 + 3  # once to compile, then ten frames by four


@pytest.mark.parametrize(
    "words,message",
    [
        (["network", "--network", "moon"], "no generator 'moon'; there are: wav2lip, "),
        (["network", "--network", "expert"], "no generator 'expert'"),
        (["pipeline", "--network", "expert"], "network expert draws no faces"),
        (["pipeline", "--network", "moon"], "unknown network 'moon'"),
        (["train", "--config", "moon"], "no configuration 'moon'"),
        (["train", "--compare", "torch"], "add --no_sync"),
        (
            ["train", "--config", "expert", "--compare", "torch"],
            "knows no step of expert; it knows those of: wav2lip, lipgan_unet, lipgan",
        ),
        (
            ["train", "--config=lipgan", "--compare=torch", "--dtype=bfloat16"],
            "trains in float32, not in bfloat16",
        ),
        (["loader"], "needs --data"),
    ],
)
def test_mistakes_get_one_line(words, message, capsys):
    assert main(["bench", *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("lipsync bench: ") and message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["expert", "lipgan_unet", "lipgan"])
def test_noise_is_a_batch_of_examples(name, monkeypatch):
    """Plans a step of the published size without computing it."""
    made = []

    class Planned(Exception):
        pass

    def plan(task, config, sync):
        state = jax.eval_shape(task.init, jax.random.key(0))
        batch = _noise_batch(task, config.batch_size)
        made.append(jax.eval_shape(task.train_step, state, batch, jax.random.key(0)))
        raise Planned

    monkeypatch.setattr(train_step, "_Step", plan)
    with pytest.raises(Planned):
        bench_train(name, batch_size=4)
    assert made


class NoiseTask(tiny_task.TinyTask):
    """The tiny task on noise."""

    examples = Examples(
        starts=lambda meta: np.arange(1),
        example=lambda clip, start, rng: {
            "id": rng.integers(100, dtype=np.int32),
            "image": rng.integers(0, 256, (tiny_task.SIZE,) * 2 + (3,), np.uint8),
            "target": np.float32(0),
            "poison": np.float32(1),
        },
    )


def test_step_is_measured(monkeypatch):
    config = expert.get_config("smoke")
    config.arguments = {"width": 32}
    monkeypatch.setattr(expert, "get_config", lambda: config)
    monkeypatch.setattr(train_step, "TASKS", {"expert": NoiseTask})
    monkeypatch.setattr(train_step, "peak_speed", lambda dtype: 1e9)
    result = bench_train("expert", batch_size=16, steps=6)
    assert (result["task"], result["batch_size"]) == ("expert", 16)
    assert result["step_ms"] > 0 and result["fed_from"] == "one batch of noise"


def test_a_process_that_ends_is_reported():
    """Such as one that was killed for its memory."""
    process = turns.torch_process("torch_network", "no such network", "1", "float32")
    with process as turn, pytest.raises(EnvironmentProblem, match="ended with code 1"):
        turn()


def test_torch_is_not_there(monkeypatch):
    monkeypatch.setattr(turns.importlib.util, "find_spec", lambda name: None)
    process = turns.torch_process("torch_network")
    with pytest.raises(OptionError, match="needs PyTorch: pip install"):
        process.__enter__()
