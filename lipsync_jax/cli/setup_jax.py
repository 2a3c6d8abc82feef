"""Process settings that every subcommand with a network shares."""

import ctypes
import sys

import jax

from lipsync_jax import assets

# glibc's <malloc.h>
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def prepare() -> None:
    """Call once, before the first array: memory and compilation cache."""
    if sys.platform == "linux":
        _keep_freed_memory()  # before JAX starts its threads
    jax.config.update("jax_compilation_cache_dir", str(assets.cache_dir() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def _keep_freed_memory() -> None:
    """Makes glibc keep large freed blocks for the next call.

    By default each network call gets its few hundred megabytes of intermediates
    fresh from the kernel, which clears them page by page: a fifth of the run time.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
