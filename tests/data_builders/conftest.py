"""A small folder of videos: three people, drawn, whom the Haar detector finds."""

import shutil

import pytest

from lipsync_jax.demo.clip import write_clip

PEOPLE = ("Anna Müller/take 1.mp4", "bob/ω.mp4", "Çelik/c.mov.mp4")


@pytest.fixture(scope="session")
def drawn_video(tmp_path_factory):
    """1.6 seconds (40 frames) of the drawn speaker."""
    video, _ = write_clip(tmp_path_factory.mktemp("drawn"), 1.6, 160, 120)
    return video


@pytest.fixture
def people(tmp_path, drawn_video):
    """Folder with one video of each of three people."""
    source = tmp_path / "people"
    for name in PEOPLE:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(drawn_video, source / name)
    return source


@pytest.fixture
def build(tmp_path, monkeypatch, capsys):
    """Runs `lipsync build` with the Haar detector; returns (code, stdout, stderr)."""
    from lipsync_jax.cli.main import main

    monkeypatch.setenv("LIPSYNC_CACHE", str(tmp_path / "cache"))

    def run(dataset, source, *more, processes=1, data_dir=tmp_path / "data"):
        args = ["build", dataset, "--source", source, "--data_dir", data_dir]
        args += ["--detector", "haar", "--processes", processes, "--size", 64, *more]
        code = main([str(arg) for arg in args])
        return code, *capsys.readouterr()

    return run
