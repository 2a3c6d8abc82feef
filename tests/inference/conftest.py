"""A small model and a short drawn clip, shared by the end-to-end tests."""

import jax
import pytest

from lipsync_jax import models_io
from lipsync_jax.demo.clip import write_clip


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Model folder of a narrow generator with random weights."""
    module = models_io.build("wav2lip", {"width": 0.125})
    variables = jax.jit(module.init)(
        jax.random.key(0), *models_io.example_inputs(module)
    )
    folder = tmp_path_factory.mktemp("models") / "narrow"
    return models_io.save(folder, "wav2lip", variables, arguments={"width": 0.125})


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """(video, speech): one second of the drawn speaker, and other words."""
    return write_clip(tmp_path_factory.mktemp("clip"), 1.0, 320, 240)


@pytest.fixture
def sync(model, drawn, tmp_path, monkeypatch, capsys):
    """Runs `lipsync sync`; returns (exit code, stdout, stderr)."""
    from lipsync_jax.cli.main import main

    monkeypatch.setenv("LIPSYNC_CACHE", str(tmp_path / "cache"))

    def run(*more, face=drawn[0], audio=drawn[1], out=tmp_path / "out.mp4", box=True):
        args = ["sync", "--model", str(model), "--face", str(face)]
        args += ["--audio", str(audio)] if audio else []
        args += ["--out", str(out), *map(str, more)]
        if box and "--detector" not in more:
            args += ["--box", "40", "220", "80", "240"]
        code = main(args)
        return code, *capsys.readouterr()

    return run
