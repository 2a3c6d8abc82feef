"""Two programs that take turns, so that a machine whose speed drifts changes both."""

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lipsync_jax.errors import EnvironmentProblem, OptionError


def turn(call: Callable[[], None]) -> list[float]:
    """Seconds of three calls, after one that warms the caches again."""
    times = []
    for _ in range(4):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times[1:]


@contextmanager
def torch_process(program: str, *words: str) -> Iterator[Callable[[], list[float]]]:
    """PyTorch in a process of its own, as its users run it; gives one turn a call.

    Args:
      program: module of this package that ends in `answer`.
      words: its arguments.

    Raises:
      OptionError: PyTorch is not installed.
      EnvironmentProblem: the process ended, for want of memory perhaps.
    """
    if importlib.util.find_spec("torch") is None:
        raise OptionError(
            "--compare torch needs PyTorch: pip install 'lipsync_jax[test]'"
        )
    command = [sys.executable, "-m", f"lipsync_jax.bench.{program}", *words]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def run_turn() -> list[float]:
            try:
                process.stdin.write("\n")
                process.stdin.flush()
            except BrokenPipeError:
                line = ""
            else:
                line = process.stdout.readline()
            if not line:
                raise EnvironmentProblem(
                    f"PyTorch's process ended with code {process.wait()} instead of "
                    "answering; what it said is above; try a smaller --batch_size"
                )
            return json.loads(line)

        try:
            yield run_turn
        finally:
            process.kill()


def answer(call: Callable[[], None]) -> None:
    """The other side: one turn of calls for each line that is read."""
    for _ in sys.stdin:
        print(json.dumps(turn(call)), flush=True)
