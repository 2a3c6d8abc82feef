"""A prepared dataset of thirty clips, made once."""

import shutil

import pytest
import tiny_clips


@pytest.fixture(scope="session")
def _prepared(tmp_path_factory):
    clips = [tiny_clips.make_clip(str(k), frames=20 + k % 5) for k in range(30)]
    folder = tmp_path_factory.mktemp("prepared")
    return tiny_clips.prepare(folder, shards=3, train=clips)


@pytest.fixture
def dataset(_prepared, tmp_path):
    """Its version folder, which the test may damage; split `train`, three shards."""
    copy = tmp_path / "tiny_clips" / "1.0.0"
    shutil.copytree(_prepared, copy)
    return copy


@pytest.fixture
def shard(dataset):
    """The second of its files, ten records."""
    return dataset / "tiny_clips-train.array_record-00001-of-00003"


@pytest.fixture
def damage(shard):
    """Changes bytes of one record of that file."""

    def flip() -> None:
        data = bytearray(shard.read_bytes())
        data[100_000:100_010] = bytes(10)
        shard.write_bytes(data)

    return flip
