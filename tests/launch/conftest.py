"""Runs the launch scripts as a user would, from the project's root."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Puts stand-ins for programs first on PATH: programs(name="script text")."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def add(**scripts: str) -> Path:
        for name, text in scripts.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        return folder

    return add


@pytest.fixture
def lipsync(programs: Callable) -> Callable[[str], None]:
    """Puts a stand-in for `lipsync` on PATH, from the text of a Python program."""
    return lambda text: programs(lipsync=f"#!{sys.executable}\n{text}")


@pytest.fixture
def launch() -> Callable[..., subprocess.CompletedProcess]:
    """Runs launch/SCRIPT with arguments to its end."""

    def run(script: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess:
        done = subprocess.run(
            ["bash", f"launch/{script}", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stderr
        return done

    return run
