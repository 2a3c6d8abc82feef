"""launch/slurm.sh and the batch job it submits."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_dry_run(launch) -> None:
    done = launch(
        *("slurm.sh", "--nodes", "2", "--gpus_per_node", "8", "--time", "24:00:00"),
        "--dry_run",
        *("--", "--config", "configs/wav2lip.py", "--workdir", "/scratch/a b"),
    )
    assert done.stdout.splitlines() == [
        "mkdir -p logs",
        "sbatch --job-name=lipsync --nodes=2 --ntasks-per-node=8 --gpus-per-node=8 "
        "--cpus-per-task=8 --time=24:00:00 --signal=TERM@120 --requeue "
        "--open-mode=append --export=ALL --output=logs/%x_%j.log "
        "launch/slurm_job.sh logs lipsync train --config configs/wav2lip.py "
        "--workdir '/scratch/a b' --distributed",
    ]


def test_dry_run_with_every_option(launch) -> None:
    done = launch(
        *("slurm.sh", "--nodes=1", "--gpus_per_node=4", "--time=30", "--grace=300"),
        *("--cpus_per_task=12", "--partition=gpu", "--account=me", "--name=hd"),
        *("--logs=/scratch/my logs", "--dry_run"),
        *("--", "--config=c.py:1=2", "--workdir=w"),
    )
    assert done.stdout.splitlines() == [
        "mkdir -p '/scratch/my logs'",
        "sbatch --job-name=hd --nodes=1 --ntasks-per-node=4 --gpus-per-node=4 "
        "--cpus-per-task=12 --time=30 --signal=TERM@300 --requeue "
        "--open-mode=append --export=ALL '--output=/scratch/my logs/%x_%j.log' "
        "--partition=gpu --account=me "
        "launch/slurm_job.sh '/scratch/my logs' lipsync train --config=c.py:1=2 "
        "--workdir=w --distributed",
    ]


def test_submits(launch, programs, tmp_path: Path) -> None:
    programs(
        sbatch=f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/given\n',
        lipsync="#!/bin/sh\n",
    )
    logs = tmp_path / "my logs"
    launch(
        *("slurm.sh", "--nodes=1", "--gpus_per_node=4", "--time=30"),
        *("--logs", str(logs), "--", "--config=c.py", "--workdir=a b"),
    )
    assert logs.is_dir()
    given = (tmp_path / "given").read_text().splitlines()
    assert given[-5:] == [
        *("lipsync", "train", "--config=c.py", "--workdir=a b", "--distributed")
    ]


@pytest.mark.parametrize(
    ("code", "queued_again"), [(0, False), (1, False), (2, False), (143, True)]
)
def test_job_returns_to_the_queue_when_stopped(
    code: int, queued_again: bool, programs, tmp_path: Path, monkeypatch
) -> None:
    programs(
        srun=f'#!/bin/sh\nprintf "%s\\n" "$JAX_PLATFORMS" "$@" > {tmp_path}/step\n'
        f"exit {code}\n",
        scontrol=f'#!/bin/sh\necho "$@" > {tmp_path}/requeued\n',
    )
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "8")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    command = ["bash", "launch/slurm_job.sh", "my logs", "lipsync", "train", "a b"]
    assert subprocess.run(command, cwd=ROOT).returncode == code
    assert (tmp_path / "step").read_text().splitlines() == [
        "cuda,cpu",
        *("--cpus-per-task=8", "--gpu-bind=none", "--open-mode=append"),
        "--output=my logs/%x_%j_process_%t.log",
        *("lipsync", "train", "a b"),
    ]
    requeued = tmp_path / "requeued"
    assert requeued.exists() == queued_again
    if queued_again:
        assert requeued.read_text() == "requeue 12\n"
