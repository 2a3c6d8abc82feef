"""Whole inference runs equal those of the original program, frame by frame."""

import json

import numpy as np
import pytest
from parity import GOLDENS, converted, filled, golden, inputs

from lipsync_jax.faces.detect import FixedBox
from lipsync_jax.faces.face import Face
from lipsync_jax.faces.track import track
from lipsync_jax.inference.redraw import composite, redraw
from lipsync_jax.inference.source import Transform, play
from lipsync_jax.systems.wav2lip.synthesize import Synthesizer

CASES = json.loads((GOLDENS / "inference_e2e.json").read_text())


@pytest.fixture(scope="module")
def clip():
    """The golden's twelve frames, (120, 160, 3) RGB."""
    x = inputs("e2e_frames", 12, 15, 20, 3, low=0, high=256)
    x = np.floor(x).astype(np.uint8).repeat(8, 1).repeat(8, 2)
    return [np.ascontiguousarray(frame[..., ::-1]) for frame in x]


class StubDetector:
    """Knows the golden's boxes by the frame's content."""

    name = "stub"

    def __init__(self, clip):
        self._index = {frame.tobytes(): i for i, frame in enumerate(clip)}

    def search(self, image):
        rect = CASES["rects"][self._index[image.tobytes()]]
        return [Face(np.array(rect, np.float32), None)]

    def near(self, image, box):
        return self.search(image)


def option(args, name, count):
    if name not in args:
        return None
    at = args.index(name) + 1
    return tuple(int(value) for value in args[at : at + count])


@pytest.mark.parametrize("name", list(CASES["runs"]))
def test_run(name, clip):
    case, want = CASES["runs"][name], golden("inference_e2e")
    args, fps = case["args"], case["source_fps"]
    network = converted("Wav2Lip", "wav2lip")
    variables = network.variables
    if name == "audio_sensitive":  # three parameters are tripled in this run
        params = dict(variables["params"])
        for block in ("0_0", "1_0", "2_0"):
            key = f"face_decoder_blocks_{block}"
            norm = dict(params[key]["norm"])
            norm["scale"] = 3 * norm["scale"]
            params[key] = {**params[key], "norm": norm}
        variables = {**variables, "params": params}
    draw = Synthesizer(network.module, variables, batch_size=8)

    frames = clip[:1] if name == "image_static" else clip
    factor = option(args, "--resize_factor", 1)
    crop = option(args, "--crop", 4)
    transform = Transform(factor[0] if factor else 1, crop=crop or (0, -1, 0, -1))
    box = option(args, "--box", 4)
    detector = FixedBox(*box) if box else StubDetector(clip)
    wav = golden("audio_mel")["pcm"][:16000].astype(np.float32) / 32768

    count = draw.frame_count(len(wav), fps)
    assert count == case["n_out"]
    tracked = play(
        lambda start, stop: map(transform, frames[start:stop]),
        count,
        lambda images: track(
            images,
            detector,
            pads=option(args, "--pads", 4) or (0, 10, 0, 0),
            smoothing="none" if "--nosmooth" in args else "original",
            every=1,
        ),
    )
    drawn = redraw(tracked, draw.windows([wav], fps), draw)
    output = [composite(item, "hard") for item in drawn]

    assert len(output) == count
    means = [frame.mean(dtype=np.float64) for frame in output]
    np.testing.assert_allclose(means, want[f"{name}_mean"], atol=0.02)
    kept = np.stack([output[i] for i in case["kept_frames"]])[..., ::-1]
    difference = np.abs(kept.astype(int) - want[f"{name}_frames"])
    # Truncation turns float32 noise into a level here and there.
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


def test_real_clip_through_the_command(clips, tmp_path, capsys):
    """Checkpoint file, converter, real video and speech, PNG frames: as the original.

    Decoders differ by a level here and there, which the untrained network amplifies,
    so the mean difference is judged.
    """
    import cv2
    import torch

    from lipsync_jax.cli.main import main

    want = golden("e2e_retalk3")
    tensors = {k: torch.from_numpy(v) for k, v in filled("Wav2Lip").items()}
    state = {f"module.{name}": tensor for name, tensor in tensors.items()}
    path = tmp_path / "wav2lip.pth"
    torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=False)
    model, frames = tmp_path / "model", tmp_path / "frames"
    top, bottom, left, right = box = want["box_y1y2x1x2"].tolist()
    assert main(["convert", str(path), "--out", str(model)]) == 0
    args = ["--model", str(model), "--face", str(clips / "retalk_3.mp4")]
    args += ["--audio", str(clips / "latentsync_demo1.wav")]
    args += ["--out", str(tmp_path / "out.mp4"), "--frames_out", str(frames)]
    args += ["--blend", "hard", "--nosmooth", "--box", *map(str, box)]
    assert main(["sync", *args]) == 0, capsys.readouterr().err
    assert len(list(frames.iterdir())) == want["n_frames"]
    for index, crop in zip(want["indices"], want["crops"], strict=True):
        frame = cv2.imread(str(frames / f"{index:06d}.png")).astype(int)
        assert np.abs(frame[top:bottom, left:right] - crop).mean() < 0.5
