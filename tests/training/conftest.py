"""Compiled programs are shared by the tests of this folder."""

import jax
import pytest
import tiny_task

OPTIONS = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


@pytest.fixture(scope="package")
def compilation_cache(tmp_path_factory):
    """A folder for compiled programs, for this process and its children."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="package", autouse=True)
def _cached(compilation_cache):
    before = [getattr(jax.config, name) for name in OPTIONS]
    for name, value in zip(OPTIONS, (str(compilation_cache), 0, 0), strict=True):
        jax.config.update(name, value)
    tiny_task.register()
    yield
    for name, value in zip(OPTIONS, before, strict=True):
        jax.config.update(name, value)
