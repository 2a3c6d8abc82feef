"""The reader of TensorFlow's checkpoints: the original's file, and hostile ones."""

import random
import struct

import numpy as np
import pytest
from lip2wav_parity import GOLDENS, filled_tensor
from tensorflow_writer import array_entry, block, message, shape_of, table, write

from convert_torch_weights.lip2wav_names import of_model
from convert_torch_weights.readers.crc32c import crc32c, masked
from convert_torch_weights.readers.sorted_table import read_table
from convert_torch_weights.readers.tf_checkpoint import (
    read_tensorflow,
    tensorflow_prefix,
)
from lipsync_jax.errors import CheckpointError

MICRO = GOLDENS / "ckpt_micro" / "tacotron_model.ckpt-7"
ARRAYS = {
    "a/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a/kernel/Adam": np.ones((2, 3), np.float32),
    "a/kernel/Adam_1": np.ones((2, 3), np.float32),
    "a/kernel_half": np.array([0.5, -1], np.float16),
    "b": np.float64(np.pi).reshape(()),
    "beta1_power": np.float32(0.9).reshape(()),
    "empty": np.zeros((0, 3), np.float32),
    "flags": np.array([True, False]),
    "global_step": np.int64(12).reshape(()),
    "scope/beta2_power": np.float32(0.9).reshape(()),
}
WEIGHTS = ["a/kernel", "a/kernel_half", "b", "empty", "flags"]


@pytest.fixture
def prefix(tmp_path):
    return tmp_path / "model.ckpt-12"


def index(prefix):
    return prefix.with_name(f"{prefix.name}.index")


def data(prefix):
    return prefix.with_name(f"{prefix.name}.data-00000-of-00001")


def refusal(prefix):
    """What the reader says of a bad checkpoint."""
    with pytest.raises(CheckpointError) as caught:
        read_tensorflow(prefix)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 400
    return text


def test_the_originals_checkpoint():
    checkpoint = read_tensorflow(MICRO)
    assert checkpoint.container == "tensorflow"
    assert checkpoint.extra == {"global_step": 7}
    assert len(checkpoint.tensors) == 95
    assert of_model(checkpoint.tensors).keys() == checkpoint.tensors.keys()
    for name, value in checkpoint.tensors.items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, filled_tensor(name, value.shape))


def test_every_type(prefix):
    checkpoint = read_tensorflow(write(prefix, ARRAYS))
    assert list(checkpoint.tensors) == WEIGHTS
    assert checkpoint.extra == {"global_step": 12}
    for name, value in checkpoint.tensors.items():
        assert value.dtype == ARRAYS[name].dtype
        np.testing.assert_array_equal(value, ARRAYS[name])


@pytest.mark.parametrize("end", ["", ".index", ".meta", ".data-00000-of-00001"])
def test_any_part_means_the_checkpoint(end):
    assert tensorflow_prefix(MICRO.with_name(MICRO.name + end)) == MICRO


def test_other_paths_mean_none(tmp_path):
    assert tensorflow_prefix(tmp_path / "wav2lip.pth") is None
    assert tensorflow_prefix(MICRO.with_name("tacotron_model.ckpt-8.index")) is None
    assert tensorflow_prefix(MICRO.parent) is None


def test_several_data_files(prefix):
    half = ARRAYS["a/kernel_half"]
    entries = {
        b"": message((1, 2)),
        b"x": array_entry(half, 0),
        b"y": message((3, 1)) + array_entry(half[:1], 2),
    }
    index(prefix).write_bytes(table([block(list(entries.items()))]))
    for shard in range(2):
        file = prefix.with_name(f"{prefix.name}.data-0000{shard}-of-00002")
        file.write_bytes(half[::-1].tobytes() if shard else half.tobytes())
    assert read_tensorflow(prefix).tensors["y"] == [0.5]


def test_several_blocks():
    blocks = [block([(b"a", b"1"), (b"ab", b"2")]), block([(b"b", b"3")])]
    assert dict(read_table(table(blocks))) == {b"a": b"1", b"ab": b"2", b"b": b"3"}


def test_without_its_data(prefix):
    write(prefix, ARRAYS)
    data(prefix).unlink()
    assert "there is no model.ckpt-12.data-00000-of-00001" in refusal(prefix)


def test_cut_short(prefix):
    write(prefix, ARRAYS)
    whole = data(prefix).read_bytes()
    data(prefix).write_bytes(whole[:-40])
    assert "is cut short: model.ckpt-12.data-00000-of-00001 has" in refusal(prefix)
    data(prefix).write_bytes(whole)
    index(prefix).write_bytes(index(prefix).read_bytes()[:-1])
    assert "its end is missing" in refusal(prefix)


def test_other_bytes(prefix):
    write(prefix, ARRAYS)
    raw = bytearray(data(prefix).read_bytes())
    raw[3] ^= 1
    data(prefix).write_bytes(raw)
    assert "a/kernel in model.ckpt-12.data-00000-of-00001" in refusal(prefix)


def test_other_bytes_of_the_index(prefix):
    write(prefix, ARRAYS)
    whole = index(prefix).read_bytes()
    for position in range(0, 200, 7):
        raw = bytearray(whole)
        raw[position] ^= 0x10
        index(prefix).write_bytes(raw)
        assert "a checksum is wrong" in refusal(prefix)


def test_compressed(prefix):
    write(prefix, ARRAYS)
    index(prefix).write_bytes(table([block([])], compression=1))
    assert "is a compressed table" in refusal(prefix)


def test_no_weights(prefix):
    names = ["global_step", "beta1_power", "a/kernel/Adam"]
    write(prefix, {name: ARRAYS[name] for name in names})
    assert "without weights" in refusal(prefix)


FOUR = masked(crc32c(bytes(4)))


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        # As many bytes as the shape has, but not in the file.
        (((1, 1), (2, shape_of(2**30)), (5, 2**32)), "is cut short"),
        (((1, 1), (2, shape_of(1)), (4, 2**60), (5, 4)), "is cut short"),
        # Another number of bytes than the shape has.
        (((1, 1), (2, shape_of(2**62, 4)), (5, 4)), "for the shape of x"),
        (((1, 1), (2, shape_of(2**64 - 1)), (5, 2**64 - 4)), "for the shape of x"),
        (((1, 1), (2, shape_of(*[1] * 65)), (5, 4)), "for the shape of x"),
        (((1, 1), (2, message((3, 1))), (5, 4)), "for the shape of x"),
        (((1, 1), (2, message((2, 4))), (5, 4)), "for the shape of x"),
        (((1, 1), (5, 8)), "for the shape of x"),
        (((1, 1), (3, 1), (5, 4)), "data file 1 of 1"),
        (((1, 7), (5, 4)), "type 7"),
        (((1, 99), (5, 4)), "type 99"),
        (((1, 1), (5, 4), (7, b"")), "in slices"),
        (((1, b"1"), (5, 4)), "of another kind"),
        (((1, 1), (2, 3), (5, 4)), "of another kind"),
    ],
)
def test_hostile_arrays(prefix, entry, words):
    write(prefix, ARRAYS, x=message(*entry, (6, FOUR)))
    assert words in refusal(prefix)


def test_arrays_that_overlap(prefix):
    zeros = np.zeros(1000, np.float32)
    entries = {f"n{i:03d}": array_entry(zeros, 0) for i in range(500)}
    write(prefix, {"n": zeros}, **entries)
    assert "4000 bytes of 2004000" in refusal(prefix)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (message((1, 1), (2, 1)), "big-endian"),
        (message((1, 0)), "0 data files"),
        (message((1, 2**40)), "data files"),
        (b"\x0b", "no protocol buffer"),
        (b"\x0a\x05a", "no protocol buffer"),
        (b"\xff" * 20, "a number has no end"),
    ],
)
def test_hostile_headers(prefix, header, words):
    assert words in refusal(write(prefix, ARRAYS, header=header))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (block([(b"b", b""), (b"a", b"")]), "not sorted"),
        (block([(b"b", b""), (b"b", b"")]), "not sorted"),
        (block([(b"k" * 1001, b"")]), "a key of 1001 bytes"),
        (b"\x05\x01\x00a" + struct.pack("<II", 0, 1), "outside of its block"),
        (b"\x00\x01\x7fa" + struct.pack("<II", 0, 1), "outside of its block"),
        (b"\x00\xff\xff\xff\xff\x7f\x00" + struct.pack("<II", 0, 1), "outside"),
        (struct.pack("<I", 2**31), "too short"),
        (b"", "too short"),
        (block([(b"a\nb", b"")]), "the name"),
    ],
)
def test_hostile_blocks(prefix, content, words):
    write(prefix, ARRAYS)
    index(prefix).write_bytes(table([block([(b"", message((1, 1)))]), content]))
    assert words in refusal(prefix)


def test_a_block_that_counts_twice(prefix):
    write(prefix, ARRAYS)
    content = block([(b"", message((1, 1)))])
    index(prefix).write_bytes(table([content, content]))
    assert "not sorted" in refusal(prefix)


def test_a_block_outside(prefix):
    write(prefix, ARRAYS)
    whole = bytearray(index(prefix).read_bytes())
    whole[-48:-38] = b"\xff" * 4 + b"\x7f" + b"\xff" * 4 + b"\x7f"
    index(prefix).write_bytes(whole)
    assert "is a damaged table" in refusal(prefix)


def test_an_endless_index(prefix):
    write(prefix, ARRAYS)
    with index(prefix).open("r+b") as file:
        file.truncate(2**40)
    assert f"an index of {2**40} bytes" in refusal(prefix)


def test_random_changes_under_a_good_checksum(prefix):
    """Whatever the index says, the reader refuses it in one line or reads arrays."""
    write(prefix, ARRAYS)
    entries = dict(read_table(index(prefix).read_bytes()))
    whole = block(sorted(entries.items()))
    chance = random.Random(1)
    refused = 0
    for _ in range(400):
        raw = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        index(prefix).write_bytes(table([bytes(raw)]))
        try:
            read_tensorflow(prefix)
        except CheckpointError as error:
            refused += "\n" not in str(error)
    assert 100 < refused <= 400


@pytest.mark.parametrize(
    ("given", "checksum"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_checksums(given, checksum):
    assert crc32c(given) == checksum


def test_checksums_of_any_length():
    def one_by_one(given):
        register = 0xFFFFFFFF
        for byte in given:
            register ^= byte
            for _ in range(8):
                register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
        return register ^ 0xFFFFFFFF

    chance = random.Random(2)
    for length in (*range(20), 63, 64, 65, 1000, 4097):
        given = chance.randbytes(length)
        assert crc32c(given) == one_by_one(given)
