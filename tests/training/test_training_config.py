"""Reading a configuration; every mistake in one line."""

import pytest

from lipsync_jax.errors import ConfigError
from lipsync_jax.training import workdir
from lipsync_jax.training.config import base_config, load_config

FILE = """
from lipsync_jax.training.config import base_config

def get_config(arg=""):
    config = base_config()
    config.task = "tiny"
    config.arguments.width = 1.0
    config.method.sizes = (1, 2)
    config.method.fast = False
    if arg == "smoke":
        config.steps = 2
    elif arg:
        raise ValueError(f"no variant {arg}; there is: smoke")
    return config
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "tiny.py"
    path.write_text(FILE)
    return path


def test_reads_a_file_and_its_variant(path):
    assert load_config(str(path)).steps == base_config().steps
    assert load_config(f"{path}:smoke").steps == 2


def test_overrides_keep_their_types(path):
    config = load_config(
        f"{path}:smoke",
        [
            "--config.batch_size=8",
            "--config.optimizer.b1=0.5",
            "--config.arguments.width=2",
            "--config.data.directory=a=b/c",
            "--config.method.sizes=(3, 4)",
            "--config.method.fast=true",
            "--config.steps=5",
            "--config.steps=6",
        ],
    )
    assert (config.batch_size, config.steps, config.optimizer.b1) == (8, 6, 0.5)
    assert config.arguments.width == 2.0 and isinstance(config.arguments.width, float)
    assert config.data.directory == "a=b/c"
    assert config.method.sizes == (3, 4) and config.method.fast is True
    with pytest.raises(AttributeError):  # locked
        config.stepz = 1


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--config.stepz=1", "no key stepz; did you mean steps?"),
        ("--config.optimizer.lerning_rate=1", "did you mean optimizer.learning_rate?"),
        ("--config.zzzzzz=1", "known: arguments, batch_size, "),
        ("--config.steps=1.5", "--config.steps=1.5: "),
        ("--config.steps=many", "invalid literal"),
        ("--config.optimizer.b1=x", "could not convert"),
        ("--config.method.fast=perhaps", "Non-boolean"),
        ("--config.optimizer=3", "--config.optimizer=3: "),
        ("--config.steps", "--config.steps=VALUE"),
    ],
)
def test_wrong_override(path, word, message):
    with pytest.raises(ConfigError) as error:
        load_config(str(path), [word])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x = 1", "defines no get_config()"),
        ("def get_config(): return {}", "must return an ml_collections ConfigDict"),
        ("def get_config(): return", "must return"),
        ("import nowhere_to_be_found", "No module named 'nowhere_to_be_found'"),
        ("def get_config(", "SyntaxError"),
    ],
)
def test_wrong_file(tmp_path, content, message):
    path = tmp_path / "x.py"
    path.write_text(content)
    with pytest.raises(ConfigError) as error:
        load_config(str(path))
    assert str(path) in str(error.value) and message in str(error.value)
    assert "\n" not in str(error.value)


def test_wrong_path_and_variant(path, tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.py: no such configuration file"):
        load_config(str(tmp_path / "nowhere.py"))
    (tmp_path / "x.yaml").touch()
    with pytest.raises(ConfigError, match=r"is not a Python file"):
        load_config(str(tmp_path / "x.yaml"))
    with pytest.raises(ConfigError, match=r"no variant big; there is: smoke"):
        load_config(f"{path}:big")
    path.write_text("def get_config(): return None")
    with pytest.raises(ConfigError, match=r"get_config\('smoke'\)"):
        load_config(f"{path}:smoke")


def test_what_may_change_exists():
    """A misspelt name in the list would refuse what it means to allow."""
    known = workdir.flat(base_config().to_dict()).keys()
    assert known >= workdir.MAY_CHANGE
