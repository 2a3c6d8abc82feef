"""Two real processes on one machine are one run."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_task

from lipsync_jax import models_io
from lipsync_jax.errors import OptionError
from lipsync_jax.training import distributed, log
from lipsync_jax.training.loop import train

SGD = {"optimizer.eps": 1e3, "optimizer.learning_rate": 10.0}  # Adam without its noise
TIMEOUT = 240


@pytest.fixture
def pair(compilation_cache):
    """Starts two processes of two devices each on one run."""
    started = []

    def start(workdir, delay="0", **changes):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        root = Path(__file__).resolve().parents[2]
        environment = os.environ | {
            "JAX_NUM_CPU_DEVICES": "2",
            "PYTHONPATH": str(root),
            "TINY_DELAY": delay,
            "TINY_CACHE": str(compilation_cache),
        }
        for index in range(2):
            join = f"join=('127.0.0.1:{port}', 2, {index})"
            words = [f"{key}={value!r}" for key, value in changes.items()]
            started.append(
                subprocess.Popen(
                    [sys.executable, tiny_task.__file__, workdir, join, *words],
                    env=environment,
                    stderr=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    text=True,
                )
            )
        return started

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_two_processes_equal_one(pair, tmp_path):
    """Also with the state sharded over devices of both."""
    changes = SGD | {"mesh.fsdp": 4, "steps": 8}
    for process in pair(tmp_path / "two", **changes):
        _, stderr = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0, stderr
    rows = log.read(tmp_path / "two" / "log.jsonl")

    config = tiny_task.tiny_config(**changes | {"mesh.fsdp": 1})
    data = tiny_task.TinyData(config).data
    one = tmp_path / "one"
    train(tiny_task.TinyTask(config), config, one, data, devices=jax.devices()[:1])
    want = log.read(one / "log.jsonl")
    assert rows[0]["processes"] == 2 and len(rows[0]["devices"]) == 4
    for kind in ("train", "eval"):
        both = [[row for row in log if row["kind"] == kind] for log in (rows, want)]
        assert [row["step"] for row in both[0]] == [row["step"] for row in both[1]]
        losses = [[row["loss"] for row in rows] for rows in both]
        np.testing.assert_allclose(*losses, rtol=1e-5)
    for row in rows:  # no example twice
        assert row["kind"] != "train" or row["distinct"] == 16
    models = [models_io.load(tmp_path / name / "model") for name in ("one", "two")]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
        *(model.variables for model in models),
    )


def test_signal_to_one_of_two_stops_both(pair, tmp_path):
    first, second = pair(tmp_path, delay="0.05", steps=1000, eval_every=0)
    path = tmp_path / "log.jsonl"
    start = time.time()
    while not any(row["kind"] == "train" for row in log.read(path)):
        assert first.poll() is None and second.poll() is None
        assert time.time() - start < TIMEOUT
        time.sleep(0.1)
    second.send_signal(signal.SIGTERM)
    for process in (first, second):
        _, stderr = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 143, stderr
        assert "stopped by SIGTERM after step" in stderr
    stop = log.read(path)[-1]
    assert (stop["kind"], stop["reason"]) == ("stop", "SIGTERM")
    newest = max(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert int(newest) == stop["step"] < 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("host:1", 2, None), "belong together"),
        (("host", 2, 0), "HOST:PORT"),
        (("host:1", 2, 2), "from 0 to 1"),
    ],
)
def test_arguments_that_do_not_fit(arguments, message):
    with pytest.raises(OptionError, match=message):
        distributed.join(*arguments)


def test_no_cluster_in_the_environment(monkeypatch):
    def nothing_found(*arguments):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", nothing_found)
    with pytest.raises(OptionError, match=r"no cluster found .* give --coord"):
        distributed.join()
