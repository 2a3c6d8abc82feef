"""Train a system on a prepared dataset; goes on from the last checkpoint."""

import argparse
import logging
import sys
from pathlib import Path

# Words of this kind are the configuration's, not options (see `main`).
OVERRIDES = "--config."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.usage = (
        "lipsync train --config FILE.py[:ARG] --workdir DIR [--config.KEY=VALUE ...]"
    )
    add = parser.add_argument
    add(
        "--config",
        required=True,
        metavar="FILE.py[:ARG]",
        help="see configs/; --config.KEY=VALUE sets one of its keys",
    )
    add(
        "--workdir",
        type=Path,
        required=True,
        help="folder of this run: checkpoints, logs, samples, models",
    )
    add("--init_from", type=Path, help="model folder to start from (fine-tuning)")

    several = parser.add_argument_group("several processes")
    add = several.add_argument
    add(
        "--distributed",
        action="store_true",
        help="find the others in the environment (Cloud TPU, GKE, SLURM)",
    )
    add("--coordinator", metavar="HOST:PORT", help="of process 0, instead")
    add("--num_processes", type=int, metavar="N", help="in the run")
    add("--process_id", type=int, metavar="I", help="of this one, from 0")


def run(args: argparse.Namespace) -> None:
    """Trains; process 0 prints the path of the model folder."""
    from lipsync_jax.cli import setup_jax
    from lipsync_jax.training.config import load_config

    config = load_config(args.config, args.overrides)
    setup_jax.prepare()
    _quieten_orbax()
    explicit = (args.coordinator, args.num_processes, args.process_id)
    if args.distributed or any(value is not None for value in explicit):
        from lipsync_jax.training import distributed

        distributed.join(*explicit)

    import jax

    from lipsync_jax.training import data
    from lipsync_jax.training.loop import train

    task = build_task(config)
    batches = data.from_config(config, task.examples)
    train(task, config, args.workdir, batches, init_from=args.init_from)
    if jax.process_index() == 0:
        print(args.workdir / "model", flush=True)


def build_task(config):
    """The task that a configuration names.

    Raises:
      ConfigError: unknown name; lists the known ones.
    """
    from lipsync_jax.errors import ConfigError
    from lipsync_jax.systems import TASKS

    if config.task not in TASKS:
        raise ConfigError(
            f"config.task={config.task!r}: no such task; known: {', '.join(TASKS)}"
        )
    return TASKS[config.task](config)


def _quieten_orbax() -> None:
    """Our one line about a failed save or read is enough; Orbax adds pages."""
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    others = sys.unraisablehook

    def hook(problem) -> None:
        # What was under way beside the failure ends with nobody to tell.
        trace = problem.exc_traceback
        source = Path(trace.tb_frame.f_code.co_filename).parts if trace else ()
        if not {"orbax", "asyncio"} & set(source):
            others(problem)

    sys.unraisablehook = hook
