"""The demo: from nothing to a talking face, through the commands a user would give."""

import contextlib
import io
import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import configs
from data_builders.synthetic_talkers.measure import mouth_opening
from data_builders.synthetic_talkers.recording import Recording, write_talker
from lipsync_jax import models_io
from lipsync_jax.cli.main import main
from lipsync_jax.data.source import open_split
from lipsync_jax.demo import measures, report
from lipsync_jax.demo.report import Figure, Measure
from lipsync_jax.errors import LipSyncError, OutputError
from lipsync_jax.faces.crop import crop
from lipsync_jax.media.reader import VideoReader
from lipsync_jax.systems.wav2lip.synthesize import Synthesizer

_INTRODUCTION = (
    "Drawn talkers with synthetic speech stand in for a real dataset. A sync expert "
    "learnt to tell whether a mouth and a sound belong together; with its help a "
    "generator learnt to draw the mouth that goes with a sound. All numbers are from "
    "people that neither network saw in training. The networks are narrow and were "
    "trained for minutes: this shows that the method works, not how good it gets."
)
_FACE, _SPEECH = 1001, 1002  # seeds of the people in the final video
_SECONDS = 5.0


@dataclass(frozen=True)
class Size:
    """How much of everything.

    Attributes:
      dataset: options of `lipsync build synthetic_talkers`.
      config: argument of the configurations.
      bars: what a healthy run reaches, in the order of the measures.
    """

    dataset: str
    config: str
    bars: tuple[float, float, float, float, float]


FULL = Size(
    "--speakers_train 144 --speakers_validation 12 --speakers_test 16 "
    "--clips_per_speaker 2 --seconds 3 --size 96",
    "",
    (0.9, 0.8, 0.7, 0.2, 0.8),
)
QUICK = Size(
    "--speakers_train 24 --speakers_validation 4 --speakers_test 4 "
    "--clips_per_speaker 2 --seconds 3 --size 96",
    ":quick",
    (0.55, 0.0, 0.2, 0.2, 1.2),
)


def run_demo(out: Path, size: Size) -> Path:
    """Builds, trains, syncs, measures and reports.

    A second run in the same folder goes on where the first one stopped.

    Args:
      out: folder for everything; report.html, report.json and result.mp4 stand in it.
      size: `FULL` or `QUICK`.

    Returns:
      Path of report.html.

    Raises:
      LipSyncError: a step failed, or something cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be created: {error.strerror}") from None
    _say("1/5 a dataset of drawn talkers")
    data = _lipsync(f"build synthetic_talkers {size.dataset} --data_dir", out / "data")
    _say("2/5 the sync expert learns which sound goes with which mouth")
    expert = _train("demo_expert", size, data, out / "expert")
    _say("3/5 the generator learns to draw the mouth of a sound")
    generator = _train(
        "demo_wav2lip", size, data, out / "generator", f"method.expert={expert}"
    )
    _say("4/5 a stranger says what another stranger said")
    face, speech = _record(out)
    result = out / "result.mp4"
    _lipsync(
        f"sync --mel_shift {measures.TRAINED_SHIFT} --detector haar --pads 0 0 0 0 "
        "--crf 12",
        *("--model", generator, "--face", face.video),
        *("--audio", speech.speech, "--out", result),
    )
    _say("5/5 measuring, on people who were not in the training data")
    rows = _measure(expert, generator, Path(data), size)
    figures = _figures(out, face, speech, result)
    title = "lipsync_jax: the demo"
    page = report.page(title, _INTRODUCTION, rows, result.read_bytes(), figures)
    (out / "report.html").write_text(page, "utf-8")
    values = {row.name: round(row.value, 4) for row in rows}
    (out / "report.json").write_text(json.dumps(values, indent=2) + "\n", "utf-8")
    for row in rows:
        mark = "" if row.reached else f"   (expected {row.wanted[0]} {row.wanted[1]:g})"
        _say(f"  {row.name + ':':26}{row.value:.3f}{mark}")
    return out / "report.html"


def _train(name: str, size: Size, data: str, workdir: Path, *overrides: str) -> str:
    """Trains one configuration; the path of its best model folder."""
    config = Path(configs.__file__).with_name(f"{name}.py")
    keys = [f"data.directory={data}", *overrides]
    words = [f"--config.{key}" for key in keys]
    _lipsync(
        "train", "--config", f"{config}{size.config}", "--workdir", workdir, *words
    )
    return str(workdir / "best")


def _lipsync(command: str, *arguments: str | Path) -> str:
    """Runs a subcommand, showing it; returns what it printed."""
    words = [*shlex.split(command), *map(str, arguments)]
    _say(f"$ lipsync {shlex.join(words)}")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = main(words)
    if code:
        raise LipSyncError(f"lipsync {words[0]} ended with code {code}; see above")
    return printed.getvalue().strip()


def _record(out: Path) -> tuple[Recording, Recording]:
    """The person to be seen, and the one to be heard."""
    recordings = []
    for name, seed in (("seen", _FACE), ("heard", _SPEECH)):
        folder = out / name
        folder.mkdir(exist_ok=True)
        recordings.append(write_talker(folder, seed, seed, _SECONDS, 320, 320))
    return tuple(recordings)


def _measure(expert: str, generator: str, data: Path, size: Size) -> list[Measure]:
    source = open_split(data, "test")
    judge = models_io.load(expert, "expert")
    model = models_io.load(generator, "wav2lip")
    synthesizer = Synthesizer(model.module, model.variables)
    following, before = measures.mouth_following(synthesizer, source)
    values = (
        (
            "expert_accuracy",
            measures.expert_accuracy(judge, source),
            "share of windows rightly judged in or out of sync; chance is 0.5",
        ),
        (
            "offset_recovered",
            measures.offsets_recovered(judge, source),
            "share of clips with shifted sound whose shift was found to the frame",
        ),
        (
            "mouth_correlation",
            following,
            "correlation of the drawn mouth's opening, measured in its pixels, with "
            "the opening that the driving speech asks for",
        ),
        (
            "mouth_correlation_input",
            abs(before),
            "the same for the mouths before they were redrawn (magnitude)",
        ),
        (
            "mouth_l1_ratio",
            measures.mouth_l1_ratio(model, source),
            "error of drawn mouths over the error of copying the reference's mouth",
        ),
    )
    words = ("at least", "at least", "at least", "at most", "at most")
    return [
        Measure(name, value, (word, bar), meaning)
        for (name, value, meaning), word, bar in zip(
            values, words, size.bars, strict=True
        )
    ]


def _figures(
    out: Path, face: Recording, speech: Recording, result: Path
) -> list[Figure]:
    before = _crops(face.video, face.boxes)
    after = _crops(result, face.boxes)
    count = min(len(before), len(after))
    shown = range(0, count, max(1, count // 12))
    rows = [[crops[i] for i in shown][:12] for crops in (before, after)]
    drawn = mouth_opening(after[:count])
    return [
        Figure(
            report.mouth_plot(25.0, speech.mouth[:count, 0], drawn),
            "Mouth opening in the result, measured in its pixels.",
        ),
        Figure(
            report.strip(rows), "Frames of the input (above) and the result (below)."
        ),
        Figure(
            report.newest(out / "generator" / "samples"),
            "Held-out windows: reference, masked input, output, truth.",
        ),
        Figure((out / "expert" / "curves.png").read_bytes(), "Training of the expert."),
        Figure(
            (out / "generator" / "curves.png").read_bytes(),
            "Training of the generator.",
        ),
    ]


def _crops(video: Path, boxes: np.ndarray) -> np.ndarray:
    """Faces (T, 96, 96, 3) cut out by the true boxes."""
    frames = VideoReader(video).frames(0, len(boxes))
    pairs = zip(frames, np.rint(boxes).astype(int), strict=False)
    return np.stack([crop(frame, box, 96) for frame, box in pairs])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
