"""kill -9 at random moments: nothing is lost but the steps since the last save."""

import multiprocessing
import random
import signal
import sys
import time

import pytest
import tiny_task

from lipsync_jax.training import log

CHANGES = ("steps=240", "save_every=5", "eval_every=60", "eval_batches=1", "keep=2")
KILLS = 10
STEP_SECONDS = "0.02"


@pytest.fixture(scope="module")
def start(compilation_cache):
    """Starts the tiny program in a process of its own, forked with all imports done."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tiny_task", "lipsync_jax.training.loop"])

    def start(workdir, delay):
        process = context.Process(
            target=_program, args=(workdir, delay, str(compilation_cache))
        )
        process.start()
        return process

    return start


def _program(workdir, delay, cache):
    import os
    import threading

    import jax
    import tqdm
    from absl import logging

    logging.set_verbosity(logging.FATAL)  # Orbax on half-deleted checkpoints
    tqdm.tqdm.set_lock(threading.RLock())  # its own lock would outlive a killed process
    jax.config.update("jax_num_cpu_devices", 1)
    os.environ["TINY_DELAY"], os.environ["TINY_CACHE"] = delay, cache
    with open(os.devnull, "w") as quiet:
        sys.stdout = sys.stderr = quiet
        tiny_task.main(str(workdir), *CHANGES)


def starts(workdir):
    """The steps at which processes began to train."""
    rows = log.read(workdir / "log.jsonl")
    return [row["step"] for row in rows if row["kind"] == "compiled"]


def test_ten_kills_change_nothing(start, tmp_path):
    whole = start(tmp_path / "whole", "0")
    rng = random.Random(0)
    workdir = tmp_path / "killed"
    whole.join()
    assert whole.exitcode == 0

    for attempt in range(KILLS):
        before = len(starts(workdir))
        process = start(workdir, STEP_SECONDS)
        while attempt % 5 and len(starts(workdir)) == before:
            time.sleep(0.02)  # but every fifth dies while it starts
        time.sleep(rng.uniform(0, 1.2))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    last = start(workdir, "0")
    last.join()
    assert last.exitcode == 0

    want, rows = (log.read(tmp_path / n / "log.jsonl") for n in ("whole", "killed"))
    began = starts(workdir)
    assert began == sorted(began) and len(set(began)) > 2  # it did go on
    assert rows[-1]["digest"] == want[-1]["digest"]
    for kind in ("train", "eval"):
        losses = [
            [(row["step"], row["loss"]) for row in log if row["kind"] == kind]
            for log in (rows, want)
        ]
        assert losses[0] == losses[1]
