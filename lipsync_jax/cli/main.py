"""Entry point of `lipsync`. Heavy libraries load only in the subcommand that runs."""

import argparse
import os
import sys

from lipsync_jax import __version__
from lipsync_jax.cli import bench, build, convert, demo, fetch, info, sync, train
from lipsync_jax.errors import LipSyncError

COMMANDS = {
    "sync": sync,
    "build": build,
    "train": train,
    "convert": convert,
    "info": info,
    "fetch": fetch,
    "bench": bench,
    "demo": demo,
}


class _ShowDefaults(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults that say something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False):
            return action.help
        return super()._get_help_string(action)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands."""
    parser = argparse.ArgumentParser(
        prog="lipsync", description="Lip-sync research systems in JAX."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        summary = module.__doc__.strip().splitlines()[0]
        command = commands.add_parser(
            name,
            help=summary,
            description=summary,
            formatter_class=_ShowDefaults,
        )
        module.add_arguments(command)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs a subcommand; returns the exit code.

    0 is success, 2 a mistake in the input (one line on stderr), 130 an interrupt,
    143 a training run that SIGTERM ended, saved.
    """
    parser = build_parser()
    args, unknown = parser.parse_known_args(argv)
    # Keys of an experiment's configuration are known only when it is read.
    prefix = getattr(COMMANDS[args.command], "OVERRIDES", None)
    args.overrides = [word for word in unknown if prefix and word.startswith(prefix)]
    if wrong := [word for word in unknown if word not in args.overrides]:
        parser.error(f"unrecognized arguments: {' '.join(wrong)}")
    try:
        return COMMANDS[args.command].run(args) or 0
    except LipSyncError as error:
        print(f"lipsync {args.command}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"lipsync {args.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
