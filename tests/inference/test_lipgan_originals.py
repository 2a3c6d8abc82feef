"""Whole runs of LipGAN equal the original program's, frame by frame.

The original leaves frames without a face out and stops with the last whole window; here
they pass through and the whole speech is covered. What both write must be equal.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from lipgan_parity import converted
from parity import fill_inputs

from lipsync_jax.faces.crop import padded_box
from lipsync_jax.faces.face import FaceRegion
from lipsync_jax.faces.track import TrackedFrame
from lipsync_jax.inference.redraw import composite, redraw
from lipsync_jax.inference.source import play
from lipsync_jax.systems.lipgan.features import MEL, window_start
from lipsync_jax.systems.lipgan.synthesize import Synthesizer

GOLDENS = Path(__file__).parents[1] / "goldens" / "lipgan"
INDEXING = json.loads((GOLDENS / "indexing.json").read_text())
RUNS = INDEXING["inference_e2e"]


def grown(rects, pads, frame):
    """The original's box: the largest face, moved by pads whose signs are its own."""

    def area(rect):
        return (rect[2] - rect[0]) * (rect[3] - rect[1])

    largest = max(filter(area, rects), key=area, default=None)
    if largest is None:
        return None
    top, bottom, left, right = pads
    return padded_box(np.array(largest), (-top, bottom, -left, right), frame)


@pytest.mark.parametrize("case", INDEXING["rectangles"])
def test_boxes_are_the_originals(case):
    found = grown(case["rects"], case["pads"], case["image"])
    if not case["valid"]:
        assert found is None
        return
    y1, y2, x1, x2 = case["coords"]
    assert found.tolist() == [x1, y1, x2, y2]


@pytest.fixture(scope="module")
def clip():
    """The golden's six frames, (96, 128, 3) RGB."""
    pixels = fill_inputs("lipgan/e2e/video", (6, 96, 128, 3), 0, 256)
    frames = np.floor(pixels).astype(np.uint8)
    return [np.ascontiguousarray(frame[..., ::-1]) for frame in frames]


@pytest.fixture(scope="module")
def wav():
    with np.load(GOLDENS / "audio.npz") as file:
        return file["wav16k"][8000:17700].astype(np.float32) / 32768


@pytest.fixture(scope="module")
def draw():
    network = converted("gen_mel_basic")
    return Synthesizer(network.module, network.variables, batch_size=4)


@pytest.mark.parametrize("name", RUNS)
def test_run(name, clip, wav, draw):
    case, args = RUNS[name], RUNS[name]["argv"]
    fps = float(args[args.index("--fps") + 1])
    pads = (0, 0, 0, 0)
    if "--pads" in args:
        first = args.index("--pads") + 1
        pads = [int(word) for word in args[first : first + 4]]
    frames = clip if name == "video" else clip[:1]

    def track(images):
        for index, image in enumerate(images):
            box = grown(case["rects"][index], pads, image.shape[:2])
            region = None if box is None else FaceRegion(box.astype(np.int32), None)
            yield TrackedFrame(index, image, region, None)

    count = draw.frame_count(len(wav), fps)
    assert count == np.ceil(len(wav) / 16000 * fps)  # the whole speech
    tracked = play(lambda start, stop: frames[start:stop], count, track)
    drawn = list(redraw(tracked, draw.windows([wav], fps), draw))
    assert len(drawn) == count

    last = window_start(np.arange(count), fps, MEL) + MEL.width - 1
    whole = last < MEL.count(len(wav))
    with_face = [item.patch is not None for item in drawn]
    for item in drawn:
        if item.patch is None:
            np.testing.assert_array_equal(composite(item, "hard"), item.frame.image)
    both = np.flatnonzero(whole & with_face)
    output = np.stack([composite(drawn[i], "hard") for i in both])
    assert len(output) == case["n_out"]
    for measure in (np.mean, np.std):
        found = measure(output, axis=(1, 2, 3), dtype=np.float64)
        want = case[f"frame_{measure.__name__}"]
        np.testing.assert_allclose(found, want, atol=1e-3)
    with np.load(GOLDENS / f"infer_e2e_{name}.npz") as file:
        want = file["frames"][..., ::-1]
    difference = np.abs(output[: len(want)].astype(int) - want)
    # Truncation turns float32 noise into a level here and there.
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3
