"""Batches: a function of seed and step alone, whoever makes them."""

import itertools
import time
from contextlib import closing

import numpy as np
import pytest
import tiny_clips

from lipsync_jax.data import frames
from lipsync_jax.data.examples import Examples
from lipsync_jax.data.frames import KeptFrames, Room, read_frames
from lipsync_jax.data.memory import ClipMemory
from lipsync_jax.data.pipeline import eval_batches, train_batches, usable_clips
from lipsync_jax.data.source import open_split
from lipsync_jax.errors import ConfigError, DataError
from lipsync_jax.systems.wav2lip import examples as wav2lip


def some_starts(meta):
    return np.arange(3, len(meta.valid) - 3)


def an_example(clip, start, rng):
    return {
        "clip": np.int32(int(clip.id)),
        "start": np.int32(start),
        "luck": rng.random(),
        "pixel": read_frames(clip, start, 1, 4)[0, 0, 0, 0],
    }


EXAMPLES = Examples(some_starts, an_example)


@pytest.fixture
def source(dataset):
    return open_split(dataset, "train")


def run(source, count, examples=EXAMPLES, start=0, **options):
    """Batches `start`, ..., `start + count - 1` as dictionaries."""
    options = {"batch_size": 8, "seed": 5, "step": start} | options
    with closing(train_batches(source, examples, **options)) as batches:
        return list(itertools.islice(batches, count))


def assert_equal(found, want):
    assert len(found) == len(want)
    for a, b in zip(found, want, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_examples_are_stacked(source):
    batch = run(source, 1)[0]
    assert {name: array.shape for name, array in batch.items()} == dict.fromkeys(
        ("clip", "start", "luck", "pixel"), (8,)
    )
    assert (batch["pixel"] == tiny_clips.shade(batch["start"])).all()


def test_every_clip_once_in_each_epoch_in_a_new_order(source):
    batches = run(source, 15, batch_size=10)  # five epochs of three batches
    seen = np.concatenate([b["clip"] for b in batches]).reshape(5, 30)
    assert (np.sort(seen) == np.arange(30)).all()
    assert len(np.unique(seen, axis=0)) == 5
    # An epoch's windows are others, too.
    starts = np.concatenate([b["start"] for b in batches]).reshape(5, 30)
    starts = np.take_along_axis(starts, np.argsort(seen), axis=1)
    assert all(len(set(column)) > 1 for column in starts.T)


def test_epochs_may_end_within_a_batch(source):
    seen = np.concatenate([b["clip"] for b in run(source, 15, batch_size=8)])
    assert (np.sort(seen.reshape(4, 30)) == np.arange(30)).all()


def test_the_same_run_twice_whatever_the_threads(source):
    want = run(source, 6)
    assert_equal(run(source, 6, threads=1), want)
    assert_equal(run(source, 6, threads=16), want)
    assert not np.array_equal(run(source, 1, seed=6)[0]["clip"], want[0]["clip"])


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_the_same_global_batches(source, count):
    want = run(source, 6)
    parts = [run(source, 6, process_index=h, process_count=count) for h in range(count)]
    joined = [
        {name: np.concatenate([part[name] for part in step]) for name in step[0]}
        for step in zip(*parts, strict=True)
    ]
    assert_equal(joined, want)


@pytest.mark.parametrize("step", [1, 7])
def test_a_run_goes_on_where_it_stopped(source, step):
    want = run(source, step + 3)[step:]
    assert_equal(run(source, 3, start=step), want)
    with closing(train_batches(source, EXAMPLES, batch_size=8, seed=5)) as batches:
        next(batches)
        batches.set_state({"next_index": step})
        assert_equal(list(itertools.islice(batches, 3)), want)
        assert batches.get_state() == {"next_index": step + 3}


def test_another_number_of_processes_goes_on_as_well(source):
    want = run(source, 2, start=4, batch_size=4)
    parts = [
        run(source, 2, start=4, batch_size=4, process_index=h, process_count=2)
        for h in range(2)
    ]
    found = [
        np.concatenate([a["clip"], b["clip"]]) for a, b in zip(*parts, strict=True)
    ]
    assert np.array_equal(found, [b["clip"] for b in want])


def test_fewer_clips_than_a_batch_holds(source):
    (batch,) = run(source.head(3), 1, batch_size=7)
    ids = sorted(int(m.id) for m in source.meta[:3])
    assert sorted(batch["clip"][:3]) == sorted(batch["clip"][3:6]) == ids


def test_evaluation_is_the_same_each_time(source):
    def evaluate(**options):
        options = {"batch_size": 4, "batches": 3, "seed": 1} | options
        with closing(eval_batches(source, EXAMPLES, **options)) as batches:
            return list(batches)

    want = evaluate()
    assert len(want) == 3
    assert_equal(evaluate(), want)
    second = evaluate(process_index=1, process_count=2)
    assert_equal(second, [{k: v[2:] for k, v in batch.items()} for batch in want])


def test_a_batch_that_cannot_be_shared(source):
    message = "batch_size 6: cannot be shared by 4 processes; use a multiple of 4"
    with pytest.raises(ConfigError, match=message):
        train_batches(source, EXAMPLES, batch_size=6, seed=0, process_count=4)


def test_unusable_clips_are_left_out_and_counted_once(tmp_path, caplog):
    good = [tiny_clips.make_clip(str(k)) for k in range(6)]
    bad = [
        tiny_clips.make_clip("6", gaps=range(24)),
        tiny_clips.make_clip("7", samples=0),
        tiny_clips.make_clip("8", frames=15),
        tiny_clips.make_clip("9", gaps=range(4, 24, 5)),
    ]
    source = open_split(tiny_clips.prepare(tmp_path, train=good + bad), "train")
    examples = wav2lip.examples(8)
    for _ in range(2):
        kept = usable_clips(source, examples)
        assert sorted(source.meta[k].id for k in kept) == list("012345")
    (told,) = caplog.messages
    assert "4 of 10 clips cannot be used: 2 too short, or with too many gaps" in told
    assert "1 without a face, 1 without sound" in told


def test_no_usable_clip_is_an_error(source):
    nothing = Examples(lambda meta: np.zeros(0, np.int64), an_example)
    with pytest.raises(DataError, match="train: no clip can be used: 30 too short"):
        train_batches(source, nothing, batch_size=2, seed=0)


def test_a_record_damaged_later_is_replaced(source, damage, caplog):
    want = run(source, 8)
    damage()
    found = run(source, 8)
    (number,) = source.report.unreadable
    lost = int(source.meta[number].id)
    order = np.concatenate([b["clip"] for b in want])
    again = np.concatenate([b["clip"] for b in found])
    assert lost in order and lost not in again
    # The next in turn takes the place; nothing else changes.
    after = np.append(order[1:], -1)
    kept = order != lost
    np.testing.assert_array_equal(again[:-1], np.where(kept, order, after)[:-1])
    luck = [np.concatenate([b["luck"] for b in run])[kept] for run in (want, found)]
    np.testing.assert_array_equal(*luck)
    (told,) = caplog.messages
    assert "record" in told and "hash mismatch" in told
    assert_equal(run(source, 8, process_count=1), found)


def test_too_many_damaged_records_end_the_run(source, shard):
    shard.write_bytes(b"nothing left")
    with pytest.raises(DataError, match=f"of 30 records cannot be read.*{shard}"):
        run(source, 10)


def test_a_frame_that_is_no_picture_counts_as_damage(tmp_path, caplog):
    clips = [tiny_clips.make_clip(str(k)) for k in range(4)]
    clips[2].frames[:] = [b"not a picture"] * 24
    source = open_split(tiny_clips.prepare(tmp_path, train=clips), "train")
    assert 2 not in np.concatenate([b["clip"] for b in run(source, 3)])
    # Readers that another test left behind may still be talking.
    (told,) = [message for message in caplog.messages if str(tmp_path) in message]
    assert "of clip 2 is no picture" in told


@pytest.fixture
def decoded(monkeypatch):
    """Collects the data of every picture that is decoded."""
    calls = []
    decode = frames.decode

    def counting(data):
        calls.append(data)
        return decode(data)

    monkeypatch.setattr(frames, "decode", counting)
    return calls


def test_only_the_frames_used_are_decoded(source, decoded):
    clip = source[0]
    example = wav2lip.example(clip, 9, np.random.default_rng(0), resolution=8)
    first = int(np.flatnonzero([f == decoded[5] for f in clip.frames])[0])
    assert decoded == clip.frames[9:14] + clip.frames[first : first + 5]
    assert (example["reference"][0] == tiny_clips.shade(first)).all()


def test_with_memory_each_frame_is_decoded_once(source, decoded):
    batches = run(source, 60, threads=1)
    pairs = {
        (int(clip), int(start))
        for batch in batches
        for clip, start in zip(batch["clip"], batch["start"], strict=True)
    }
    assert len(decoded) <= len(pairs) + 8  # one batch may have been made in vain
    assert_equal(run(source, 60, memory=0), batches)
    assert len(decoded) >= len(pairs) + 480


def test_memory_is_bounded(source):
    clip = source[0]
    memory = ClipMemory(source, limit=10)
    assert memory[0] is not memory[0]
    memory = ClipMemory(source, limit=200_000)
    first = memory[0]
    assert memory[0] is first
    np.testing.assert_array_equal(
        read_frames(first, 2, 9, 8), read_frames(clip, 2, 9, 8)
    )
    kept = sum(memory[k] is memory[k] for k in range(30))
    assert 1 <= kept <= 200_000 / clip.audio.nbytes


def test_kept_frames_know_their_resolution(source):
    clip = source[0]
    kept = KeptFrames(clip.frames, Room(10**6))
    assert list(kept) == list(clip.frames)
    small, large = np.empty((4, 4, 3), np.uint8), np.empty((6, 6, 3), np.uint8)
    kept.keep(1, np.full((4, 4, 3), 7, np.uint8))
    assert kept.recall(1, small) and (small == 7).all()
    assert not kept.recall(1, large) and not kept.recall(2, small)


def test_starting_a_large_split_is_quick(source):
    source.meta[:] = source.meta * 500
    start = time.perf_counter()
    train_batches(source, wav2lip.examples(8), batch_size=2, seed=0).close()
    assert time.perf_counter() - start < 10  # 15 000 clips; takes about one second
