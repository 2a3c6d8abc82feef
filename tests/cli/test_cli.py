"""Subcommands that need no clip of their own."""

import json

import pytest

from lipsync_jax import assets
from lipsync_jax.cli.main import main
from lipsync_jax.demo.clip import write_clip


def test_fetch_from_a_local_file(tmp_path, monkeypatch, capsys, landmarker_model):
    monkeypatch.setenv("LIPSYNC_CACHE", str(tmp_path))
    args = ["fetch", "face_landmarker", "--from", str(landmarker_model), "--json"]
    assert main(args) == 0
    path = json.loads(capsys.readouterr().out)["path"]
    assert assets.find("face_landmarker") == tmp_path / "face_landmarker.task"
    assert path == str(tmp_path / "face_landmarker.task")

    with open(path, "ab") as file:  # damaged later
        file.write(b"x")
    assert main(["fetch"]) == 2
    assert "checksum" in capsys.readouterr().err


def test_fetch_refuses_another_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LIPSYNC_CACHE", str(tmp_path / "cache"))
    page = tmp_path / "face_landmarker.task"
    page.write_text("<html>")
    assert main(["fetch", "face_landmarker", "--from", str(page)]) == 2
    assert "sha256 must be" in capsys.readouterr().err
    assert main(["fetch", "moon"]) == 2
    assert "no asset 'moon'" in capsys.readouterr().err


def test_fetch_without_network_says_what_to_do(tmp_path, monkeypatch, capsys):
    import pooch

    def offline(*args, **kwargs):
        raise ConnectionError("no route")

    monkeypatch.setattr(pooch, "retrieve", offline)
    monkeypatch.setenv("LIPSYNC_CACHE", str(tmp_path))
    assert main(["fetch", "face_landmarker"]) == 2
    message = capsys.readouterr().err
    assert "cannot download https://" in message and "--from FILE" in message


def test_fetch_lists(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LIPSYNC_CACHE", str(tmp_path))
    assert main(["fetch", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["asset"] for row in rows] == list(assets.ASSETS)
    assert rows[0]["present"] is False


def test_info_on_media(tmp_path, capsys):
    video, _ = write_clip(tmp_path, 1.0, 64, 48)
    assert main(["info", str(video), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["size"], facts["fps"]) == ("video", "64x48", "25")
    assert main(["info", str(tmp_path / "nothing")]) == 2
    assert "no such" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["sync", "convert", "info", "fetch", "bench"])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert command in capsys.readouterr().out


def test_no_path_of_a_machine_in_the_project():
    import re
    from pathlib import Path

    root = Path(__file__).resolve().parents[2]
    pattern = re.compile(r"/(work|home|Users|root)/\w")
    for folder in ("lipsync_jax", "convert_torch_weights", "launch", "tests"):
        for path in (root / folder).rglob("*"):
            if path.suffix in (".py", ".sh", ".md") and path != Path(__file__):
                assert not pattern.search(path.read_text("utf-8")), path


@pytest.mark.parametrize("command", ["sync", "info"])
def test_slim_system_is_told_which_packages_it_lacks(command, tmp_path):
    """Without libGL, `import cv2` fails: one line says what to install."""
    import subprocess
    import sys

    clip = tmp_path / "x.mp4"
    clip.write_bytes(b"x")
    arguments = {
        "info": ["info", str(clip)],
        "sync": [
            "sync",
            "--model",
            "m",
            "--face",
            "a",
            "--audio",
            "b",
            "--out",
            "c.mp4",
        ],
    }
    program = (
        "import sys; sys.modules['cv2'] = None\n"
        "from lipsync_jax.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments[command]],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "apt-get install libgl1" in done.stderr
    assert done.stderr.count("\n") == 1
