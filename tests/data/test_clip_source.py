"""Opening a prepared dataset: clips, the index beside it, damage, mistakes."""

import json
import logging
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tensorflow_datasets as tfds
import tiny_clips

from lipsync_jax.data import index, record, schema
from lipsync_jax.data.schema import meta_of
from lipsync_jax.data.source import open_split
from lipsync_jax.errors import DataError


def assert_same(found, want):
    for name, value in vars(want).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(found, name), value)
            assert getattr(found, name).dtype == value.dtype, name
        elif name == "frames":
            assert list(found.frames) == list(value)
        elif name != "mouth":
            assert getattr(found, name) == value, name


def clip_named(name):
    return tiny_clips.make_clip(name, frames=20 + int(name) % 5)


def test_clips_come_back_as_they_were_written(dataset):
    source = open_split(dataset, "train")
    assert len(source) == 30
    for clip, meta in zip(source, source.meta, strict=True):
        assert_same(clip, clip_named(clip.id))
        assert_same(meta, meta_of(clip))
    assert len(source[0].mouth) == 0


def test_the_head_of_a_split(dataset):
    source = open_split(dataset, "train")
    assert [c.id for c in source.head(2)] == [m.id for m in source.meta[:2]]
    assert len(source.head(99)) == 30


def test_of_several_versions_the_newest_is_taken(dataset):
    newer = dataset.with_name("1.10.0")
    shutil.copytree(dataset, newer)
    dataset.rename(dataset.with_name("1.9.0"))
    assert str(newer) in open_split(newer.parent, "train").name


def no_reading(*_):
    raise AssertionError("the records are read again")


def test_the_index_saves_the_second_reading(dataset, monkeypatch):
    first = open_split(dataset, "train")
    monkeypatch.setattr(index, "_build", no_reading)
    second = open_split(dataset, "train")
    for a, b in zip(first.meta, second.meta, strict=True):
        assert_same(b, a)
    assert_same(second[7], first[7])
    assert {p.name for p in dataset.glob("*index*")} == {"train.index.npz"}


def test_an_index_of_other_files_is_not_used(dataset, tmp_path):
    open_split(dataset, "train")
    clips = [tiny_clips.make_clip(f"new {k}") for k in range(5)]
    other = tiny_clips.prepare(tmp_path / "other", train=clips)
    shutil.copy(dataset / "train.index.npz", other)
    assert {m.id for m in open_split(other, "train").meta} == {c.id for c in clips}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and then nothing", b"\x80\x04K"])
def test_a_damaged_index_is_made_again(dataset, content):
    want = [m.id for m in open_split(dataset, "train").meta]
    (dataset / "train.index.npz").write_bytes(content)
    assert [m.id for m in open_split(dataset, "train").meta] == want
    assert (dataset / "train.index.npz").stat().st_size > 500


def test_no_flipped_byte_of_the_index_reaches_the_clips(dataset):
    path = dataset / "train.index.npz"
    want = [m.samples for m in open_split(dataset, "train").meta]
    good = path.read_bytes()
    for position in range(0, len(good), 97):
        path.write_bytes(
            good[:position] + bytes([good[position] ^ 85]) + good[position + 1 :]
        )
        assert [m.samples for m in open_split(dataset, "train").meta] == want


def test_an_unwritable_folder_only_costs_time(dataset, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError("read-only")

    monkeypatch.setattr(index.tempfile, "mkstemp", refuse)
    assert len(open_split(dataset, "train")) == 30
    assert not list(dataset.glob("*index*"))


def test_a_full_disk_leaves_no_half_index(dataset, monkeypatch):
    def fail(file, **_):
        file.write(b"some")
        raise OSError("No space left on device")

    monkeypatch.setattr(index.np, "savez_compressed", fail)
    assert len(open_split(dataset, "train")) == 30
    assert not list(dataset.glob("*index*"))


def test_a_corrupt_record_is_reported_and_left_out(dataset, shard, damage, caplog):
    names = [m.id for m in open_split(dataset, "train").meta]
    (dataset / "train.index.npz").unlink()
    damage()
    for _ in ("reading", "from the index"):
        caplog.clear()
        source = open_split(dataset, "train")
        assert len(source) == 29
        ((number, reason),) = source.report.unreadable.items()
        assert 10 <= number < 20
        (told,) = caplog.messages
        assert f"{shard} record {number - 10} (" in told
        assert "hash mismatch" in reason and "hash mismatch" in told
        assert [m.id for m in source.meta] == names[:number] + names[number + 1 :]
        assert [c.id for c in source] == [m.id for m in source.meta]


# At 64 KiB blocks ArrayRecord sees an empty file, elsewhere a damaged one.
@pytest.mark.parametrize("size", [0, 1, 65_536, 70_000, 131_072])
def test_a_truncated_shard_is_an_error_that_names_it(dataset, shard, size):
    shard.write_bytes(shard.read_bytes()[:size])
    with pytest.raises(DataError) as error:
        open_split(dataset, "train")
    assert "10 of 30 records cannot be read" in str(error.value)
    assert f"{shard} records 0-9 (" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_shard_is_an_error_that_names_it(dataset, shard):
    open_split(dataset, "train")
    shard.unlink()
    with pytest.raises(DataError, match=f"{shard} records 0-9 .*No such file"):
        open_split(dataset, "train")


def test_no_such_folder(tmp_path):
    with pytest.raises(DataError, match="no such folder; prepare a dataset with"):
        open_split(tmp_path / "nowhere", "train")


def test_a_folder_of_something_else(tmp_path):
    (tmp_path / "mvlrs_v1").mkdir()
    (tmp_path / "readme.txt").touch()
    with pytest.raises(DataError, match=r"not a prepared .* mvlrs_v1, readme\.txt;"):
        open_split(tmp_path, "train")


def test_unknown_split(dataset):
    with pytest.raises(DataError, match="no split 'val'; there are: train"):
        open_split(dataset, "val")


@pytest.mark.parametrize("lengths", [[], ["0"]])
def test_empty_split(dataset, lengths):
    path = dataset / "dataset_info.json"
    described = json.loads(path.read_text())
    described["splits"][0]["shardLengths"] = lengths
    path.write_text(json.dumps(described))
    with pytest.raises(DataError, match="split train: it holds no clips"):
        open_split(dataset, "train")


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_a_damaged_description(dataset, name):
    (dataset / name).write_text("{ not JSON")
    with pytest.raises(DataError, match="its description cannot be read") as error:
        open_split(dataset, "train")
    assert "\n" not in str(error.value)


class OtherRecords(tfds.core.GeneratorBasedBuilder):
    """Not clips."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {"id": tfds.features.Text(), "valid": np.float32}
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield "a", {"id": "a", "valid": 1.0}


def test_records_of_another_schema(tmp_path):
    builder = OtherRecords(data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare()
    with pytest.raises(DataError, match=r"not clips: .*frames, box") as error:
        open_split(builder.data_path, "train")
    assert "valid" in str(error.value)


def test_another_file_format(dataset):
    path = dataset / "dataset_info.json"
    path.write_text(path.read_text().replace('"array_record"', '"tfrecord"'))
    with pytest.raises(DataError, match="tfrecord files; expected array_record"):
        open_split(dataset, "train")


@pytest.mark.parametrize("data", [b"", b"\xff" * 50, b"\x0a\x00"])
def test_bytes_that_are_no_record(data):
    with pytest.raises(record.DamagedRecord, match="it is"):
        record.parse(data)


@pytest.mark.parametrize(
    "change,message",
    [
        ({"valid": np.ones(3, bool)}, "it has 24 frames, 3 marks and 24 boxes"),
        ({"fps": float("nan")}, "it has nan frames per second"),
    ],
)
def test_parts_that_do_not_fit_each_other(change, message):
    features = schema.features()
    example = schema.to_example(replace(tiny_clips.make_clip("a"), **change))
    data = features.serialize_example(example)
    with pytest.raises(record.DamagedRecord, match=message):
        record.parse(data)


def test_neither_tensorflow_nor_torch_is_imported(dataset):
    program = f"""
import sys
from dataclasses import replace
from lipsync_jax.data import device, pipeline, source
from lipsync_jax.systems.wav2lip.examples import examples
batches = pipeline.train_batches(
    source.open_split({str(dataset)!r}, "train"), examples(8), batch_size=2, seed=0
)
next(batches)
batches.close()
print([m for m in ("tensorflow", "torch", "tiny_clips") if m in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_indexing_says_nothing_when_all_is_well(dataset, caplog, capsys):
    with caplog.at_level(logging.WARNING):
        open_split(dataset, "train")
    assert not caplog.messages
    assert capsys.readouterr().err == ""
