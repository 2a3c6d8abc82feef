"""The loader benchmark: both loaders give the same kind of examples."""

import numpy as np
import pytest
import soundfile
import tiny_clips
from parity import golden

from lipsync_jax.bench import naive_loader
from lipsync_jax.bench.loader import bench_loader
from lipsync_jax.errors import OptionError


def test_the_naive_mel_is_the_originals(tmp_path):
    want = golden("audio_mel")
    soundfile.write(tmp_path / "audio.wav", want["pcm"], 16_000, subtype="PCM_16")
    found = naive_loader._mel(tmp_path / "audio.wav", "soxr_hq")
    np.testing.assert_allclose(found, want["mel"], atol=1e-4)


@pytest.mark.parametrize("system", ["expert", "wav2lip"])
def test_naive_items_are_like_the_originals(tmp_path, system):
    clip = tiny_clips.make_clip("a", frames=30, gaps=(9,))
    naive_loader.write_files([clip], tmp_path, 44_100)
    assert len(list((tmp_path / "a").glob("*.jpg"))) == 29
    assert soundfile.info(tmp_path / "a" / "audio.wav").samplerate == 44_100
    batch = next(naive_loader.naive_batches(tmp_path, system, 3, 96, "soxr_hq"))
    shapes = {name: array.shape for name, array in batch.items()}
    assert {array.dtype for array in batch.values()} == {np.dtype(np.float32)}
    if system == "expert":
        assert shapes == {"face": (3, 15, 48, 96), "mel": (3, 1, 80, 16), "label": (3,)}
        return
    assert shapes == {
        "x": (3, 6, 5, 96, 96),
        "mels": (3, 5, 1, 80, 16),
        "mel": (3, 1, 80, 16),
        "y": (3, 3, 5, 96, 96),
    }
    assert (batch["x"][:, :3, :, 48:] == 0).all()
    np.testing.assert_array_equal(batch["x"][:, :3, :, :48], batch["y"][:, :, :, :48])


def test_rates_of_both(dataset):
    found = bench_loader(dataset, system="expert", batch_size=4, seconds=1)
    assert (found["clips"], found["batch_size"]) == (20, 4)
    assert found["naive_windows_per_cpu_second"] > 0
    assert found["from_memory_ratio"] > 1 and found["from_disk_ratio"] > 1


def test_mistakes(dataset):
    with pytest.raises(OptionError, match="'lipgan': expected one of expert, wav2lip"):
        bench_loader(dataset, system="lipgan")
