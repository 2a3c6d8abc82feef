"""Shared fixtures. Eight virtual CPU devices, no network, no accelerator."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Keeps the user's cache folder out of the tests."""
    os.environ["LIPSYNC_CACHE"] = str(tmp_path_factory.mktemp("cache"))


def _material(variable: str, folder: str) -> Path:
    path = Path(os.environ.get(variable, ROOT.parent / "shared" / folder))
    if not path.is_dir():
        pytest.skip(f"no {folder} at {path}; set {variable} to run this test")
    return path


@pytest.fixture(scope="session")
def clips() -> Path:
    """Folder of real talking-face clips (not part of the project)."""
    return _material("LIPSYNC_TEST_CLIPS", "clips")


@pytest.fixture(scope="session")
def landmarker_model() -> Path:
    """MediaPipe's face_landmarker.task (not part of the project)."""
    path = _material("LIPSYNC_TEST_MODELS", "models") / "face_landmarker.task"
    if not path.is_file():
        pytest.skip(f"no face_landmarker.task at {path}")
    return path
