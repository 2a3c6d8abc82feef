"""Networks with golden parameters, converted by the project's own converter."""

import importlib.util
import json
from functools import lru_cache
from pathlib import Path

import numpy as np

from convert_torch_weights.conversion import Converted, convert_tensors
from convert_torch_weights.names import bgr_to_rgb

GOLDENS = Path(__file__).parent / "goldens" / "wav2lip"

_spec = importlib.util.spec_from_file_location("fill", GOLDENS.parent / "fill.py")
_fill = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fill)
fill_inputs = _fill.fill_inputs


@lru_cache
def manifest() -> dict[str, dict[str, list[int]]]:
    """Network -> parameter -> shape."""
    return json.loads((GOLDENS / "manifest.json").read_text())


def filled(network: str) -> dict[str, np.ndarray]:
    """The golden state_dict of a network."""
    return {
        # PReLU slopes were filled like biases.
        name: _fill.fill(name, shape, "bias" if name.endswith("act.weight") else None)
        for name, shape in manifest()[network].items()
    }


@lru_cache(maxsize=2)
def converted(network: str, name: str) -> Converted:
    """The network of a manifest entry, converted as `name`."""
    return convert_tensors(filled(network), name)


def inputs(name: str, *shape: int, low: float, high: float) -> np.ndarray:
    """A named golden input in the original's layout."""
    return _fill.fill_inputs(f"wav2lip/{name}", shape, low, high)


def channels_last(x: np.ndarray) -> np.ndarray:
    """(..., C, H, W) -> (..., H, W, C)."""
    return np.moveaxis(x, -3, -1)


def rgb(x: np.ndarray) -> np.ndarray:
    """(..., 3k) BGR -> RGB and back."""
    return bgr_to_rgb(x, -1)


def enlarged(x: np.ndarray, factor: int) -> np.ndarray:
    """Repeats pixels along the last two axes."""
    return x.repeat(factor, -1).repeat(factor, -2)


def golden(name: str) -> dict[str, np.ndarray]:
    """The arrays of a golden file."""
    with np.load(GOLDENS / f"{name}.npz") as file:
        return dict(file)


def stages(name: str) -> list[str]:
    """Row names of the case's stage_stats."""
    return json.loads((GOLDENS / "stages.json").read_text())[name]


def to_torch(path: tuple[str, ...], value: np.ndarray) -> np.ndarray:
    """A variable of Flax in PyTorch's layout; of convolutions and vectors."""
    if path[-1] != "kernel":
        return value
    if "conv_transpose" in path:
        return np.ascontiguousarray(value[::-1, ::-1].transpose(2, 3, 0, 1))
    return np.ascontiguousarray(value.transpose(3, 2, 0, 1))
