"""Speech as mono float32 at 16 kHz."""

import wave
from pathlib import Path

import numpy as np
import pytest

from lipsync_jax.audio.load import load_audio, stream_audio
from lipsync_jax.errors import AudioError, MediaError
from lipsync_jax.media.sound import SoundReader

GOLDEN = Path(__file__).parents[1] / "goldens" / "wav2lip" / "resample_44k.npz"


def write_wav(path, pcm, rate=16_000):
    """Writes int16 samples (n,) or (n, channels)."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if pcm.ndim == 1 else pcm.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm.astype("<i2").tobytes())
    return path


def noise(*shape):
    return np.random.default_rng(0).integers(-(2**15), 2**15, shape).astype(np.int16)


def test_16_khz_is_exact(tmp_path):
    pcm = noise(20_000)
    sound = load_audio(write_wav(tmp_path / "speech ü.wav", pcm))
    assert sound.dtype == np.float32
    np.testing.assert_array_equal(sound, pcm.astype(np.float32) / 32768)


def test_mono_is_the_mean_of_the_channels(tmp_path):
    pcm = noise(5_000, 2)
    sound = load_audio(write_wav(tmp_path / "a.wav", pcm))
    np.testing.assert_array_equal(sound, (pcm / 32768).mean(axis=1).astype(np.float32))


def test_resampling_against_the_golden(tmp_path):
    """Golden: resampy's kaiser_best; good resamplers differ by up to 4e-3."""
    golden = np.load(GOLDEN)
    sound = load_audio(write_wav(tmp_path / "a.wav", golden["pcm44"], 44_100))
    np.testing.assert_allclose(sound, golden["out16"], atol=4e-3)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_resampling_keeps_time_and_level(tmp_path, rate):
    """A tone keeps its phase: half a sample at 16 kHz would be an error of 0.04."""
    seconds, frequency = 2, 440
    t = np.arange(seconds * rate) / rate
    pcm = np.round(16_000 * np.sin(2 * np.pi * frequency * t)).astype(np.int16)
    sound = load_audio(write_wav(tmp_path / "a.wav", pcm, rate))
    expected = (
        16_000
        / 32_768
        * np.sin(2 * np.pi * frequency * np.arange(seconds * 16_000) / 16_000)
    )
    np.testing.assert_allclose(sound[200:-200], expected[200:-200], atol=3e-4)


@pytest.mark.parametrize("count", [1, 100, 44_100, 44_101, 132_299])
def test_length_rule(tmp_path, count):
    path = write_wav(tmp_path / "a.wav", noise(count), 44_100)
    assert len(load_audio(path)) == -(-count * 16_000 // 44_100)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_blocks_join_to_the_whole(tmp_path, rate):
    path = write_wav(tmp_path / "a.wav", noise(3 * rate + 77), rate)
    blocks = list(stream_audio(path, block_seconds=0.5))
    assert [len(block) for block in blocks[:-1]] == [8_000] * (len(blocks) - 1)
    assert 0 < len(blocks[-1]) <= 8_000
    np.testing.assert_array_equal(np.concatenate(blocks), load_audio(path))


def test_streaming_reads_little(tmp_path, monkeypatch):
    path = write_wav(tmp_path / "a.wav", np.zeros(44_100 * 60, np.int16), 44_100)
    read = 0
    blocks = SoundReader.blocks

    def counted(self):
        nonlocal read
        for block in blocks(self):
            read += block.shape[1]
            yield block

    monkeypatch.setattr(SoundReader, "blocks", counted)
    assert len(next(stream_audio(path, block_seconds=1))) == 16_000
    assert read < 2 * 44_100


def test_errors(tmp_path):
    with pytest.raises(MediaError, match="no such file"):
        load_audio(tmp_path / "a.wav")
    text = tmp_path / "a.mp3"
    text.write_text("not music")
    with pytest.raises(MediaError, match="not a video or audio file"):
        load_audio(text)
    with pytest.raises(AudioError, match="is empty"):
        load_audio(write_wav(tmp_path / "empty.wav", noise(0)))


def test_real_clips(clips):
    assert len(load_audio(clips / "latentsync_demo1.wav")) == 153_600
    assert len(load_audio(clips / "hdtf_khill.mp4")) == 128_000
    for name in ("retalk_3.mp4", "latentsync_demo1.mp4"):
        sound = load_audio(clips / name)
        assert 0.1 < np.abs(sound).max() < 1.1
