"""Experiment configurations: what there is to set, and reading it with overrides.

A file in `configs/` defines `get_config(arg="")`, which starts from `base_config`.
"""

import difflib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_dict, config_flags

from lipsync_jax.errors import ConfigError


def base_config() -> ConfigDict:
    """Every key that the trainer reads, with its default."""
    config = ConfigDict()
    config.task = ""  # key of systems.TASKS
    config.network = ""  # key of models_io.NETWORKS
    config.arguments = ConfigDict()  # of the network: width, resolution
    config.method = ConfigDict()  # what the task reads: loss weights, experts

    config.data = ConfigDict()
    config.data.directory = config_dict.placeholder(str)  # of a prepared dataset
    config.data.train = "train"  # names of splits
    config.data.eval = "validation"

    config.batch_size = 16  # over all devices
    config.microbatches = 1  # parts of a batch that are computed one by one
    config.steps = 100_000
    config.seed = 0
    config.dtype = "float32"  # of the arithmetic; parameters stay float32

    config.optimizer = ConfigDict()
    config.optimizer.name = "adam"  # "keras_adam": with eps where Keras puts it
    config.optimizer.learning_rate = 1e-4
    config.optimizer.schedule = "constant"  # "cosine", "tacotron": see gradients.py
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999
    config.optimizer.eps = 1e-8
    config.optimizer.clip_norm = 0.0  # largest norm of a gradient; 0: no limit
    config.optimizer.ema = 0.0  # decay of averaged weights; 0: not kept

    config.mesh = ConfigDict()
    config.mesh.fsdp = 1  # devices that share one copy of the state

    config.log_every = 50  # steps; 0: never, here and below
    config.eval_every = 1000
    config.eval_batches = 50
    config.save_every = 1000
    config.keep = 3  # newest checkpoints; the best one stays, too
    config.profile = ""  # "first:last", steps to record with the profiler
    config.threads = 8  # that decode examples
    return config


def load_config(path: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """Reads a configuration file.

    Args:
      path: `FILE.py`, or `FILE.py:ARG` to pass ARG to its `get_config`.
      overrides: `--config.KEY=VALUE` words, e.g. `--config.optimizer.b1=0.5`.

    Returns:
      The configuration, locked: no key can be added.

    Raises:
      ConfigError: no such file or key, or a value of another type.
    """
    config = _from_file(path)
    known = set(_keys(config))
    for word in overrides:
        key, given, _ = word.removeprefix("--config.").partition("=")
        if not given:
            raise ConfigError(f"{word}: give the value with =: {word}=VALUE")
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {_top(config)}"
            raise ConfigError(f"{word}: {path} has no key {key}; {hint}")
    values = flags.FlagValues()
    argv = ["lipsync", *overrides]
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
    try:
        values(argv)
    except (flags.Error, TypeError, ValueError) as error:
        raise ConfigError(" ".join(str(error).split())) from None
    return values.config


def _from_file(text: str) -> ConfigDict:
    name, _, argument = text.partition(":")
    path = Path(name)
    if not path.is_file():
        raise ConfigError(f"{path}: no such configuration file")
    spec = importlib.util.spec_from_file_location("lipsync_config", path)
    if spec is None:
        raise ConfigError(f"{path}: is not a Python file; name it *.py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the file raises is the file's mistake
        raise ConfigError(f"{path}: {type(error).__name__}: {error}") from error
    if not hasattr(module, "get_config"):
        raise ConfigError(f"{path}: defines no get_config()")
    try:
        config = module.get_config(argument) if argument else module.get_config()
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: get_config({argument!r}): {error}") from error
    if not isinstance(config, ConfigDict):
        raise ConfigError(
            f"{path}: get_config() must return an ml_collections ConfigDict"
        )
    return config


def _keys(config: ConfigDict, prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        yield prefix + key
        if isinstance(value, ConfigDict):
            yield from _keys(value, f"{prefix}{key}.")


def _top(config: ConfigDict) -> str:
    return ", ".join(sorted(config))
