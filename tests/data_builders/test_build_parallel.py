"""Many videos at once: processes that die, errors, Apache Beam."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_builders import parallel
from lipsync_jax.data.schema import from_example
from lipsync_jax.errors import EnvironmentProblem, OutputError


def square(x):
    return x * x


def crash_at_three(x):
    if x == 3:
        os._exit(11)
    return x * x


def full_at_three(x):
    if x == 3:
        raise OutputError("no space")
    return x * x


def test_one_process_is_this_one():
    pids = [pid for _, pid in parallel.in_processes(lambda x: os.getpid(), [1, 2], 1)]
    assert pids == [os.getpid()] * 2


def test_a_process_that_dies_costs_only_its_item():
    results = dict(parallel.in_processes(crash_at_three, range(8), 2))
    assert results == {x: None if x == 3 else x * x for x in range(8)}


def test_an_error_of_the_work_ends_it():
    with pytest.raises(OutputError, match="no space"):
        list(parallel.in_processes(full_at_three, range(8), 2))


def test_two_processes_and_one_build_the_same(people, build, tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for processes, data_dir in enumerate(folders, 1):
        options = {"processes": processes, "data_dir": data_dir}
        assert build("talking_faces", people, **options)[0] == 0
    files = [sorted(folder.rglob("*.array_record*")) for folder in folders]
    assert len(files[0]) == 3
    for one, two in zip(*files, strict=True):
        assert one.name == two.name and one.read_bytes() == two.read_bytes()


def test_beam_builds_the_same(people, build, tmp_path):
    pytest.importorskip("apache_beam")
    (people / "bob" / "broken.mp4").write_text("not a video")
    here, beam = tmp_path / "here", tmp_path / "beam"
    assert build("talking_faces", people, data_dir=here)[0] == 0
    args = ("--beam_runner", "DirectRunner", "--beam_options=--direct_num_workers=1")
    code, out, err = build("talking_faces", people, *args, data_dir=beam)
    assert code == 0, err
    folder = str(beam / "talking_faces" / "1.0.0")
    assert out == f"{folder}\n"
    assert "left out, unreadable: 1 (for example bob/broken.mp4)" in err
    ours = tfds.builder_from_directory(here / "talking_faces" / "1.0.0")
    theirs = tfds.builder_from_directory(folder)
    assert ours.info.splits.keys() == theirs.info.splits.keys()
    for split in ours.info.splits:
        (a,), (b,) = (x.as_data_source(split) for x in (ours, theirs))
        a, b = from_example(a), from_example(b)
        assert a.id == b.id and list(a.frames) == list(b.frames)
        np.testing.assert_array_equal(a.audio, b.audio)


def test_beam_that_is_not_installed(people, build, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(EnvironmentProblem, match=r"pip install 'lipsync_jax\[beam\]'"):
        parallel.import_beam()
    code, _, err = build("talking_faces", people, "--beam_runner", "DirectRunner")
    assert code == 2 and "Apache Beam does not load" in err
    code, _, err = build("talking_faces", people, "--beam_options=--x=1")
    assert code == 2 and "--beam_options needs --beam_runner" in err


def test_building_and_reading_need_no_tensorflow(people, tmp_path):
    """In a fresh process; what it prints is the folder and nothing else."""
    program = f"""
import sys
from lipsync_jax.cli.main import main
assert main({
        [
            "build",
            "talking_faces",
            "--source",
            str(people),
            "--data_dir",
            str(tmp_path),
            "--detector",
            "haar",
            "--processes",
            "1",
        ]
    }) == 0
import tensorflow_datasets as tfds
builder = tfds.builder_from_directory({str(tmp_path / "talking_faces" / "1.0.0")!r})
assert len(builder.as_data_source("train")) == 1
loaded = {{"tensorflow", "torch", "jax", "apache_beam"}} & set(sys.modules)
print(loaded, file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{tmp_path / 'talking_faces' / '1.0.0'}\n"
    assert done.stderr.splitlines()[-1] == "set()"
