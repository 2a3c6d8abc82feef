"""launch/local.sh: real processes on this machine."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What `lipsync train` sees of its options; sets `index`, `coordinator` and `count`.
OPTIONS = """
import pathlib, signal, sys, time
value = lambda name: sys.argv[sys.argv.index(name) + 1]
index, count = int(value("--process_id")), int(value("--num_processes"))
coordinator = value("--coordinator")
"""

GLOBAL_MEAN = (
    OPTIONS
    + """
import jax, jax.numpy as jnp, numpy as np
jax.distributed.initialize(coordinator, count, index)
mesh = jax.make_mesh((count,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
where = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
mine = np.full((1,), 1.0 + 2 * index, np.float32)
values = jax.make_array_from_process_local_data(where, mine)
print("mean", float(jax.jit(jnp.mean)(values)), "at", index, flush=True)
"""
)

# Waits for SIGTERM as a training run does, and saves.
UNTIL_SIGTERM = (
    OPTIONS
    + """
def save(number, frame):
    print("saved", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
print("started", flush=True)
"""
)


def options(logs: Path, *more: str) -> tuple[str, ...]:
    return (
        *("--processes", "2", "--logs", str(logs), *more),
        *("--", "--config", "configs/my config.py:smoke", "--workdir=runs/a b"),
    )


def test_dry_run_on_the_cpu(launch) -> None:
    done = launch("local.sh", *options(Path("my logs"), "--port", "1234", "--dry_run"))
    assert done.stdout.splitlines() == [
        "env JAX_PLATFORMS=cpu lipsync train --config 'configs/my config.py:smoke' "
        "'--workdir=runs/a b' --coordinator 127.0.0.1:1234 --num_processes 2 "
        f"--process_id {i} > 'my logs/process_{i}.log' 2>&1"
        for i in range(2)
    ]
    assert not (ROOT / "my logs").exists()


def test_dry_run_on_gpus(launch) -> None:
    done = launch(
        *("local.sh", "--gpus", "0,3", "--port=1234", "--dry_run", "--"),
        *("--config", "c.py", "--workdir", "w", "--config.data.directory=a=b"),
    )
    assert done.stdout.splitlines() == [
        f"env JAX_PLATFORMS=cuda,cpu CUDA_VISIBLE_DEVICES={gpu} lipsync train "
        "--config c.py --workdir w --config.data.directory=a=b "
        f"--coordinator 127.0.0.1:1234 --num_processes 2 --process_id {i} "
        f"> logs/process_{i}.log 2>&1"
        for i, gpu in enumerate((0, 3))
    ]


def test_two_processes_compute_together(
    launch, lipsync, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")
    lipsync(GLOBAL_MEAN)
    logs = tmp_path / "my logs"
    done = launch("local.sh", *options(logs))
    assert "mean 2.0 at 0" in done.stdout
    assert "mean 2.0 at 0" in (logs / "process_0.log").read_text()
    assert "mean 2.0 at 1" in (logs / "process_1.log").read_text()


def test_failure_stops_the_others(launch, lipsync, tmp_path: Path) -> None:
    lipsync(
        UNTIL_SIGTERM
        + """
ready = pathlib.Path(sys.argv[0] + ".ready")
if index == 1:
    while not ready.exists():
        time.sleep(0.1)
    sys.exit("disk full")
ready.touch()
time.sleep(60)
"""
    )
    done = launch("local.sh", *options(tmp_path), code=1)
    assert "local.sh: process 1 ended with exit code 1: " in done.stderr
    assert "disk full" in (tmp_path / "process_1.log").read_text()
    assert "saved" in done.stdout


def test_a_stuck_process_is_killed(launch, lipsync, tmp_path: Path) -> None:
    lipsync(
        OPTIONS
        + """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.exit(7) if index == 0 else time.sleep(60)
"""
    )
    began = time.monotonic()
    launch("local.sh", *options(tmp_path, "--grace", "1"), code=7)
    assert time.monotonic() - began < 50


def interrupt(logs: Path, number: signal.Signals, times: int = 1) -> tuple[int, str]:
    """Starts local.sh and signals it; returns its exit code and what it printed."""
    process = subprocess.Popen(
        ["bash", "launch/local.sh", *options(logs)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    wait_for(logs, "started")
    # A terminal's Ctrl-C reaches the whole group.
    send = os.killpg if number == signal.SIGINT else os.kill
    for _ in range(times):
        send(process.pid, number)
        time.sleep(1)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def wait_for(logs: Path, word: str) -> None:
    paths = [logs / f"process_{i}.log" for i in range(2)]
    for _ in range(600):
        if all(path.exists() and word in path.read_text() for path in paths):
            return
        time.sleep(0.1)
    raise AssertionError(f"no {word!r} in the logs")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_passed_on(number, lipsync, tmp_path: Path) -> None:
    lipsync(UNTIL_SIGTERM + "\ntime.sleep(60)")
    code, output = interrupt(tmp_path, number)
    assert code == 143
    assert "saved" in output


def test_second_signal_kills(lipsync, tmp_path: Path) -> None:
    lipsync(
        OPTIONS
        + """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("started", flush=True)
time.sleep(60)
"""
    )
    code, _ = interrupt(tmp_path, signal.SIGINT, times=2)
    assert code == 128 + signal.SIGKILL
