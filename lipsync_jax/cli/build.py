"""Prepare a dataset for training: videos in, clip records out."""

import argparse
import contextlib
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares a subcommand for each dataset."""
    datasets = parser.add_subparsers(dest="dataset", required=True, metavar="DATASET")
    for name, summary, add_options in (
        ("talking_faces", "any folder of videos", _add_talking_faces),
        ("lrs2", "LRS2-BBC, sentences; to be had from the BBC", _add_videos),
        ("lrw", "LRW, single words; to be had from the BBC", _add_videos),
        ("synthetic_talkers", "drawn talkers; needs no source", _add_talkers),
    ):
        dataset = datasets.add_parser(
            name,
            help=summary,
            description=summary,
            formatter_class=parser.formatter_class,
        )
        add = dataset.add_argument
        add("--data_dir", type=Path, required=True, help="folder of prepared datasets")
        add("--size", type=int, default=160, help="side of the face crops in pixels")
        add("--processes", type=int, default=os.cpu_count(), help="how many to use")
        add_options(dataset)


def _add_videos(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--source", type=Path, required=True, help="folder of the original dataset")
    add("--min_seconds", type=float, help="leave out shorter clips")
    add(
        "--detector",
        choices=("auto", "mediapipe", "haar"),
        default="auto",
        help="MediaPipe is more precise and gives landmarks, Haar needs no download",
    )
    add("--landmarker", type=Path, help="face_landmarker.task to use")
    add(
        "--beam_runner",
        metavar="NAME",
        help="Apache Beam runner to use instead of processes; its workers must see "
        "--source and --data_dir under the same paths",
    )
    add(
        "--beam_options",
        default="",
        metavar="OPTIONS",
        help='the runner\'s own: --beam_options="--region=R --project=P"',
    )


def _add_talking_faces(parser: argparse.ArgumentParser) -> None:
    _add_videos(parser)
    add = parser.add_argument
    add("--max_seconds", type=float, default=10.0, help="cut longer clips")
    splits = parser.add_argument_group(
        "splits", "by file list (one name below --source a line) or by speaker (folder)"
    )
    add = splits.add_argument
    add("--train_list", type=Path, help="file list; with it, the others are lists too")
    add("--val_list", type=Path, help="file list of the validation split")
    add("--test_list", type=Path, help="file list of the test split")
    add("--validation_share", type=float, default=0.05, help="of the speakers")
    add("--test_share", type=float, default=0.05, help="of the speakers")
    add("--seed", type=int, default=0, help="of the division of the speakers")
    sync = parser.add_argument_group("sound offset")
    add = sync.add_argument
    add("--expert", type=Path, help="model folder of a sync expert that checks clips")
    add("--max_offset", type=int, default=10, help="frames; mend up to here, else drop")
    add("--min_confidence", type=float, default=0.0, help="drop less certain clips")


def _add_talkers(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    for split, speakers in (("train", 64), ("validation", 8), ("test", 8)):
        add(f"--speakers_{split}", type=int, default=speakers, help="how many people")
    add("--clips_per_speaker", type=int, default=4, help="of each person")
    add("--seconds", type=float, default=4.0, help="length of a clip")
    add(
        "--words",
        type=int,
        default=0,
        help="each clip says one of so many words, its label; 1.16 seconds are as in "
        "LRW. 0 is running speech",
    )
    add(
        "--same_people",
        action="store_true",
        help="validation and test show people of train, saying other things: for "
        "networks that learn one person (lip2wav)",
    )
    add("--seed", type=int, default=0, help="of everything random")


def run(args: argparse.Namespace) -> None:
    """Builds and prints the prepared folder's path."""
    from data_builders.store import output_errors
    from lipsync_jax.errors import OptionError

    if args.processes < 1:
        raise OptionError(f"--processes {args.processes}: must be at least 1")
    with output_errors(args.data_dir), _tfds_quiet():
        if args.dataset == "synthetic_talkers":
            folder = _build_talkers(args)
        else:
            folder = _build_videos(args)
    print(folder)


def _build_talkers(args: argparse.Namespace) -> str:
    from data_builders.synthetic_talkers.synthetic_talkers_dataset_builder import (
        Builder,
    )

    names = [f"speakers_{split}" for split in ("train", "validation", "test")]
    names += ["clips_per_speaker", "seconds", "words", "same_people", "seed", "size"]
    names += ["processes", "data_dir"]
    builder = Builder(**{name: getattr(args, name) for name in names})
    with tempfile.TemporaryDirectory() as nothing_to_download:
        builder.download_and_prepare(download_dir=nothing_to_download)
    return builder.data_dir


def _build_videos(args: argparse.Namespace) -> str:
    from dataclasses import fields, replace

    import tensorflow_datasets as tfds
    from tqdm import tqdm

    config = _beam_config(args)
    builder_class, options = _video_builder(args)
    given = {
        field.name: vars(args)[field.name]
        for field in fields(builder_class.SETTINGS)
        if vars(args).get(field.name) is not None
    }
    tfds.disable_progress_bar()  # there is a better one
    with tqdm(unit="video", desc=args.dataset, disable=None) as bar:

        def progress(done: int, total: int, clips: int) -> None:
            bar.total = total
            bar.set_postfix(clips=clips, refresh=False)
            bar.update(done - bar.n)

        builder = builder_class(
            source=args.source,
            data_dir=args.data_dir,
            settings=replace(builder_class.SETTINGS, **given),
            processes=args.processes,
            progress=progress,
            note=lambda line: tqdm.write(line, file=sys.stderr),
            **options,
        )
        builder.download_and_prepare(download_config=config)
    return builder.data_dir


def _video_builder(args: argparse.Namespace) -> tuple[type, dict[str, Any]]:
    """The dataset's builder and what it takes beyond the common options."""
    if args.dataset == "lrs2":
        from data_builders.lrs2.lrs2_dataset_builder import Builder

        return Builder, {}
    if args.dataset == "lrw":
        from data_builders.lrw.lrw_dataset_builder import Builder

        return Builder, {}
    from data_builders.talking_faces.talking_faces_dataset_builder import Builder

    return Builder, {
        "lists": _lists(args),
        "shares": _shares(args),
        "seed": args.seed,
    }


def _lists(args: argparse.Namespace) -> dict[str, Path] | None:
    from lipsync_jax.errors import OptionError

    lists = {
        "train": args.train_list,
        "validation": args.val_list,
        "test": args.test_list,
    }
    lists = {split: path for split, path in lists.items() if path is not None}
    if lists and "train" not in lists:
        raise OptionError("--val_list and --test_list need --train_list")
    return lists or None


def _shares(args: argparse.Namespace) -> dict[str, float]:
    from lipsync_jax.errors import OptionError

    shares = {"validation": args.validation_share, "test": args.test_share}
    if min(shares.values()) < 0 or sum(shares.values()) >= 1:
        raise OptionError(
            f"--validation_share {args.validation_share:g} and --test_share "
            f"{args.test_share:g}: must not be negative, and leave something to train"
        )
    return {split: share for split, share in shares.items() if share > 0}


def _beam_config(args: argparse.Namespace) -> Any:
    """TFDS' download config with the Beam runner, or None without one."""
    from lipsync_jax.errors import OptionError

    if args.beam_runner is None:
        if args.beam_options:
            raise OptionError("--beam_options needs --beam_runner")
        return None
    import tensorflow_datasets as tfds

    from data_builders.parallel import import_beam

    options = import_beam().options.pipeline_options.PipelineOptions
    return tfds.download.DownloadConfig(
        beam_runner=args.beam_runner,
        beam_options=options(shlex.split(args.beam_options)),
    )


@contextlib.contextmanager
def _tfds_quiet() -> Iterator[None]:
    """TFDS prints to stdout, which is for the result alone, and fills log files."""
    import tensorflow_datasets as tfds
    from absl import logging

    logging.set_verbosity(logging.ERROR)
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
