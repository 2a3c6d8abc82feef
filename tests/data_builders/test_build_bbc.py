"""LRS2 and LRW: trees as the BBC hands them out, with drawn videos in them."""

import shutil

import pytest
import tensorflow_datasets as tfds

from lipsync_jax.data.schema import from_example


def put(folder, drawn_video, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(drawn_video, folder / name)


def clips(folder):
    builder = tfds.builder_from_directory(folder.strip())
    return {
        split: [from_example(record) for record in builder.as_data_source(split)]
        for split in builder.info.splits
    }


@pytest.fixture
def lrs2(tmp_path, drawn_video):
    source = tmp_path / "LRS2"
    names = [f"{folder}/64{i}/00001" for i in (1, 2, 3) for folder in ("main",)]
    names.append("pretrain/641/00001")
    put(source / "mvlrs_v1", drawn_video, *(f"{name}.mp4" for name in names))
    for name in names:
        text = source / "mvlrs_v1" / f"{name}.txt"
        text.write_text(f"Text:  WORDS OF {name}\nConf:  6\n\nWORD START END\n")
    (source / "train.txt").write_text("641/00001\n")
    (source / "val.txt").write_text("642/00001 NF\n")
    (source / "mvlrs_v1" / "test.txt").write_text("643/00001 MV\n")
    (source / "pretrain.txt").write_text("641/00001\n")
    return source


def test_lrs2(lrs2, build):
    code, out, err = build("lrs2", lrs2)
    assert code == 0, err
    found = clips(out)
    assert {split: [clip.id for clip in part] for split, part in found.items()} == {
        "train": ["main_641_00001"],
        "validation": ["main_642_00001"],
        "test": ["main_643_00001"],
        "pretrain": ["pretrain_641_00001"],
    }
    (clip,) = found["validation"]
    assert clip.text == "WORDS OF main/642/00001"
    assert (clip.speaker, clip.label, clip.source) == ("", -1, "main/642/00001")
    assert len(clip.frames) == 40 and clip.valid.all()


def test_lrs2_without_pretrain_and_given_the_inner_folder(lrs2, build):
    (lrs2 / "pretrain.txt").unlink()
    code, out, err = build("lrs2", lrs2 / "mvlrs_v1")
    assert code == 0, err
    assert set(clips(out)) == {"train", "validation", "test"}


def test_lrs2_wrong_tree(lrs2, build, tmp_path):
    code, _, err = build("lrs2", tmp_path)
    assert code == 2
    assert (
        f"{tmp_path}: is not the LRS2 tree: expected mvlrs_v1/main in it, found: "
        in err
    )
    assert "for research only" in err and "https://www.robots.ox.ac.uk" in err
    (lrs2 / "train.txt").unlink()
    code, _, err = build("lrs2", lrs2)
    assert code == 2 and "train.txt is missing, here and in mvlrs_v1; found: " in err


def test_lrs2_with_absent_files(lrs2, build):
    with (lrs2 / "val.txt").open("a") as file:
        file.write("700/00001\n700/00002\n")
    code, _, err = build("lrs2", lrs2)
    assert code == 2
    assert "val.txt: names 3 videos, 2 of them are not there: 700/00001, 700/0" in err


def test_lrs2_split_without_usable_clip(lrs2, build):
    (lrs2 / "mvlrs_v1" / "main" / "642" / "00001.mp4").write_text("damaged")
    code, _, err = build("lrs2", lrs2)
    assert code == 2
    assert (
        "no usable clip for split validation of lrs2 in 1 videos: left out, unre" in err
    )


def test_lrw(tmp_path, drawn_video, build):
    source = tmp_path / "lrw"
    names = [
        f"lipread_mp4/{word}/{folder}/{word}_0000{number}.mp4"
        for number, word in enumerate(("ABOUT", "SPEECH"))
        for folder in ("train", "val", "test")
    ]
    put(source, drawn_video, *names)
    code, out, err = build("lrw", source)
    assert code == 0, err
    assert "2 of 500 words; labels count those found" in err
    found = clips(out)
    assert {split: len(part) for split, part in found.items()} == {
        "train": 2,
        "validation": 2,
        "test": 2,
    }
    for clip in found["test"]:
        assert (clip.text, clip.label) in (("ABOUT", 0), ("SPEECH", 1))
        assert clip.id == f"{clip.text}_{clip.text}_0000{clip.label}.mp4"


def test_lrw_wrong_tree(tmp_path, build):
    (tmp_path / "other").mkdir()
    code, _, err = build("lrw", tmp_path)
    assert code == 2
    assert "is not the LRW tree: expected lipread_mp4/WORD/train/WORD_00001.mp4" in err
    assert "found: other. LRW is for research only" in err
