"""What all launchers share: options, messages, clean shell."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "launch").glob("*.sh"))
TRAIN = ("--", "--config", "configs/wav2lip.py", "--workdir", "runs/a")
LAUNCHERS = {
    "local.sh": ("--processes", "2"),
    "slurm.sh": ("--nodes", "2", "--gpus_per_node", "8", "--time", "1:00:00"),
    "gke.sh": (
        *("--name", "a", "--image", "b", "--accelerator", "tpu-v6e-slice"),
        *("--topology", "4x4", "--bucket", "c"),
    ),
    "tpu_vm.sh": ("train", "--name", "a", "--zone", "b"),
}


def installed(program: str) -> str:
    """A program of the test extra, or skip."""
    path = shutil.which(program, path=str(Path(sys.executable).parent))
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


def test_shellcheck() -> None:
    names = [str(script.relative_to(ROOT)) for script in SCRIPTS]
    command = [installed("shellcheck"), "--shell=bash", "--external-sources", *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_dockerfile_lint() -> None:
    command = [installed("hadolint"), "launch/Dockerfile"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_docker_context_holds_what_setup_reads() -> None:
    lines = (ROOT / "launch/Dockerfile.dockerignore").read_text().splitlines()
    kept = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert lines[0] == "*"
    assert all((ROOT / name).exists() for name in kept)
    assert {"setup.py", "pyproject.toml", "README.md", "lipsync_jax"} <= kept


@pytest.mark.parametrize("script", LAUNCHERS)
def test_help_lists_every_option(script: str, launch) -> None:
    text = launch(script, "--help").stdout
    assert "usage: bash launch/" in text
    source = (ROOT / "launch" / script).read_text()
    table = source[source.index("\noption=(") : source.index("\n)\n")]
    names = [word[1:].split("]")[0] for word in table.split() if word[0] == "["]
    assert names
    for name in names:
        assert f"  --{name} " in text


@pytest.mark.parametrize("script", LAUNCHERS)
@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--nothing", "1"], "unknown option --nothing; --help lists them"),
        (["stray"], "unknown option stray; --help lists them"),
        (["--@", "1"], "unknown option --@; --help lists them"),
        (["--dry_run=yes"], "--dry_run takes no value, found --dry_run=yes"),
    ],
)
def test_wrong_options(script: str, extra, message: str, launch) -> None:
    done = launch(script, *LAUNCHERS[script], *extra, *TRAIN, code=2)
    assert f"{script}: {message}" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("script", LAUNCHERS)
@pytest.mark.parametrize(
    ("train", "message"),
    [
        ([], "missing --config among the options of lipsync train"),
        (["--config", "a.py"], "missing --workdir among the options of lipsync train"),
        (
            [*TRAIN[1:], "--num_processes=4"],
            "--num_processes=4 is set by the launcher; leave it out",
        ),
        (
            ["--config=a.py", "--workdir=gs://bucket/run"],
            "--workdir=gs://bucket/run: training reads and writes folders, not buckets",
        ),
    ],
)
def test_wrong_training_options(script: str, train, message: str, launch) -> None:
    done = launch(script, *LAUNCHERS[script], "--dry_run", "--", *train, code=2)
    assert message in done.stderr


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("local.sh", [], "missing --processes N this many processes on the CPU"),
        ("local.sh", ["--processes"], "--processes needs a value: --processes N"),
        (
            "local.sh",
            ["--processes", "two"],
            "--processes: expected a whole number above 0, found 'two'",
        ),
        (
            "local.sh",
            ["--processes", "2", "--gpus", "0"],
            "--gpus and --processes exclude each other",
        ),
        ("slurm.sh", [], "missing --nodes N number of nodes"),
        (
            "slurm.sh",
            ["--nodes", "2", "--gpus_per_node", "8"],
            "missing --time LIMIT time limit of one stretch, e.g. 24:00:00",
        ),
        ("gke.sh", [], "missing --name NAME of the JobSet"),
        ("tpu_vm.sh", [], "expected an action (create, status, setup, train, stop"),
        ("tpu_vm.sh", ["start"], "found 'start'"),
        ("tpu_vm.sh", ["stop", "--name", "a"], "missing --zone ZONE e.g. us-east5-b"),
        (
            "tpu_vm.sh",
            ["create", "--name", "a", "--zone", "b", "--dry_run"],
            "missing --accelerator_type TYPE create: e.g. v6e-16",
        ),
        (
            "tpu_vm.sh",
            ["status", "--name", "a", "--zone", "b", "--api", "tpu"],
            "--api: expected queued-resources or tpu-vm, found 'tpu'",
        ),
    ],
)
def test_missing_options(script: str, arguments, message: str, launch) -> None:
    done = launch(script, *arguments, *TRAIN, code=2)
    assert f"{script}: " in done.stderr
    assert message in done.stderr


def test_missing_program(launch, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    for tool in ("bash", "dirname", "sed", "tr"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    monkeypatch.setenv("PATH", str(tmp_path))
    done = launch("gke.sh", *LAUNCHERS["gke.sh"], *TRAIN, code=2)
    assert "kubectl is not on PATH; install it" in done.stderr
