"""Sound on the file's time line: gaps, padding, channels, damage."""

from fractions import Fraction

import av
import numpy as np
import pytest

from lipsync_jax.errors import AudioError, MediaError
from lipsync_jax.media.sound import SoundReader

RATE = 48_000


def write_blocks(path, codec, blocks, format="fltp"):
    """Encodes (start in seconds, (channels, n) float32) blocks at 48 kHz."""
    with av.open(str(path), "w") as container:
        layout = ("mono", "stereo")[len(blocks[0][1]) - 1]
        stream = container.add_stream(codec, rate=RATE, layout=layout)
        for start, block in blocks:
            frame = av.AudioFrame.from_ndarray(block, "fltp", layout)
            frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
            frame.pts = round(start * RATE)
            resampler = av.AudioResampler(stream.format, layout, RATE)
            for converted in resampler.resample(frame):
                container.mux(stream.encode(converted))
        container.mux(stream.encode(None))
    return path


def tone(seconds, channels=1):
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)
    return np.repeat(wave[None].astype(np.float32), channels, axis=0)


def read(path):
    return np.concatenate(list(SoundReader(path).blocks()), axis=1)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.m4a", "aac"),
        ("a.mp3", "libmp3lame"),
        ("a.ogg", "libopus"),
        ("a.flac", "flac"),
    ],
)
def test_encoder_padding_is_left_out(tmp_path, name, codec):
    wave = tone(1.5, channels=2)
    sound = read(write_blocks(tmp_path / name, codec, [(0, wave)]))
    assert sound.shape == wave.shape
    assert np.abs(sound - wave)[:, 2000:-2000].max() < 0.03


def test_gap_is_silence(tmp_path):
    """A recording that lost a second: what follows keeps its time."""
    wave = tone(1)
    path = write_blocks(tmp_path / "a.mkv", "pcm_f32le", [(0, wave), (2, wave)])
    sound = read(path)
    assert sound.shape == (1, 3 * RATE)
    np.testing.assert_array_equal(sound[:, :RATE], wave)
    np.testing.assert_array_equal(sound[:, RATE : 2 * RATE], 0)
    np.testing.assert_array_equal(sound[:, 2 * RATE :], wave)


def test_overlap_is_dropped(tmp_path):
    wave = tone(1)
    path = write_blocks(tmp_path / "a.mkv", "pcm_f32le", [(0, wave), (0.5, wave)])
    sound = read(path)
    assert sound.shape == (1, RATE * 3 // 2)
    np.testing.assert_array_equal(sound[:, RATE:], wave[:, RATE // 2 :])


def test_millisecond_time_stamps_do_not_tear(tmp_path):
    """1024 samples are 21.33 ms; Matroska says 21, 43, 64 …"""
    wave = tone(5)
    blocks = [(i / RATE, wave[:, i : i + 1024]) for i in range(0, 5 * RATE, 1024)]
    np.testing.assert_array_equal(
        read(write_blocks(tmp_path / "a.mkv", "pcm_f32le", blocks)), wave
    )


def test_time_stamps_that_jump(tmp_path):
    path = write_blocks(
        tmp_path / "a.mkv", "pcm_f32le", [(0, tone(0.1)), (9000, tone(0.1))]
    )
    with pytest.raises(MediaError, match=r"jump from 0\.10 s to 9000\.00 s"):
        read(path)


@pytest.mark.parametrize(
    ("codec", "quantum"),
    [
        ("pcm_u8", 2**-7),
        ("pcm_s16le", 2**-15),
        ("pcm_s24le", 2**-23),
        ("pcm_s32le", 2**-23),
        ("pcm_f64le", 2**-23),
    ],
)
def test_sample_formats(tmp_path, codec, quantum):
    wave = tone(0.2, channels=2)
    sound = read(write_blocks(tmp_path / "a.wav", codec, [(0, wave)]))
    assert sound.dtype == np.float32
    assert np.abs(sound - wave).max() <= quantum


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_a_number_is_named_with_its_time(tmp_path, value):
    wave = tone(2, channels=2)
    wave[1, RATE + RATE // 2] = value
    path = write_blocks(tmp_path / "a.wav", "pcm_f32le", [(0, wave)])
    with pytest.raises(AudioError, match=r"a\.wav: the sample at 1\.500 s is NaN"):
        read(path)


def test_digital_silence(tmp_path):
    path = write_blocks(
        tmp_path / "a.m4a", "aac", [(0, np.zeros((1, RATE), np.float32))]
    )
    np.testing.assert_array_equal(read(path), np.zeros((1, RATE)))


def test_junk_after_an_mp3_is_ignored(tmp_path):
    path = write_blocks(tmp_path / "a.mp3", "libmp3lame", [(0, tone(1))])
    path.write_bytes(path.read_bytes() + b"TAG" + b"song title".ljust(125, b"\0"))
    assert read(path).shape == (1, RATE)


def test_latin1_tags_do_not_stop_a_file(tmp_path, write_wav):
    path = write_wav(tmp_path / "a.wav", np.zeros(160, np.int16))
    info = b"INFOINAM\x06\0\0\0Caf\xe9s\0"
    data = path.read_bytes() + b"LIST" + len(info).to_bytes(4, "little") + info
    path.write_bytes(data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:])
    assert read(path).shape == (1, 160)


def test_sound_that_changes_its_channels(tmp_path):
    parts = [
        write_blocks(tmp_path / f"{channels}.ts", "mp2", [(start, tone(1, channels))])
        for channels, start in ((1, 0), (2, 1))
    ]
    path = tmp_path / "a.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(MediaError, match="changes from 48000 Hz, 1 channels to 48000"):
        read(path)
