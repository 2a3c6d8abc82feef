"""Noticing that the run must stop: SIGTERM of a scheduler, or Ctrl-C."""

import signal
import threading
from types import FrameType, TracebackType

import jax
from jax.experimental import multihost_utils


class Preemption:
    """Remembers the first SIGTERM or SIGINT instead of dying of it.

    With several processes, a SIGTERM to any of them reaches all through JAX's
    preemption service, which also chooses the step at which all stop; a SIGINT then
    keeps its usual meaning. Use as a context manager.
    """

    def __init__(self) -> None:
        self._caught: signal.Signals | None = None
        self._handlers: dict = {}

    def __enter__(self) -> "Preemption":
        alone = jax.process_count() == 1
        if alone and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._handlers[number] = signal.signal(number, self._catch)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def reached(self, step: int) -> signal.Signals | None:
        """The signal to stop for after this step; call at every step."""
        if jax.process_count() == 1:
            return self._caught
        stop = multihost_utils.reached_preemption_sync_point(step)
        return signal.SIGTERM if stop else None

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self._caught = signal.Signals(number)
        self._restore()  # a second signal is meant

    def _restore(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}
