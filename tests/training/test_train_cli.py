"""`lipsync train`: from a prepared dataset to a model folder, and its mistakes."""

import dataclasses
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest
import tiny_task

from lipsync_jax import models_io, systems
from lipsync_jax.cli.main import main
from lipsync_jax.training import log
from lipsync_jax.training.task import Examples

CONFIG = """
from lipsync_jax.training.config import base_config

def get_config(arg=""):
    config = base_config()
    config.task = config.network = "tiny"
    config.arguments.width = 32
    config.method.threshold = 10.0
    config.batch_size = 8
    config.steps = config.eval_every = config.save_every = 2
    config.log_every = 1
    config.eval_batches = 1
    config.threads = 2
    return config
"""


class CliTask(tiny_task.TinyTask):
    """The tiny task on pictures of talkers."""

    examples = Examples(
        starts=lambda meta: np.flatnonzero(meta.valid),
        example=lambda clip, start, rng: {
            "id": rng.integers(2**31, dtype=np.int32),
            "image": cv2.resize(
                cv2.imdecode(np.frombuffer(clip.frames[start], np.uint8), 1),
                (tiny_task.SIZE,) * 2,
            ),
            "target": np.float32(start / 25),
            "poison": np.float32(1),
        },
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A prepared dataset of seven short clips."""
    from data_builders.synthetic_talkers.synthetic_talkers_dataset_builder import (
        Builder,
    )

    builder = Builder(
        data_dir=tmp_path_factory.mktemp("data"),
        speakers_train=4,
        speakers_validation=2,
        speakers_test=1,
        clips_per_speaker=1,
        seconds=0.4,
        size=32,
    )
    builder.download_and_prepare()
    return builder.data_dir


@pytest.fixture
def lipsync_train(tmp_path, monkeypatch, dataset, capsys):
    """Runs the command in this process; returns code, stdout, stderr."""
    monkeypatch.setattr(systems, "TASKS", {"tiny": CliTask}, raising=False)
    # The command's settings of the process are the other tests', too.
    monkeypatch.setattr("lipsync_jax.cli.setup_jax.prepare", lambda: None)
    config = tmp_path / "tiny.py"
    config.write_text(CONFIG)

    def run(*words, workdir=tmp_path / "run", config=config, data=dataset):
        command = ["train", "--config", str(config), "--workdir", str(workdir)]
        command += [f"--config.data.directory={data}"] if data else []
        code = main([*command, *map(str, words)])
        return code, *capsys.readouterr()

    return run


def test_trains_and_goes_on(lipsync_train, tmp_path):
    code, stdout, stderr = lipsync_train()
    assert code == 0, stderr
    assert stdout == f"{tmp_path / 'run' / 'model'}\n"
    assert "step 2: digest " in stderr
    assert models_io.load(stdout.strip()).network == "tiny"

    code, stdout, stderr = lipsync_train("--config.steps=3")
    assert code == 0 and "going on from step 2 of 3" in stderr
    code, _, stderr = lipsync_train("--config.steps=3", workdir=tmp_path / "whole")
    ends = [
        log.read(tmp_path / name / "log.jsonl")[-1]["digest"]
        for name in ("run", "whole")
    ]
    assert code == 0 and ends[0] == ends[1]


def test_fine_tunes(lipsync_train, tmp_path):
    _, model, _ = lipsync_train()
    words = ("--init_from", model.strip(), "--config.optimizer.learning_rate=0")
    code, stdout, stderr = lipsync_train(*words, workdir=tmp_path / "tuned")
    assert code == 0, stderr
    old, new = (models_io.load(path.strip()).variables for path in (model, stdout))
    jax.tree.map(np.testing.assert_array_equal, old["params"], new["params"])


def test_signal_gives_the_exit_code(lipsync_train, monkeypatch, tmp_path):
    calls = itertools.count()

    def build(config):
        task = CliTask(config)
        make = task.examples.example

        def example(clip, start, rng):
            if next(calls) == 0:  # a second signal would end the tests
                os.kill(os.getpid(), signal.SIGTERM)
            return make(clip, start, rng)

        task.examples = dataclasses.replace(task.examples, example=example)
        return task

    monkeypatch.setitem(systems.TASKS, "tiny", build)
    code, stdout, stderr = lipsync_train("--config.steps=500")
    assert (code, stdout) == (143, "")
    assert "stopped by SIGTERM after step" in stderr.strip().splitlines()[-1]
    assert list((tmp_path / "run" / "checkpoints").iterdir())


def test_mistakes_get_one_line(lipsync_train, tmp_path):
    def refused(*words, says, **inputs):
        code, stdout, stderr = lipsync_train(*words, **inputs)
        assert (code, stdout) == (2, ""), stderr
        line = stderr.strip().splitlines()[-1]
        assert line.startswith("lipsync train: ") and "Traceback" not in stderr
        assert says in line

    refused("--config.stepz=1", says="did you mean steps?")
    refused("--config.task=moon", says="config.task='moon': no such task; known: ")
    refused(config=tmp_path / "no.py", says="no.py: no such configuration file")
    refused(data=None, says="--config.data.directory=DIR")
    refused(data=tmp_path / "nowhere", says="nowhere: no such folder")
    refused("--config.data.train=half", says="no split 'half'")
    refused("--config.batch_size=9", says="use e.g. --config.batch_size=8")
    refused("--init_from", tmp_path / "no", says="no such model folder")
    refused("--process_id", 0, says="belong together")
    refused("--config.optimizer.learning_rate=nan", says="not finite")
    assert not (tmp_path / "run" / "model").exists()


def test_words_that_are_no_options(lipsync_train, capsys):
    for words in (["info", "--config.steps=1", "x"], ["train", "--confog", "x"]):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 2
    with pytest.raises(SystemExit) as end:
        main(["info", "x", "--config.steps=1"])
    assert "unrecognized arguments: --config.steps=1" in capsys.readouterr().err


def test_disk_full_in_one_line(tmp_path, dataset):
    """In a process of its own: Orbax's threads write to stderr as they please."""
    (tmp_path / "tiny.py").write_text(CONFIG)
    program = (
        "import resource, sys, tiny_task, test_train_cli\n"
        "from lipsync_jax import systems\n"
        "from lipsync_jax.cli.main import main\n"
        "systems.TASKS = {'tiny': test_train_cli.CliTask}\n"
        "tiny_task.register()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    words = ["train", "--config", tmp_path / "tiny.py", "--workdir", tmp_path / "run"]
    words += [f"--config.data.directory={dataset}", "--config.eval_every=0"]
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", program, *words, "--config.steps=8"],
        env=os.environ | {"PYTHONPATH": f"{here}:{here.parent}:{here.parents[1]}"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "Traceback" not in done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith(f"lipsync train: {tmp_path / 'run' / 'checkpoints'}: cannot")
    assert "File too large" in line
    left = [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()]
    assert [name for name in left if name.isdigit()] == []


def test_help_needs_no_jax():
    program = (
        "import sys\nfrom lipsync_jax.cli.main import main\n"
        "try: main(['train', '--help'])\n"
        "finally: assert 'jax' not in sys.modules and 'absl' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.returncode == 0
    assert b"--workdir" in done.stdout
