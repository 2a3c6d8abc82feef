"""Make a face in a video or image say the words of a recording."""

import argparse
import sys
from pathlib import Path

_BOX = ("TOP", "BOTTOM", "LEFT", "RIGHT")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options; names follow the original where it has them."""
    add = parser.add_argument
    add("--model", type=Path, required=True, help="model folder (lipsync convert)")
    add("--face", type=Path, help="video or image of the speaker")
    add("--audio", type=Path, help="speech: any file with an audio stream")
    add(
        "--driver",
        type=Path,
        help="video whose mouth movements are taken instead of speech (davs models); "
        "with it, --audio is only the sound track, by default the driver's own",
    )
    add("--out", type=Path, help="MP4 file to write")
    add("--jobs", type=Path, help="CSV with columns face,audio,out instead of one run")

    faces = parser.add_argument_group("faces")
    add = faces.add_argument
    add(
        "--detector",
        choices=("auto", "mediapipe", "haar"),
        default="auto",
        help="MediaPipe is more precise, Haar needs no download",
    )
    add("--landmarker", type=Path, help="face_landmarker.task to use")
    add(
        "--speaker",
        default="largest",
        help="which face: largest, left, right, an index from the left, or x,y",
    )
    add(
        "--pads",
        type=int,
        nargs=4,
        default=(0, 10, 0, 0),
        metavar=_BOX,
        help="pixels by which the detected face's box grows on each side (LipGAN's own "
        "program shrinks it at the top and left); negative ones shrink it",
    )
    add(
        "--box",
        type=int,
        nargs=4,
        metavar=_BOX,
        help="fixed face box in pixels instead of detection",
    )
    add(
        "--smoothing",
        choices=("gaussian", "original", "none"),
        default="gaussian",
        help="of the box over time; original is the published program's",
    )
    add("--nosmooth", action="store_true", help="same as --smoothing none")
    add(
        "--on_no_face",
        choices=("pass", "error"),
        default="pass",
        help="leave frames without a face as they are, or stop",
    )

    video = parser.add_argument_group("video")
    add = video.add_argument
    add("--resize_factor", type=int, default=1, help="divide the video's size by this")
    add(
        "--crop",
        type=int,
        nargs=4,
        default=(0, -1, 0, -1),
        metavar=_BOX,
        help="part of the frame to use, after resizing; -1 is the frame's end",
    )
    add("--rotate", action="store_true", help="turn the video 90 degrees clockwise")
    add("--static", action="store_true", help="use the first frame only")
    add("--fps", type=float, default=25.0, help="frame rate when the face is an image")
    add(
        "--loop",
        choices=("restart", "pingpong"),
        default="restart",
        help="how a video shorter than the speech goes on",
    )

    result = parser.add_argument_group("result")
    add = result.add_argument
    add(
        "--blend",
        choices=("feather", "hard"),
        default="feather",
        help="soft mask around the lower face, or the original's rectangle",
    )
    add("--crf", type=int, default=18, help="H.264 quality, 0 best to 51 smallest")
    add(
        "--preset",
        choices=("ultrafast", "superfast", "veryfast", "medium", "slow"),
        default="ultrafast",
        help="x264: slower ones make smaller files",
    )
    add("--lossless", action="store_true", help="exact pixels (few players show them)")
    add("--frames_out", type=Path, help="also write the frames as PNG into this folder")

    network = parser.add_argument_group("network")
    add = network.add_argument
    add("--batch_size", type=int, default=16, help="faces per network call")
    add(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="arithmetic; bfloat16 is for GPUs and TPUs",
    )
    add("--round", action="store_true", help="round pixels; the original truncates")
    add(
        "--mel_shift",
        type=int,
        default=0,
        help="frames to move the speech by; -1 is the alignment that Wav2Lip sees in "
        "training",
    )


def run(args: argparse.Namespace) -> int:
    """Runs one job or a list; prints the path of each video written."""
    _check(args)

    from lipsync_jax.cli.setup_jax import prepare
    from lipsync_jax.inference.jobs import Job, read_jobs, run_jobs

    jobs = read_jobs(args.jobs) if args.jobs else None
    options = _options(args)
    prepare()
    form = args.batch_size, args.dtype, args.round
    synthesizer = load_synthesizer(args.model, *form, video=args.driver is not None)

    def work(job: Job) -> None:
        report = _sync(synthesizer, job, options, args.driver)
        print(report.out, flush=True)

    if jobs is None:
        work(Job(0, args.face, args.audio, args.out))
        return 0
    failed = []
    for job, error in run_jobs(jobs, work):
        if error is not None:
            failed.append(job)
            print(f"{args.jobs}: line {job.line}: {error}", file=sys.stderr)
    if failed:
        lines = ", ".join(str(job.line) for job in failed)
        print(
            f"lipsync sync: {len(failed)} of {len(jobs)} jobs failed (lines {lines})",
            file=sys.stderr,
        )
        return 2
    return 0


def _check(args: argparse.Namespace) -> None:
    from lipsync_jax.errors import OptionError

    names = ("face", "audio", "driver", "out")
    named = [name for name in names if getattr(args, name)]
    if args.jobs and named:
        raise OptionError(f"--jobs and --{named[0]} exclude each other")
    if not args.jobs and not (args.face and args.out and (args.audio or args.driver)):
        raise OptionError("give --face, --audio or --driver, and --out; or --jobs")
    if args.jobs and args.frames_out:
        raise OptionError("--frames_out takes one run, not --jobs")
    for name, low, high in (
        ("resize_factor", 1, 64),
        ("batch_size", 1, 1024),
        ("crf", 0, 51),
        ("fps", 1, 240),
    ):
        value = getattr(args, name)
        if not low <= value <= high:
            raise OptionError(f"--{name} {value}: must be between {low} and {high}")
    if args.out and args.out.suffix.lower() != ".mp4":
        raise OptionError(f"--out {args.out}: the result is an MP4; name it *.mp4")


def _options(args: argparse.Namespace):
    from lipsync_jax.inference.source import Transform
    from lipsync_jax.inference.sync import SyncOptions

    same = [
        "static",
        "fps",
        "detector",
        "landmarker",
        "speaker",
        "blend",
        "on_no_face",
        "loop",
        "mel_shift",
        "crf",
        "preset",
        "lossless",
        "frames_out",
    ]
    return SyncOptions(
        pads=tuple(args.pads),
        box=tuple(args.box) if args.box else None,
        smoothing="none" if args.nosmooth else args.smoothing,
        transform=Transform(args.resize_factor, args.rotate, tuple(args.crop)),
        **{name: getattr(args, name) for name in same},
    )


def load_synthesizer(
    folder: Path, batch_size: int, dtype: str, rounding: bool, video: bool = False
):
    """The compiled network of a model folder; with `video` it follows a face.

    Raises:
      ModelError: the folder cannot be used for `sync`.
    """
    import jax.numpy as jnp

    from lipsync_jax import models_io
    from lipsync_jax.errors import ModelError
    from lipsync_jax.systems import SYNTHESIZERS, VIDEO_SYNTHESIZERS

    table = VIDEO_SYNTHESIZERS if video else SYNTHESIZERS
    model = models_io.load(folder)
    if model.system not in table:
        taken = ", ".join(table)
        wrong = (
            f"follows no video; --driver takes: {taken}"
            if video
            else f"draws no faces; sync takes: {taken}"
        )
        raise ModelError(
            f"{folder}: holds a {model.system} network ({model.network}), which {wrong}"
        )
    return table[model.system](
        model.module,
        model.variables,
        batch_size=batch_size,
        dtype=jnp.dtype(dtype),
        rounding=rounding,
    )


def _sync(synthesizer, job, options, driver):
    from tqdm import tqdm

    from lipsync_jax.inference.sync import sync, sync_to_video

    with tqdm(unit="frame", desc=job.out.name, disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        rest = job.out, options, progress
        if driver is None:
            report = sync(synthesizer, job.face, job.audio, *rest)
        else:
            report = sync_to_video(synthesizer, job.face, driver, *rest, job.audio)
    for note in report.notes:
        print(note, file=sys.stderr)
    return report
