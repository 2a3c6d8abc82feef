"""Runs the work on many videos at once: processes on one machine, or Apache Beam."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from lipsync_jax.errors import EnvironmentProblem

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Item], Result], items: Sequence[Item], processes: int
) -> Iterator[tuple[Item, Result | None]]:
    """Does the work in processes, or in this one if there is to be only one.

    When a process dies (a decoder's crash, the kernel's out-of-memory killer), what
    was being worked on is tried again, each item alone.

    Args:
        work: can be pickled.
        items: what to work on; can be pickled.
        processes: how many at a time.

    Yields:
        Each item with its result, as they get done; None where the process died
        again.

    Raises:
        Exception: what `work` raises. All processes end at once.
    """
    if min(processes, len(items)) <= 1:
        for item in items:
            yield item, work(item)
        return
    waiting = deque(items)
    while waiting:
        for item in (yield from _pool(work, waiting, processes)):
            if (yield from _pool(work, deque([item]), 1)):
                yield item, None


def _pool(
    work: Callable[[Item], Result], waiting: deque[Item], processes: int
) -> Generator[tuple[Item, Result], None, list[Item]]:
    """Takes and does items until none waits; returns those a crash left undone."""
    # Workers end when this process's end of the pipe closes, even by its death.
    theirs, ours = get_context("spawn").Pipe(duplex=False)
    running: dict[Future, Item] = {}
    pool = ProcessPoolExecutor(
        processes, get_context("spawn"), initializer=_start, initargs=(theirs,)
    )
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                running[pool.submit(work, waiting[0])] = waiting[0]
                waiting.popleft()
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                result = future.result()
                yield running.pop(future), result
        pool.shutdown()
    except BrokenProcessPool:
        return list(running.values())
    finally:
        ours.close()
        pool.shutdown(cancel_futures=True)
        theirs.close()
    return []


def _start(theirs: Connection) -> None:
    """Prepares a worker process."""
    from lipsync_jax.opencv import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent will say
    threading.Thread(target=_end_with_parent, args=(theirs,), daemon=True).start()
    cv2.setNumThreads(1)
    os.environ["JAX_PLATFORMS"] = "cpu"  # workers cannot share an accelerator


def _end_with_parent(theirs: Connection) -> None:
    theirs.poll(None)
    os._exit(1)


def on_beam(
    work: Callable[[Item], object], items: Sequence[Item], runner: Any, options: Any
) -> None:
    """Does the work on the machines of an Apache Beam runner.

    Args:
        work: can be pickled; its results are dropped.
        items: what to work on; can be pickled.
        runner: name of the runner, or a runner.
        options: `PipelineOptions`, or None for none.

    Raises:
        EnvironmentProblem: Apache Beam is not installed.
    """
    beam = import_beam()
    options = options or beam.options.pipeline_options.PipelineOptions([])
    with beam.Pipeline(runner=runner, options=options) as pipeline:
        _ = pipeline | beam.Create(items) | beam.Reshuffle() | beam.Map(work)


def import_beam() -> Any:
    """The apache_beam package.

    Raises:
        EnvironmentProblem: it is not installed.
    """
    try:
        import apache_beam
    except ImportError as error:
        raise EnvironmentProblem(
            f"Apache Beam does not load ({error}); "
            "pip install 'lipsync_jax[beam]', or leave --beam_runner out"
        ) from None
    return apache_beam
