"""launch/tpu_vm.sh, and what it runs on the workers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SSH = "gcloud compute tpus tpu-vm ssh pod --zone=us-east5-b --worker=all"
WORKER = "bash lipsync_jax/launch/tpu_vm_worker.sh"


def dry_run(launch, action: str, *arguments: str) -> list[str]:
    place = ("--name", "pod", "--zone", "us-east5-b", "--dry_run")
    return launch("tpu_vm.sh", action, *place, *arguments).stdout.splitlines()


def test_create(launch) -> None:
    what = ("--accelerator_type", "v6e-16", "--runtime_version", "v2-alpha-tpuv6e")
    assert dry_run(launch, "create", *what, "--spot", "--project", "p") == [
        "gcloud compute tpus queued-resources create pod --zone=us-east5-b "
        "--project=p --accelerator-type=v6e-16 --node-id=pod "
        "--runtime-version=v2-alpha-tpuv6e --spot"
    ]
    assert dry_run(launch, "create", *what, "--api", "tpu-vm") == [
        "gcloud compute tpus tpu-vm create pod --zone=us-east5-b "
        "--accelerator-type=v6e-16 --version=v2-alpha-tpuv6e"
    ]


def test_status_and_delete(launch) -> None:
    assert dry_run(launch, "status") == [
        "gcloud compute tpus queued-resources describe pod --zone=us-east5-b "
        "'--format=value(state.state)'"
    ]
    assert dry_run(launch, "status", "--api=tpu-vm") == [
        "gcloud compute tpus tpu-vm describe pod --zone=us-east5-b "
        "'--format=value(state)'"
    ]
    assert dry_run(launch, "delete") == [
        "gcloud compute tpus queued-resources delete pod --zone=us-east5-b "
        "--force --quiet"
    ]
    assert dry_run(launch, "delete", "--api=tpu-vm") == [
        "gcloud compute tpus tpu-vm delete pod --zone=us-east5-b --quiet"
    ]


@pytest.mark.parametrize(
    ("bucket", "given"), [([], r"'\'''\'''"), (["--bucket", "talk"], "talk'")]
)
def test_setup(bucket: list[str], given: str, launch) -> None:
    assert dry_run(launch, "setup", *bucket) == [
        "mkdir -p build",
        "git archive --format=tar.gz --output=build/lipsync_jax.tar.gz HEAD",
        "gcloud compute tpus tpu-vm scp build/lipsync_jax.tar.gz pod: "
        "--zone=us-east5-b --worker=all",
        f"{SSH} '--command=rm -rf lipsync_jax && mkdir lipsync_jax && "
        f"tar -xzf lipsync_jax.tar.gz -C lipsync_jax && {WORKER} setup {given}",
    ]


def test_train_quotes_for_the_workers(launch, programs, tmp_path: Path) -> None:
    options = ["--config=configs/a.py:x y", "--workdir", '/mnt/b/it\'s "here" $HOME']
    programs(gcloud=f'#!/bin/sh\nprintf "%s" "$8" > {tmp_path}/command\n')
    launch("tpu_vm.sh", "train", "--name=pod", "--zone=z", "--", *options)
    command = (tmp_path / "command").read_text()
    assert command.startswith("--command=")
    remote = command.removeprefix("--command=").replace(WORKER, 'printf "%s\\n"')
    said = subprocess.run(["bash", "-c", remote], capture_output=True, text=True)
    assert said.stdout.splitlines() == ["train", *options]


def test_stop_and_logs(launch) -> None:
    assert dry_run(launch, "stop") == [f"{SSH} '--command={WORKER} stop'"]
    assert dry_run(launch, "logs", "--logs", "my logs") == [
        "mkdir -p 'my logs'",
        f"{SSH} '--command=cat lipsync_train.log' '--output-directory=my logs'",
    ]


@pytest.fixture
def worker(tmp_path: Path, programs):
    """Runs the workers' script in a home folder of its own, without long waits."""
    (tmp_path / "lipsync_jax").mkdir()
    program = tmp_path / "lipsync_venv/bin/lipsync"
    program.parent.mkdir(parents=True)
    # Long sleeps end soon after the stand-in has written something.
    wait = 'until [ -s "$HOME/lipsync_train.log" ]; do /bin/sleep 0.1; done'
    programs(sleep=f'#!/bin/sh\n[ "$1" = 1 ] || {{ {wait}; }}\n/bin/sleep 1\n')

    def run(text: str, *arguments: str) -> subprocess.CompletedProcess:
        program.write_text(f"#!{sys.executable}\n{text}")
        program.chmod(0o755)
        return subprocess.run(
            ["bash", str(ROOT / "launch/tpu_vm_worker.sh"), *arguments],
            env={**os.environ, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


TRAINING = """
import os, signal, sys, time
def save(number, frame):
    print("saved", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
print(os.getcwd(), sys.argv[1:], os.environ["JAX_PLATFORMS"], flush=True)
time.sleep(60)
"""


def test_worker_trains_in_the_background(worker, tmp_path: Path) -> None:
    assert worker(TRAINING, "stop").returncode == 0  # nothing runs yet
    started = worker(TRAINING, "train", "--config=c.py", "--workdir=a b")
    assert started.returncode == 0, started.stderr
    again = worker(TRAINING, "train", "--config=c.py", "--workdir=a b")
    assert again.returncode == 2
    assert "already training; stop it first" in again.stderr
    assert worker(TRAINING, "stop").returncode == 0
    where = tmp_path / "lipsync_jax"
    assert (tmp_path / "lipsync_train.log").read_text().splitlines() == [
        f"{where} ['train', '--config=c.py', '--workdir=a b', '--distributed'] tpu,cpu",
        "saved",
    ]


def test_worker_reports_a_run_that_ends_at_once(worker) -> None:
    done = worker("import sys; sys.exit('no such option')", "train", "--config=c.py")
    assert done.returncode == 1
    assert "training has ended; the last lines of its log:" in done.stderr
    assert "no such option" in done.stderr
