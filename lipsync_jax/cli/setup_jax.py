"""JAX settings that every subcommand with a network shares."""

import jax

from lipsync_jax import assets


def use_compilation_cache() -> None:
    """Keeps compiled programs between runs, in the cache folder."""
    jax.config.update("jax_compilation_cache_dir", str(assets.cache_dir() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
