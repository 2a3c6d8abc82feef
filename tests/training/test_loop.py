"""One run: what it writes, and that going on is the same as never stopping."""

import json
import os
import resource
import shutil
import signal

import jax
import numpy as np
import pytest
import tiny_task
from tiny_task import TinyData, TinyTask, tiny_config

from lipsync_jax import models_io
from lipsync_jax.errors import (
    ConfigError,
    ModelError,
    OutputError,
    Preempted,
    TrainingError,
)
from lipsync_jax.training import curves, log
from lipsync_jax.training.loop import Data, train

STEPS = 12
# Orbax leaves what a failed read or write did not finish to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


def run(workdir, data=None, task=None, init_from=None, **changes):
    """Trains on one device; returns the result and the rows of the log."""
    config = tiny_config(**changes)
    data = data or TinyData(config)
    device = jax.devices()[:1]
    result = train(
        task or TinyTask(config),
        config,
        workdir,
        getattr(data, "data", data),
        init_from=init_from,
        devices=device,
    )
    return result, log.read(workdir / "log.jsonl")


def rows_of(rows, kind, *names):
    return [
        tuple(row[n] for n in ("step", *names)) for row in rows if row["kind"] == kind
    ]


def checkpoints(workdir):
    names = [path.name for path in (workdir / "checkpoints").iterdir()]
    return sorted(int(name) for name in names if name.isdigit())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never stopped: (workdir, result, rows)."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    return workdir, *run(workdir)


@pytest.fixture
def copied(whole, tmp_path):
    """The run as it was after its checkpoint at step 8."""
    workdir = tmp_path / "run"
    shutil.copytree(whole[0], workdir)
    shutil.rmtree(workdir / "checkpoints" / f"{STEPS:08d}")
    return workdir


def assert_same_end(whole, rows):
    """Equal parameters, and each row that depends on them, once."""
    for kind, names in (
        ("train", ("loss", "weight", "distinct")),
        ("eval", ("loss",)),
    ):
        assert rows_of(rows, kind, *names) == rows_of(whole[2], kind, *names)
    assert rows[-1]["kind"] == "end"
    assert rows[-1]["digest"] == whole[2][-1]["digest"]


def test_rows_of_the_log(whole):
    _, result, rows = whole
    kinds = [row["kind"] for row in rows]
    assert kinds[:2] == ["start", "compiled"] and kinds[-1] == "end"
    start, compiled = rows[:2]
    assert start["config"]["optimizer"]["learning_rate"] == 1e-3
    assert start["parameters"] == {"model": 896 + 64 + 18496 + 65}
    assert {"jax", "flax", "numpy"} <= start["versions"].keys()
    assert compiled["seconds"] > 0 and compiled["flops"] > 1e6

    train_rows = [row for row in rows if row["kind"] == "train"]
    assert [row["step"] for row in train_rows] == [2, 4, 6, 8, 10, 12]
    for row in train_rows:
        assert row["learning_rate"] == 1e-3
        speed = row["steps_per_second"]
        assert row["examples_per_second"] == pytest.approx(16 * speed)
        assert 0 <= row["host_wait"] <= 1
        assert row["distinct"] == 16
    assert rows_of(rows, "eval", "loss")[-1] == (STEPS, result["loss"])


def test_evaluation_switches_the_second_loss_on(whole):
    weights = rows_of(whole[2], "train", "weight")
    assert weights == [(2, 0), (4, 0), (6, 0.5), (8, 0.5), (10, 0.5), (12, 0.5)]


def test_pictures_and_board(whole):
    from PIL import Image

    workdir = whole[0]
    with Image.open(workdir / "curves.png") as image:
        assert np.asarray(image).std() > 1
    samples = sorted(path.name for path in (workdir / "samples").iterdir())
    assert samples == [f"step_{step:08d}.png" for step in (4, 8, 12)]
    with Image.open(workdir / "samples" / samples[0]) as image:
        want = tiny_task.batch(10**4, 16)["image"][:4].reshape(-1, 8, 3)
        np.testing.assert_array_equal(np.asarray(image), want)
    events = list((workdir / "tensorboard").iterdir())
    assert events and events[0].stat().st_size > 1000


def test_curves_show_metrics_not_speed(whole, monkeypatch):
    from matplotlib.axes import Axes

    drawn = []
    monkeypatch.setattr(Axes, "set_title", lambda self, text: drawn.append(text))
    curves.draw(whole[2])
    assert drawn == ["distinct", "loss", "weight"]


def test_model_folders(whole):
    workdir, result, rows = whole
    model = models_io.load(workdir / "model")
    assert model.network == "tiny" and model.metadata["arguments"] == {"width": 32}
    trained = model.metadata["trained"]
    assert trained["step"] == STEPS and trained["evaluation"] == result
    best = min((loss, step) for step, loss in rows_of(rows, "eval", "loss"))
    assert models_io.describe(workdir / "best")["trained"]["step"] == best[1]


def test_keeps_the_newest_and_the_best(tmp_path):
    """The best of five evaluations is the second."""
    config = tiny_config(steps=10, eval_every=2, save_every=2, keep=1)
    task = TinyTask(config)
    task.eval_step = lambda state, batch, key: {
        "loss": abs(state.net.opt_state[0].count - 4.0)
    }
    _, rows = run(tmp_path, task=task, steps=10, eval_every=2, save_every=2, keep=1)
    assert rows_of(rows, "eval", "loss") == [(2, 2), (4, 0), (6, 2), (8, 4), (10, 6)]
    assert checkpoints(tmp_path) == [4, 10]
    assert models_io.describe(tmp_path / "best")["trained"]["step"] == 4
    assert models_io.describe(tmp_path / "model")["trained"]["step"] == 10


def test_a_better_evaluation_is_saved_out_of_turn(tmp_path):
    run(tmp_path, steps=6, save_every=100, eval_every=3, eval_batches=1)
    assert 3 in checkpoints(tmp_path)


def test_goes_on_exactly(whole, copied):
    _, rows = run(copied)
    assert_same_end(whole, rows)


def test_a_longer_run_is_the_same_as_a_long_one(whole, tmp_path):
    """The evaluation after the last step is out of turn: it must leave no trace."""
    run(tmp_path, steps=6)
    result, rows = run(tmp_path)
    assert result == whole[1]
    assert rows[-1]["digest"] == whole[2][-1]["digest"]
    assert rows_of(rows, "train", "loss") == rows_of(whole[2], "train", "loss")


def test_goes_on_with_other_devices(whole, copied):
    """From one device to eight that share the state: equal but for rounding."""
    config = tiny_config(**{"mesh.fsdp": 4})
    data = TinyData(config).data
    result = train(TinyTask(config), config, copied, data)
    assert result["loss"] == pytest.approx(whole[1]["loss"], rel=1e-2)


def test_a_finished_run_is_left_as_it_is(whole, tmp_path):
    workdir = shutil.copytree(whole[0], tmp_path / "run")
    shutil.rmtree(workdir / "model")
    result, rows = run(workdir)
    assert result == whole[1]
    assert_same_end(whole, rows)
    assert models_io.load(workdir / "model").metadata["trained"]["evaluation"] == result


def test_what_a_killed_process_leaves_is_cleared(whole, copied):
    """Half a line, half a checkpoint, half a model folder, half a picture."""
    with (copied / "log.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')
    (copied / "checkpoints" / "00000012.orbax-checkpoint-tmp").mkdir()
    (copied / ".model.x1y2").mkdir()
    (copied / "samples" / ".step_00000012.png.part").touch()
    _, rows = run(copied)
    assert_same_end(whole, rows)
    names = [path.name for path in copied.rglob("*")]
    assert [n for n in names if "tmp" in n or n.endswith(".part")] == []
    assert ".model.x1y2" not in names


def damage(folder, how):
    files = [path for path in folder.rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    if how == "truncated":
        largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
    elif how == "flipped":
        data = bytearray(largest.read_bytes())
        data[len(data) // 2] ^= 1
        largest.write_bytes(data)
    else:
        shutil.rmtree(folder / "meta")


@pytest.mark.parametrize("how", ["truncated", "flipped", "without its record"])
def test_damaged_checkpoint_falls_back(whole, tmp_path, how, capsys):
    workdir = shutil.copytree(whole[0], tmp_path / "run")
    damage(workdir / "checkpoints" / "00000012", how)
    _, rows = run(workdir)
    assert_same_end(whole, rows)
    said = capsys.readouterr().err
    assert "00000012: damaged (" in said and "going on from step 8 of 12" in said
    assert (workdir / "damaged" / "00000012").is_dir()


def test_all_checkpoints_damaged(copied):
    for folder in (copied / "checkpoints").iterdir():
        damage(folder, "truncated")
    with pytest.raises(TrainingError, match="no checkpoint can be read; delete"):
        run(copied)


def test_stops_when_a_value_is_not_finite(tmp_path):
    """A gradient spoils the parameters at step 7; metrics show it later, or never."""
    config = tiny_config()
    data = TinyData(config)
    data.spoilt = 7
    with pytest.raises(TrainingError) as error:
        run(tmp_path, data)
    message = str(error.value)
    assert message.startswith("step 7: ") and "checkpoint is step 4" in message
    assert "\n" not in message
    assert checkpoints(tmp_path) == [4]
    row = log.read(tmp_path / "log.jsonl")[-1]
    assert (row["kind"], row["reason"]) == ("stop", "not finite at step 7")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_signal_saves_and_leaves(whole, tmp_path, number, code):
    config = tiny_config()

    def with_signal(step):
        for batch in TinyData(config).train(step):
            step += 1
            if step == 6:
                os.kill(os.getpid(), number)
            yield batch

    before = signal.getsignal(number)
    data = Data(with_signal, TinyData(config).evaluate)
    with pytest.raises(Preempted) as stop:
        run(tmp_path, data)
    assert stop.value.exit_code == code
    assert signal.getsignal(number) == before
    rows = log.read(tmp_path / "log.jsonl")
    assert rows[-1]["reason"] == signal.Signals(number).name
    step = rows[-1]["step"]
    assert f"after step {step} of 12" in str(stop.value)
    assert checkpoints(tmp_path)[-1] == step < STEPS
    _, rows = run(tmp_path)
    assert rows[-1]["digest"] == whole[2][-1]["digest"]


def test_disk_full_while_saving(tmp_path):
    """A limit on the size of files stands for the full disk: writes fail alike."""
    changes = {"eval_every": 0, "eval_batches": 0}
    run(tmp_path, steps=4, **changes)
    config = tiny_config(steps=16, **changes)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def until_full(step):
        for batch in TinyData(config).train(step):
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
            yield batch

    data = Data(until_full, TinyData(config).evaluate)
    try:
        with pytest.raises(OutputError) as error:
            run(tmp_path, data, steps=16, **changes)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    message = str(error.value)
    assert str(tmp_path / "checkpoints") in message and "\n" not in message
    assert "cannot write step 8: File too large; " in message
    assert message.endswith("make room and run the same command again")
    assert checkpoints(tmp_path) == [4]
    _, rows = run(tmp_path, steps=16, **changes)
    _, want = run(tmp_path / "again", steps=16, **changes)
    assert rows[-1]["digest"] == want[-1]["digest"]


def test_workdir_of_another_configuration(whole, tmp_path):
    workdir = shutil.copytree(whole[0], tmp_path / "run")
    with pytest.raises(ConfigError) as error:
        run(workdir, **{"optimizer.learning_rate": 2e-3, "seed": 5})
    message = str(error.value)
    assert "optimizer.learning_rate was 0.001, is 0.002" in message
    assert "seed was 0, is 5" in message and "another --workdir" in message


def test_cadence_and_length_may_change(whole, tmp_path):
    workdir = shutil.copytree(whole[0], tmp_path / "run")
    run(workdir, steps=14, log_every=1, save_every=7, keep=5, threads=2)
    assert json.loads((workdir / "config.json").read_text())["steps"] == 14


def test_checkpoint_of_another_architecture(whole, copied):
    with pytest.raises(ModelError) as error:
        run(copied, task=TinyTask(tiny_config(), norm=False))
    message = str(error.value)
    assert "another architecture" in message and "net/batch_stats/norm/mean" in message
    assert "float32[32], this run needs none" in message and "\n" not in message
    assert checkpoints(copied)[-1] == 8  # untouched


def test_starts_from_a_model_folder(whole, tmp_path):
    model = whole[0] / "model"
    run(tmp_path, init_from=model, steps=1, **{"optimizer.learning_rate": 0.0})
    old, new = models_io.load(model), models_io.load(tmp_path / "model")
    jax.tree.map(
        np.testing.assert_array_equal, old.variables["params"], new.variables["params"]
    )


def test_model_folder_that_does_not_fit(whole, tmp_path):
    with pytest.raises(ModelError) as error:
        run(tmp_path, init_from=whole[0] / "model", **{"arguments.width": 8})
    message = str(error.value)
    assert "is of another size: " in message and "{'width': 32}" in message

    module = models_io.build("expert", {"width": 0.0625})
    inputs = models_io.example_inputs(module)
    variables = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    variables = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), variables)
    folder = models_io.save(
        tmp_path / "e", "expert", variables, arguments={"width": 0.0625}
    )
    with pytest.raises(ModelError, match="holds network expert; this run trains tiny"):
        run(tmp_path / "run", init_from=folder)
    assert not (tmp_path / "run").exists()


def test_without_evaluation_or_pictures(tmp_path):
    config = tiny_config(eval_batches=0)
    result, rows = run(tmp_path / "a", steps=4, eval_batches=0)
    assert result == {} and rows_of(rows, "eval") == []
    assert models_io.load(tmp_path / "a" / "model").network == "tiny"
    assert not (tmp_path / "a" / "best").exists()

    task = TinyTask(config)
    task.preview = lambda state, batch: None
    run(tmp_path / "b", task=task, steps=4)
    assert not (tmp_path / "b" / "samples").exists()


def test_profiler_window(tmp_path):
    run(tmp_path, steps=4, eval_batches=0, profile="2:3")
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
    for window in ("3", "5:2", "0:3", "a:b"):
        with pytest.raises(ConfigError, match="FIRST:LAST"):
            run(tmp_path, profile=window)


def test_batch_must_fit_the_devices(tmp_path):
    config = tiny_config(batch_size=12)
    with pytest.raises(ConfigError, match="multiple of 8 devices"):
        train(TinyTask(config), config, tmp_path / "run", TinyData(config).data)
    assert not (tmp_path / "run").exists()


def test_workdir_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        run(tmp_path / "file" / "run")
