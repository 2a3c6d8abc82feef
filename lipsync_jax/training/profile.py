"""Recording some steps with JAX's profiler."""

import re
from pathlib import Path

import jax

from lipsync_jax.errors import ConfigError


class Profile:
    """A window of steps to record; look at it with XProf or Perfetto."""

    def __init__(self, window: str, folder: Path):
        """Plans a recording.

        Args:
          window: "first:last" step, both included; "" records nothing.
          folder: where the recording goes.

        Raises:
          ConfigError: the window makes no sense.
        """
        self._folder = folder
        self._active = False
        self._first = self._last = 0
        if not window:
            return
        match = re.fullmatch(r"(\d+):(\d+)", window)
        if match:
            self._first, self._last = map(int, match.groups())
        if not 1 <= self._first <= self._last:
            raise ConfigError(
                f'config.profile="{window}": must be FIRST:LAST step, e.g. 10:20'
            )

    def before(self, step: int) -> None:
        """Call before a step is given to the devices."""
        if step == self._first:
            jax.profiler.start_trace(str(self._folder))
            self._active = True

    def after(self, step: int, result: object) -> None:
        """Call after it; waits for `result` at the last step of the window."""
        if self._active and step == self._last:
            jax.block_until_ready(result)
            self.close()

    def close(self) -> None:
        """Ends a recording that is under way."""
        if self._active:
            jax.profiler.stop_trace()
            self._active = False
